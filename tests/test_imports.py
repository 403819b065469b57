"""Importing does nothing and costs little; what is public is complete, described and findable."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import scatter_agent

import scatter
from scatter.tracked import Tracked
from scatter.verbs import VERBS

HEAVY = (
    "redis",
    "valkey",
    "hiredis",
    "cloudpickle",
    "watchfiles",
    "structlog",
    "cryptography",
    "click",
    "rich",
    "asyncio",
    "socket",
    "ssl",
    "subprocess",
    "logging",
    "tomllib",
    "dataclasses",
    "inspect",
    "typing",
    "ast",
    "pickle",
    "json",
    "concurrent.futures",
    "scatter_agent.agent",
    "scatter.client",
    "scatter.store",
    "scatter.linker",
)
"""Modules that `import scatter` has no need of; each takes 3 ms or brings one that does."""

AUDITED = """
import os
import sys
import threading

happened = []
reads = os.environ.__class__.__getitem__


def note(event, arguments):
    if event.startswith(("socket.", "subprocess.", "os.system", "os.fork", "os.exec", "urllib.")):
        happened.append(event)
    if event in ("os.putenv", "signal.signal", "sys.settrace"):
        happened.append(event)
    if event == "open":
        file = str(arguments[0])
        if not file.endswith((".py", ".pyc", ".so", ".zip")) and ".pyc." not in file:
            happened.append(f"open {file}")


def environment(self, key):
    happened.append(f"environ {key}")
    return reads(self, key)


def thread(self, starts=threading.Thread.start):
    happened.append("thread")  # an event of the interpreter's own only since 3.12
    starts(self)


modules, threads = set(sys.modules), threading.active_count()
hooks = (sys.excepthook, threading.excepthook, list(sys.meta_path), list(sys.path_hooks))
os.environ.__class__.__getitem__ = environment
threading.Thread.start = thread
sys.addaudithook(note)
"""

REPORT = """
loaded = sorted(set(sys.modules) - modules)
on = happened[:]
same_hooks = hooks == (
    sys.excepthook, threading.excepthook, list(sys.meta_path), list(sys.path_hooks)
)
threads = threading.active_count() - threads
import json
print(json.dumps({
    "modules": loaded,
    "happened": on,
    "threads": threads,
    "same_hooks": same_hooks,
}))
"""


def fresh(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a fresh interpreter without the site's own start-up files."""
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, cwd=cwd, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


def audited(code: str, folder: Path) -> dict[str, object]:
    """Run code in a fresh interpreter; return what it loaded and did."""
    file = folder / "audited.py"
    file.write_text(AUDITED + textwrap.dedent(code) + REPORT)
    found: dict[str, object] = json.loads(fresh(str(file), cwd=folder).stdout)
    return found


def loaded_of(found: dict[str, object]) -> set[str]:
    modules = found["modules"]
    assert isinstance(modules, list)
    return {heavy for heavy in HEAVY if heavy in modules}


TRACKED = """
import scatter


@scatter.track
def plain(x=1):
    return x


@scatter.track(name="other:name")
async def waits():
    return 1


class Model:
    @scatter.track
    def method(self):
        return 2

    @scatter.track
    @staticmethod
    def static():
        return 3


assert plain() == 1 and plain.loaded_version == 0 and Model().method() == 2
"""


@pytest.mark.parametrize("package", ["scatter", "scatter_agent"])
def test_importing_loads_nothing_heavy(package: str, tmp_path: Path) -> None:
    found = audited(f"import {package}", tmp_path)
    assert package in found["modules"]  # type: ignore[operator]
    assert loaded_of(found) == set()


@pytest.mark.parametrize("package", ["scatter", "scatter_agent"])
def test_importing_does_nothing(package: str, tmp_path: Path) -> None:
    """Even where settings lie about that a later call would read."""
    (tmp_path / "pyproject.toml").write_text("[tool.scatter]\nnonsense = 1\n")
    found = audited(f"import {package}", tmp_path)
    assert found["happened"] == []
    assert found["threads"] == 0
    assert found["same_hooks"]


def test_the_audit_sees_what_it_looks_for(tmp_path: Path) -> None:
    found = audited(
        """
        import socket
        os.environ.get("SCATTER_NAMESPACE")
        open(os.devnull).close()
        socket.socket().close()
        thread = threading.Thread(target=int)
        thread.start()
        thread.join()
        """,
        tmp_path,
    )
    assert found["happened"] == [
        "environ SCATTER_NAMESPACE",
        "open /dev/null",
        "socket.__new__",
        "thread",
    ]
    assert loaded_of(found) == {"socket"}


def test_tracking_loads_nothing_heavy_and_connects_to_nothing(tmp_path: Path) -> None:
    found = audited(TRACKED, tmp_path)
    assert loaded_of(found) == set()
    assert found["happened"] == []
    assert found["threads"] == 0


def test_tracking_works_beside_settings_that_are_wrong(tmp_path: Path) -> None:
    """Settings are read when a verb needs them, so an import never fails for them."""
    (tmp_path / "pyproject.toml").write_text("this is no TOML [")
    assert audited(TRACKED, tmp_path)["threads"] == 0


def test_init_reads_settings_and_connects_to_nothing(tmp_path: Path) -> None:
    found = audited('import scatter\nscatter.init("redis://127.0.0.1:1", namespace="n")', tmp_path)
    happened = found["happened"]
    assert isinstance(happened, list)
    assert not [event for event in happened if event.startswith(("socket", "subprocess"))]
    assert found["threads"] == 0
    assert loaded_of(found) & {"redis", "cloudpickle", "watchfiles", "cryptography"} == set()


def test_the_memory_store_never_loads_redis(tmp_path: Path) -> None:
    code = """
    import scatter
    scatter.init("memory://here", namespace="n", author="ann")
    assert scatter.functions() == {}
    scatter.cleanup()
    """
    assert "redis" not in audited(code, tmp_path)["modules"]  # type: ignore[operator]


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_the_command_line_says_what_it_is_without_loading_redis(option: str) -> None:
    code = f"""
import sys
sys.argv = ["scatter", {option!r}]
from scatter.cli import main
try:
    main()
finally:
    heavy = {{"redis", "cloudpickle", "watchfiles", "cryptography", "structlog"}}
    print(sorted(heavy & set(sys.modules)), file=sys.stderr)
"""
    done = fresh("-c", code)
    assert "scatter" in done.stdout
    assert done.stderr == "[]\n"


def test_the_version_is_the_same_wherever_it_is_asked_for() -> None:
    assert fresh("-m", "scatter", "--version").stdout == f"scatter {scatter.__version__}\n"


def test_all_and_dir_name_everything_public() -> None:
    assert len(scatter.__all__) == len(set(scatter.__all__))
    assert set(scatter.__all__) <= set(dir(scatter))
    for name in scatter.__all__:
        assert getattr(scatter, name) is not None
    own = {n for n, v in vars(scatter).items() if getattr(v, "__module__", "") and n[0] != "_"}
    modules = {n for n, v in vars(scatter).items() if inspect.ismodule(v)}
    assert own - modules - {"annotations", "TYPE_CHECKING", "Any"} <= set(scatter.__all__)


def test_dir_knows_the_verbs_before_they_are_loaded() -> None:
    code = "import scatter; print(sorted(set(scatter.__all__) - set(dir(scatter))))"
    assert fresh("-c", code).stdout == "[]\n"


def test_star_import_gives_everything_public(tmp_path: Path) -> None:
    code = "from scatter import *\nimport scatter\nassert set(scatter.__all__) <= set(dir())"
    fresh("-c", code, cwd=tmp_path)


def test_an_unknown_attribute_is_the_usual_error() -> None:
    with pytest.raises(AttributeError) as caught:
        scatter.psuh  # noqa: B018
    assert str(caught.value) == "module 'scatter' has no attribute 'psuh'"
    assert caught.value.name == "psuh"
    assert caught.value.obj is scatter
    assert not hasattr(scatter, "psuh")


def test_a_mistyped_verb_is_suggested() -> None:
    """Python suggests names by the error's `name` and `obj`, as for any other module."""
    done = subprocess.run(
        [sys.executable, "-c", "import scatter; scatter.rolback"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Did you mean: 'rollback'?" in done.stderr


@pytest.mark.parametrize("name", [n for n in scatter.__all__ if n != "__version__"])
def test_every_public_thing_is_described(name: str) -> None:
    assert len(getattr(scatter, name).__doc__ or "") > 20


@pytest.mark.parametrize("name", scatter_agent.__all__)
def test_every_public_thing_of_the_agent_is_described(name: str) -> None:
    assert len(getattr(scatter_agent, name).__doc__ or "") > 20


def test_every_verb_of_a_function_is_described_and_has_an_awaitable_form() -> None:
    @scatter.track(name="test_imports:described")
    def described() -> None: ...

    for verb in VERBS:
        assert len(getattr(described, verb).__doc__) > 20
        awaitable = getattr(described, f"a{verb}")
        assert awaitable.__name__ == f"a{verb}"
        assert awaitable.__doc__ == f"Awaitable form of `{verb}`."


def test_type_checkers_are_told_of_every_verb_with_its_own_parameters() -> None:
    @scatter.track(name="test_imports:typed")
    def typed() -> None: ...

    for verb in VERBS:
        told = inspect.signature(getattr(Tracked, verb)).parameters
        told_awaitable = inspect.signature(getattr(Tracked, f"a{verb}")).parameters
        real = inspect.signature(getattr(typed, verb)).parameters
        assert {n: p for n, p in told.items() if n != "self"} == dict(real)
        assert told_awaitable == told


@pytest.mark.parametrize("package", [scatter, scatter_agent])
def test_both_packages_tell_type_checkers_that_they_are_typed(package: object) -> None:
    assert Path(inspect.getfile(package), "..", "py.typed").resolve().exists()  # type: ignore[arg-type]
