"""The application of the fault run: two modules, six tracked functions that call each other.

Each function carries the stamp of its version at four places that must never be seen apart: in its
body, as a default, in a helper and as a constant. A call returns the stamps of every function that
took part, in the order in which they began.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from scatter.analysis import ModuleSource
from scatter.bundle import digest_of, encode
from scatter.bundle.build import build
from scatter.releases import Candidate

INNER = {"fee": (), "rate": ("fee",), "tax": (), "label": (), "price": ("rate", "fee")}
INNER |= {"order": ("price", "tax")}
"""Function → those that it calls, in this order."""
HOMES = {"frates": ("fee", "rate", "tax"), "fshop": ("label", "price", "order")}
NAMES = {short: f"{module}:{short}" for module, shorts in HOMES.items() for short in shorts}
"""Short name → full name of each tracked function."""
SHORTS = {full: short for short, full in NAMES.items()}

_HEAD = """\
import scatter
{imports}
CALLS = {{}}
"""
_FUNCTION = """
{upper} = {stamp}


def _stamp_of_{name}():
    return {stamp}


@scatter.track
def {name}(times=1, own={stamp}):
    seen = [("{name}", {body}, own, _stamp_of_{name}(), {upper})]
    CALLS["{name}"] = CALLS.get("{name}", 0) + times
{calls}    return seen

"""


def text_of(module: str, stamps: Mapping[str, int], poison: str = "") -> str:
    """Return a module's text with these stamps; `poison` names a function that cannot link."""
    imports = "from frates import fee, rate, tax\n" if module == "fshop" else ""
    parts = [_HEAD.format(imports=imports)]
    if poison in HOMES[module]:
        parts.append("import not_installed_anywhere\n")
    for name in HOMES[module]:
        stamp = stamps.get(name, 0)
        body = "not_installed_anywhere" if name == poison else str(stamp)
        calls = "".join(f"    seen += {inner}()\n" for inner in INNER[name])
        parts.append(
            _FUNCTION.format(
                name=name, upper=f"K_{name}".upper(), stamp=stamp, body=body, calls=calls
            )
        )
    return "".join(parts)


def write(folder: Path) -> None:
    """Write the application as it is deployed: every stamp 0."""
    for module in HOMES:
        (folder / f"{module}.py").write_text(text_of(module, {}), "utf-8")


def candidate(name: str, stamp: int, *, is_poison: bool = False) -> tuple[str, Candidate]:
    """Return (digest, candidate) of a version of one function."""
    module = NAMES[name].partition(":")[0]
    text = text_of(module, {name: stamp}, name if is_poison else "")
    built = build(ModuleSource(text, name=module, file=f"{module}.py"), name)
    bundle = Candidate(bundle=built.bundle, lines=built.lines, file=f"{module}.py")
    return digest_of(encode(built.bundle)), bundle
