"""What a call of a tracked function costs, against the same function untracked, and against peers.

Each measured function is made by executing its own `def`, so that both sides start equal; every
side has a loop of its own, since CPython specialises call sites, and several of them one after the
other, since where code lies in memory is worth a few per cent. Other Pythons of this machine are
measured too: tracking and linking need nothing but the standard library.

Not here: what the peers are and how they are used (`call_peers`).
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
import time
import timeit
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks import call_peers, peers
from benchmarks.harness import Progress, Row, Side, compare, row_of, take_turns
from benchmarks.stage import stage

ROOT = Path(__file__).parent.parent
PYTHONS = ("3.11", "3.12", "3.13")
PLACES, ROUNDS, CALLS = 4, 40, 20_000
MOST, MOST_313 = 1.02, 1.5
"""Largest ratio to a plain call. 3.13 drops a function's version for good when its code is
replaced, and specialises calls of it no more."""
TURN_S = 0.0006
"""How long a turn of a peer lasts, about: as long as one of a tracked function."""

PLAIN = """
{track}
def trivial(x): return x
{track}
def defaults(x, y=1): return x
{track}
def helped(x): return helper(x)
{track}
async def waits(x): return x
{track}
def gives(x): yield x
class Model:
    {track}
    def method(self, x): return x
def helper(x): return x
"""
TRACKED = "import scatter\n" + PLAIN.format(track="@scatter.track")
EDITS = {
    "trivial": ("def trivial(x): return x", "def trivial(x): return +x"),
    "defaults": ("y=1): return x", "y=2): return +x"),
    "helped": ("def helper(x): return x", "def helper(x): return x + 1"),
    "waits": ("async def waits(x): return x", "async def waits(x): return +x"),
    "gives": ("yield x", "yield +x"),
    "method": ("def method(self, x): return x", "def method(self, x): return +x"),
}
LOOPS = {
    "trivial": "f(1)",
    "defaults": "f(1)",
    "helped": "f(1)",
    "method": "f(1)",
    "waits": "next(f(1).__await__(), None)",
    "gives": "next(f(1))",
}
TITLES = {
    "trivial": "same defaults",
    "defaults": "changed defaults",
    "helped": "private helper",
    "method": "method",
    "waits": "async, awaited",
    "gives": "generator, first item",
}
AFTER = "same defaults: after a switch"


def run(progress: Progress) -> list[Row]:
    """Measure in this Python, and in the others that there are."""
    found = {version: own for version in PYTHONS if (own := peers.python_of(version))}
    rows: list[Row] = []
    with stage() as scene:
        for number, (version, python) in enumerate(found.items()):
            progress(f"call on {version}", number / len(found))
            text = _output([python, "-m", "benchmarks.call"], PYTHONPATH=str(ROOT))
            own = [row_of(fields) for fields in json.loads(text)]
            rows += own
            for peer in call_peers.PEERS:
                progress(f"call on {version}, against {peer.title}")
                rows.append(_against(peer, python, scene.url("tcp"), own[1]))
    return rows


def _against(peer: call_peers.Peer, python: str, url: str, tracked: Row) -> Row:
    """Measure one peer in its own environment; without it, return a row that says so."""
    try:
        needs = peer.requirement
        own = str(peers.python_with(needs, python=python)) if needs else python
    except peers.NoPeer as missing:
        against = f"{peer.title}: not here, {missing}"
        return Row(
            benchmark="call",
            what=AFTER,
            sample=tracked.sample,
            against=against,
            python=tracked.python,
        )
    with tempfile.TemporaryDirectory(prefix="sb-") as folder:
        done = _output([own, "-P", call_peers.__file__, peer.name, url, folder])
    return row_of(json.loads(done))


def _output(command: list[str], **variables: str) -> str:
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=peers.environment() | variables,
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{command} failed:\n{done.stderr}")
    return done.stdout


def measure() -> list[Row]:
    """Measure every sort of function before and after a switch."""
    most_after = MOST_313 if sys.version_info >= (3, 13) else MOST
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        plain = _module(Path(folder), "bench_plain", PLAIN.format(track=""))
        plain_new = _module(Path(folder), "bench_plain_new", _edited(PLAIN.format(track="")))
        for name in LOOPS:
            tracked = _tracked(Path(folder), name)
            before = _turns(name, plain, tracked)
            rows.append(_row(f"{TITLES[name]}: tracked, before a switch", before, MOST))
            _switch(tracked, TRACKED, name)
            after = _turns(name, plain_new, tracked)
            rows.append(_row(f"{TITLES[name]}: after a switch", after, most_after))
    return rows


def against(peer: call_peers.Peer, scope: Mapping[str, Any]) -> Row:
    """Measure a peer's call, and one of a tracked function after a switch."""
    with tempfile.TemporaryDirectory() as folder:
        module = _tracked(Path(folder), "trivial")
        _switch(module, TRACKED, "trivial")
        calls = max(
            1, int(TURN_S / timeit.timeit(peer.statement, globals=dict(scope), number=9) * 9)
        )
        calls = min(calls, CALLS)
        measured = _in_places(
            lambda: {
                "peer": _loop(peer.statement, scope["f"], calls, scope),
                "tracked": _loop(LOOPS["trivial"], module.trivial),
            }
        )
    return compare(
        "call",
        AFTER,
        measured["tracked"],
        peer.title,
        measured["peer"],
        most=peer.most,
        by_least=True,
    )


def _turns(name: str, plain: ModuleType, tracked: ModuleType) -> dict[str, list[float]]:
    return _in_places(
        lambda: {
            "plain": _loop(LOOPS[name], _pick(plain, name)),
            "tracked": _loop(LOOPS[name], _pick(tracked, name)),
        }
    )


def _in_places(sides: Callable[[], dict[str, Side]]) -> dict[str, list[float]]:
    """Take turns with sides that are made several times."""
    kept, measured = [], defaultdict(list)
    for _ in range(PLACES):
        kept.append(sides())  # so that the next ones lie elsewhere
        for name, values in take_turns(kept[-1], ROUNDS).items():
            measured[name] += values
    return measured


def _row(what: str, measured: Mapping[str, list[float]], most: float) -> Row:
    return compare(
        "call", what, measured["tracked"], "plain", measured["plain"], most=most, by_least=True
    )


def _pick(module: ModuleType, name: str) -> Any:
    return getattr(module.Model(), name) if name == "method" else getattr(module, name)


def _loop(
    statement: str, function: Any, calls: int = CALLS, names: Mapping[str, Any] | None = None
) -> Side:
    """Return a loop of its own over one function; its time is that of one turn."""
    text = f"def loop(f, turns, clock):\n began = clock()\n for _ in turns: {statement}\n"
    scope = dict(names or {})
    exec(text + " return clock() - began\n", scope)
    loop = scope["loop"]
    turns = [None] * calls
    return lambda: float(loop(function, turns, time.perf_counter)) / calls


def _tracked(folder: Path, name: str) -> ModuleType:
    return _module(folder, f"bench_{name}", TRACKED)


def _edited(text: str) -> str:
    for old, new in EDITS.values():
        text = text.replace(old, new)
    return text


def _module(folder: Path, name: str, text: str) -> ModuleType:
    file = folder / f"{name}.py"
    file.write_text(text)
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _switch(module: ModuleType, text: str, name: str) -> None:
    """Push an edit of one function the whole way, but for the store."""
    from scatter import apply
    from scatter.analysis import ModuleSource
    from scatter.apply import Wanted
    from scatter.bundle import digest_of, encode
    from scatter.bundle.build import build
    from scatter.model import Change
    from scatter.registry import REGISTRY

    old, new = EDITS[name]
    assert old in text
    source = ModuleSource(text.replace(old, new), name=module.__name__)
    qualname = "Model.method" if name == "method" else name
    bundle = build(source, qualname).bundle
    data = encode(bundle)
    change = Change(function=bundle.function, version=1, bundle=digest_of(data), size=len(data))
    prepared = apply.prepare(REGISTRY, [Wanted(change=change, data=data)])
    assert not prepared.refusals, prepared.refusals
    apply.switch(REGISTRY, prepared)


if __name__ == "__main__":
    print(json.dumps([row.fields() for row in measure()]))
