"""What a call is compared with: other ways to change what a running program does.

    python -P benchmarks/call_peers.py PEER REDIS-URL FOLDER

is run in the peer's own environment (`peers`): it measures a call of the peer and a call of a
tracked function after a switch, in turns, in one process, and prints the row as JSON.

A flag is the cheapest that its client can evaluate: boolean, no rules, from memory, and nothing is
counted or sent. jurigged does to a function what a switch does, it stores its `__code__`: what is
left is the same, and neither can be the cheaper one.
"""

from __future__ import annotations

import importlib
import json
import linecache
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT))  # behind the peer's packages: one of them is called scatter too

from benchmarks import peers  # noqa: E402 - that path is needed

OLD, NEW = "def f(x):\n    return x\n", "def f(x):\n    return +x\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One thing that a tracked call is compared with.

    Attributes:
        name: What it is called here.
        what: What is called of it, behind its name and version in the table.
        make: Makes it, of a Redis URL and a folder; returns `f`, and what else the statement names.
        requirement: The package that it needs, if any.
        statement: The call that is measured.
        gives: What it must return, so that nobody measures an error.
        most: Largest ratio of a tracked call to it.

    """

    name: str
    what: str
    make: Callable[[str, Path], dict[str, Any]]
    requirement: str = ""
    statement: str = "f(1)"
    gives: object = 1
    most: float = 1.0

    @property
    def title(self) -> str:
        """What it is, in the table."""
        return self.requirement.replace("==", " ") + self.what


def _scatter(url: str, folder: Path) -> dict[str, Any]:
    """Push a function and its edit with the old scatter, and pull the edit."""
    import scatter

    scatter.init(prefix="bench", redis_url=url)
    function = None
    for text in (OLD, NEW):
        function = scatter.track(_defined(text, folder / "peer.py"))
        function.push()
    pulled = scatter.get("f")
    pulled.pull()
    return {"f": pulled}


def _jurigged(_: str, folder: Path) -> dict[str, Any]:
    """Have a saved edit patched in, by what its watcher calls on a change."""
    from jurigged import registry

    file = folder / "bench_jurigged.py"
    file.write_text(OLD)
    sys.path.insert(0, str(folder))
    function = importlib.import_module(file.stem).f
    registry.prepare(file.stem, str(file))
    code_file = registry.get(str(file))
    file.write_text(NEW)
    code_file.refresh()
    return {"f": function}


def _wrapt(_: str, folder: Path) -> dict[str, Any]:
    import wrapt

    @wrapt.decorator
    def hands_on(wrapped: Any, _: Any, args: Any, kwargs: Any) -> Any:
        return wrapped(*args, **kwargs)

    return {"f": hands_on(_defined(NEW, folder / "peer.py"))}


def _partial(_: str, folder: Path) -> dict[str, Any]:
    import functools

    return {"f": functools.partial(_defined(NEW, folder / "peer.py"))}


def _launchdarkly(_: str, __: Path) -> dict[str, Any]:
    from ldclient import Config, Context, LDClient
    from ldclient.integrations.test_data import TestData

    data = TestData.data_source()
    data.update(data.flag("new").variation_for_all(True))
    client = LDClient(Config("sdk-key", update_processor_class=data, send_events=False))
    return {"f": client.variation, "context": Context.create("user-key")}


def _unleash(_: str, folder: Path) -> dict[str, Any]:
    from UnleashClient import UnleashClient
    from UnleashClient.cache import FileCache

    cache = FileCache("bench", directory=str(folder))
    flag = {"name": "new", "enabled": True, "strategies": [{"name": "default", "parameters": {}}]}
    cache.bootstrap_from_dict({"version": 2, "features": [flag]})
    off = {"disable_metrics": True, "disable_registration": True}
    client = UnleashClient("http://127.0.0.1:9/api", "bench", cache=cache, **off)
    client.initialize_client(fetch_toggles=False)
    return {"f": client.is_enabled}


def _growthbook(_: str, __: Path) -> dict[str, Any]:
    from growthbook import GrowthBook

    client = GrowthBook(attributes={"id": "1"}, features={"new": {"defaultValue": True}})
    return {"f": client.is_on}


def _redis(url: str, _: Path) -> dict[str, Any]:
    import redis

    client = redis.Redis.from_url(url)
    client.set("flag", b"1")
    return {"f": client.get}


def _defined(text: str, file: Path) -> Any:
    """Return `f` as a script defines it: what belongs to a script is shipped by value."""
    file.write_text(text)
    linecache.checkcache(str(file))
    scope: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(text, str(file), "exec"), scope)
    return scope["f"]


PEERS = (
    Peer(
        name="scatter",
        what=" of PyPI: a pulled function",
        make=_scatter,
        requirement=peers.SCATTER,
    ),
    Peer(
        name="jurigged",
        what=": a patched function",
        make=_jurigged,
        requirement=peers.JURIGGED,
        most=1.02,
    ),
    Peer(name="wrapt", what=": a decorated function", make=_wrapt, requirement=peers.WRAPT),
    Peer(name="partial", what="functools.partial", make=_partial),
    Peer(
        name="launchdarkly",
        what=": a flag",
        make=_launchdarkly,
        requirement=peers.LAUNCHDARKLY,
        statement="f('new', context, False)",
        gives=True,
    ),
    Peer(
        name="unleash",
        what=": a flag",
        make=_unleash,
        requirement=peers.UNLEASH,
        statement="f('new')",
        gives=True,
    ),
    Peer(
        name="growthbook",
        what=": a flag",
        make=_growthbook,
        requirement=peers.GROWTHBOOK,
        statement="f('new')",
        gives=True,
    ),
    Peer(
        name="redis",
        what=": GET",
        make=_redis,
        requirement=peers.REDIS,
        statement="f('flag')",
        gives=b"1",
    ),
)


def main(name: str, url: str, folder: str) -> None:
    """Measure one peer and a tracked function, in turns; print the row."""
    peer = next(peer for peer in PEERS if peer.name == name)
    scope = peer.make(url, Path(folder))
    found = eval(peer.statement, dict(scope))
    if found != peer.gives:
        raise SystemExit(f"{name} gave {found!r}, not {peer.gives!r}")
    _forget_scatter()
    from benchmarks import call

    print(json.dumps(call.against(peer, scope).fields()))


def _forget_scatter() -> None:
    """Let `import scatter` find this one from now on."""
    sys.path.insert(0, str(ROOT))
    for name in [name for name in sys.modules if name.partition(".")[0] == "scatter"]:
        del sys.modules[name]


if __name__ == "__main__":
    main(*sys.argv[1:])
