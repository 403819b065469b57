"""Imports between the parts of a version: what travels in one module is seen from another.

Where `util.clean` travels, code of the version that imports it must get the travelling one, and
nobody else may. So in travelling code the import statement is replaced, wherever it stands: by the
value, or, where it binds the module (`import util`), by a *view* of it: a module object that has
what travels, and for everything else is the live module.

Invariant: assigning to an attribute of a view assigns to the live module: state stays one.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import Any, NamedTuple

from scatter.analysis.imports import absolute
from scatter.bundle import Part
from scatter.errors import Refused
from scatter.linker.home import Home


class Ref(NamedTuple):
    """A name of a module that travels; with an empty name, a view of the module."""

    module: str
    name: str


class Wiring:
    """What travels, by module; and the values of it, as they come into being."""

    def __init__(
        self, moved: Iterable[Ref], leads: Mapping[Ref, Ref], homes: Callable[[str], Home]
    ) -> None:
        """Know what travels; nothing has a value yet.

        Args:
            moved: What travels, in all modules.
            leads: What travels as an import alone → what it is an import of.
            homes: Returns the home of a module.

        """
        self._moved = frozenset(moved)
        self._leads = leads
        self._handed_on: dict[Ref, list[Ref]] = {}
        for ref in leads:
            self._handed_on.setdefault(self.origin(ref), []).append(ref)
        self._homes = homes
        self._values: dict[Ref, Any] = {}
        self._views: dict[str, View] = {}
        self._modules = {above for ref in self._moved for above in _with_packages(ref.module)}

    def ref(self, module: str, name: str = "", *, within: str = "") -> Ref | None:
        """Return what must be wired when code imports a module, or a name of one.

        Args:
            module: The module.
            name: A name of it; empty for the module itself.
            within: The module that the code is of: what a package takes from itself is a submodule.

        """
        if name:
            inner = f"{module}.{name}"
            is_inner = module == within and inner in self._modules
            if (module, name) in self._moved and not is_inner:
                return self.origin(Ref(module, name))
            module = inner
        return Ref(module, "") if module in self._modules else None

    def origin(self, ref: Ref) -> Ref:
        """Return where a name is defined: a package that hands it on is not waited for."""
        seen = [ref]
        while (further := self._leads.get(seen[-1])) is not None and further not in seen:
            seen.append(further)
        return seen[-1]

    def is_made(self, module: str) -> bool:
        """Return whether a module exists for what travels alone, and cannot be imported."""
        return self._homes(module).made

    def value(self, ref: Ref) -> Any:
        """Return what a reference means; None as long as it is not made."""
        return self._values.get(ref) if ref.name else self._view(ref.module)

    def final(self, ref: Ref) -> Any:
        """Return what a reference means once all is made.

        Raises:
            Refused: `missing-import`, when a circle of imports leads to nothing.

        """
        if ref in self._values or not ref.name:
            return self.value(ref)
        scope = self._homes(ref.module).globals
        if ref.name in scope:
            return scope[ref.name]
        raise Refused(
            "missing-import",
            f"`{ref.name}` of module `{ref.module}` is imported in a circle, and defined nowhere.",
            hint="Import it from the module that defines it.",
        )

    def made(self, module: str, values: Mapping[str, Any]) -> None:
        """Take up the values of what is defined in a module and travels."""
        for name, value in values.items():
            ref = Ref(module, name)
            if ref in self._moved and self.origin(ref) == ref:
                self._values[ref] = value
                for seen in (ref, *self._handed_on.get(ref, ())):
                    if seen.module in self._views:
                        vars(self._views[seen.module])[seen.name] = value

    def _view(self, module: str) -> View:
        view = self._views.get(module)
        if view is None:
            view = self._views[module] = View(module, self._homes(module))
            for ref in self._moved:
                if ref.module == module and self.origin(ref) in self._values:
                    vars(view)[ref.name] = self._values[self.origin(ref)]
            inner = {m for m in self._modules if m.rpartition(".")[0] == module}
            for name in sorted(inner):
                own = name.rpartition(".")[2]
                bound = getattr(self._homes(module).live, own, None)
                if (module, own) not in self._moved and isinstance(bound, (ModuleType, type(None))):
                    vars(view)[own] = self._view(name)  # else the package has a thing of that name
        return view


def _with_packages(module: str) -> list[str]:
    """Return a module's name, and those of the packages that it is in."""
    parts = module.split(".")
    return [".".join(parts[:n]) for n in range(1, len(parts) + 1)]


class View(ModuleType):
    """A module as one version sees it: what travels with the version, else the live module."""

    def __init__(self, module: str, home: Home) -> None:
        """Begin with nothing that travels."""
        super().__init__(module)
        vars(self).clear()
        vars(self)["__scatter_globals__"] = home.globals
        vars(self)["__scatter_module__"] = home.live

    def __getattr__(self, name: str) -> Any:
        """Return what the live module has."""
        live = vars(self)["__scatter_module__"]
        if live is not None:
            return getattr(live, name)
        try:
            return vars(self)["__scatter_globals__"][name]
        except KeyError:
            raise AttributeError(f"module has no attribute {name!r}") from None

    def __setattr__(self, name: str, value: object) -> None:
        """Change the live module."""
        vars(self)["__scatter_globals__"][name] = value

    def __delattr__(self, name: str) -> None:
        """Change the live module."""
        del vars(self)["__scatter_globals__"][name]

    def __dir__(self) -> list[str]:
        """Return the names of the live module, and of what travels."""
        own = {name for name in vars(self) if not name.startswith("__scatter")}
        return sorted(own | vars(self)["__scatter_globals__"].keys())

    def __repr__(self) -> str:
        return f"<view of {vars(self)['__scatter_module__']!r}>"


class Rewire(ast.NodeTransformer):
    """Replaces import statements in travelling code.

    Attributes:
        arguments: Name that the code uses for a value → what it is.
        bound: Name that a replaced statement binds → what it is.

    """

    def __init__(self, wiring: Wiring, part: Part) -> None:
        """Begin with no argument."""
        self.arguments: dict[str, Ref] = {}
        self.bound: dict[str, Ref] = {}
        self._depth = 0
        self._wiring = wiring
        self._part = part

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Go inside: what is bound there is no name of the module."""
        return self._inside(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        """Go inside."""
        return self._inside(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        """Go inside."""
        return self._inside(node)

    def _inside(self, node: ast.AST) -> ast.AST:
        self._depth += 1
        self.generic_visit(node)
        self._depth -= 1
        return node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | list[ast.AST]:
        """Take from the version what travels, and the rest from where it was."""
        module = absolute(node, self._part.package)
        rest, made = list[ast.alias](), list[ast.AST]()
        for alias in node.names:
            ref = self._wiring.ref(module, alias.name, within=self._part.module)
            if ref is None:
                rest.append(alias)
            else:
                made.append(self._assign(alias.asname or alias.name, ref, node))
        if not made:
            return node
        node.names = rest
        return [node, *made] if rest else made

    def visit_Import(self, node: ast.Import) -> ast.AST | list[ast.AST]:
        """Bind a view of a module in which something travels."""
        kept, made = list[ast.alias](), list[ast.AST]()
        for alias in node.names:
            bound = alias.name if alias.asname else alias.name.partition(".")[0]
            ref = self._wiring.ref(bound)
            if ref is not None:
                made.append(self._assign(alias.asname or bound, ref, node))
            if ref is None or not self._wiring.is_made(alias.name):
                kept.append(alias)
        if not made:
            return node
        node.names = kept
        return [node, *made] if kept else made

    def _assign(self, name: str, ref: Ref, at: ast.stmt) -> ast.AST:
        argument = f"__scatter_{ref.module}_{ref.name}__".replace(".", "_")
        self.arguments[argument] = ref
        if not self._depth:
            self.bound[name] = ref
        value = ast.Name(argument, ast.Load())
        made = ast.Assign([ast.Name(name, ast.Store())], value)
        return ast.fix_missing_locations(ast.copy_location(made, at))
