"""The packages whose every function is replaced: pure Python, each with its tests in its sdist.

Not here: anything about scatter. Versions are fixed, so that two runs can be compared.
"""

from __future__ import annotations

from dataclasses import dataclass

PYTEST = "pytest==9.2.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One package of the corpus.

    Attributes:
        name: Its name on the index.
        version: Which one.
        style: What is special about its code.
        imports: Top-level packages that are replaced.
        drop: Folders of the sdist that are not used, so that the installed package is tested.
        needs: What its tests need beside pytest.
        tests: Arguments for pytest.
        leave: Modules that are not imported: importing them does something.

    """

    name: str
    version: str
    style: str
    imports: tuple[str, ...]
    drop: tuple[str, ...] = ("src",)
    needs: tuple[str, ...] = ()
    tests: tuple[str, ...] = ("tests",)
    leave: tuple[str, ...] = ()


PACKAGES = (
    Package(
        name="toolz",
        version="1.2.0",
        style="functional, curried",
        imports=("toolz", "tlz"),
        drop=("toolz", "tlz"),
        tests=("--pyargs", "toolz"),
    ),
    Package(
        name="more-itertools",
        version="11.2.1",
        style="generators, iterator classes",
        imports=("more_itertools",),
        drop=("more_itertools",),
    ),
    Package(
        name="boltons",
        version="26.2.0",
        style="a bit of everything, some of it old",
        imports=("boltons",),
        drop=("boltons",),
    ),
    Package(
        name="python-dateutil",
        version="4.0.0",
        style="class-heavy, caches, metaclasses",
        imports=("dateutil",),
        needs=("hypothesis", "freezegun", "attrs", "pytest-cov"),
    ),
    Package(
        name="click",
        version="8.5.1",
        style="decorators, context objects",
        imports=("click",),
        tests=("tests", "-m", "not stress"),
    ),
    Package(
        name="jinja2",
        version="3.1.6",
        style="compiler, generated code, async twins",
        imports=("jinja2",),
        needs=("trio",),
    ),
    Package(
        name="anyio",
        version="4.16.0",
        style="async on two event loops, abstract classes",
        imports=("anyio",),
        needs=(
            "blockbuster",
            "hypothesis",
            "psutil",
            "pytest-mock",
            "pytest-timeout",
            "trio",
            "trustme",
            "truststore",
            "uvloop",
        ),
        tests=(
            "tests",
            "--assert=plain",  # it has a pytest plugin, so pytest would compile it in another way
            *("-p", "anyio", "-p", "pytest_mock", "-p", "timeout"),
            *("-m", "not network"),
        ),
    ),
    Package(
        name="httpx",
        version="0.28.1",
        style="sync and async twins, properties",
        imports=("httpx",),
        drop=("httpx",),
        needs=(
            *("trio", "trustme", "uvicorn==0.34.0", "chardet==5.2.0", "h2", "brotli"),
            *("zstandard", "socksio", "click==8.1.8", "rich<14", "pygments"),
        ),
        tests=("tests", "-m", "not network"),
    ),
    Package(
        name="attrs",
        version="26.1.0",
        style="generated methods, slots, classes made anew",
        imports=("attr", "attrs"),
        needs=("hypothesis", "cloudpickle", "pympler"),
        tests=("tests", "--import-mode=importlib"),
    ),
    Package(
        name="networkx",
        version="3.6.1",
        style="every function behind a dispatching decorator",
        imports=("networkx",),
        drop=("networkx", "networkx.egg-info", "doc", "examples"),
        tests=(
            "--pyargs",
            *("networkx.classes", "networkx.utils", "networkx.generators", "networkx.readwrite"),
            *("networkx.algorithms.shortest_paths", "networkx.algorithms.traversal"),
            *("networkx.algorithms.tree", "networkx.algorithms.components"),
        ),
    ),
    Package(
        name="markdown",
        version="3.11.3",
        style="registries, extensions, processors",
        imports=("markdown",),
        drop=("markdown", "Markdown.egg-info"),
        needs=("pyyaml",),
        tests=("tests", "-o", "python_classes=NoClass"),  # `TestSuite` is a helper
    ),
    Package(
        name="packaging",
        version="26.3",
        style="slots, caches, operators",
        imports=("packaging",),
        needs=("hypothesis", "pretend", "tomli_w"),
        tests=("tests", "-m", "not property"),
    ),
    Package(
        name="tomlkit",
        version="0.15.2",
        style="subclasses of built-in types",
        imports=("tomlkit",),
        drop=("tomlkit",),
        needs=("pyyaml",),
    ),
    Package(
        name="structlog",
        version="26.1.0",
        style="protocols, stack frames, context variables",
        imports=("structlog",),
        needs=("pytest-asyncio", "simplejson", "time-machine", "rich", "twisted"),
        tests=("tests", "--import-mode=importlib"),
    ),
    Package(
        name="werkzeug",
        version="3.1.9",
        style="descriptors, mixins, proxies",
        imports=("werkzeug",),
        needs=("cffi", "cryptography", "ephemeral-port-reserve", "pytest-timeout", "watchdog"),
        tests=("tests", "-k", "not reloader"),  # those watch every file on the import path
    ),
    Package(
        name="marshmallow",
        version="4.4.0",
        style="metaclasses, hooks found by attribute",
        imports=("marshmallow",),
        needs=("simplejson",),
    ),
)

QUICK = ("toolz", "marshmallow", "structlog")
"""Those that take a few seconds each."""
