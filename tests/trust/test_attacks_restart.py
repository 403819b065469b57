"""Attacks on workers that begin: with a position that was kept, or new.

A restarted worker knows how far the log was believed, and nothing else: the log that it is given
must contain that. A new one knows nothing; whatever it is given, it takes nothing but the beginning
of the honest log.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support import wait_until
from trust.hostile import ANN, MALLORY, SHOP, Scene, Worker, a_new_worker, goes_on
from trust.people import a_release, entry

from scatter.log import Journal, Ledger, statement
from scatter.model import Change
from scatter.trust import Unsigned
from scatter.trust.verifier import KeyVerifier

Attack = Callable[[Scene], object]


def _swapped(scene: Scene) -> None:
    first, second, *rest = scene.entries()
    scene.put_log([second, first, *rest])


def _other_log(scene: Scene, *people: Any, length: int) -> list[bytes]:
    """Return a whole log of somebody else's making."""
    ledger, made = Ledger(scene.namespace, Unsigned()), list[bytes]()
    for _ in range(length):
        change = Change(function="shop:f", version=0)
        made.append(entry(a_release(ledger, namespace=scene.namespace, changes=(change,)), *people))
        ledger.advance(made[-1])
    return made


def _reset_by_a_thief(scene: Scene) -> None:
    """A log that a stolen, revoked key has signed: it begins an epoch before the known release."""
    ledger = Ledger(scene.namespace, Unsigned())
    (first,) = _other_log(scene, MALLORY, length=1)
    ledger.advance(first)
    snapshot = ledger.snapshot()
    digest = statement.hash_of(snapshot)
    made = a_release(ledger, namespace=scene.namespace, action="reset", changes=(), epoch=9)
    scene.run(("SET", scene.key("bundle", digest), snapshot))
    scene.put_log([first, entry(replace(made, snapshot=digest), MALLORY)])


def _ends_with(scene: Scene, last: bytes) -> None:
    scene.put(last, at=scene.tip)


RESTARTS: dict[str, tuple[str, Attack]] = {
    "deleted": ("log-went-back", lambda s: s.run(("DEL", s.key("log")))),
    "replayed": ("log-went-back", lambda s: s.put_log(s.entries()[:-1])),
    "replayed from its beginning": ("log-went-back", lambda s: s.put_log(s.entries()[:1])),
    "swapped": ("wrong-sequence", _swapped),
    "with a gap": ("wrong-sequence", lambda s: s.run(("HDEL", s.key("log"), 2))),
    "without its first entry": ("wrong-sequence", lambda s: s.run(("HDEL", s.key("log"), 1))),
    "with garbage in it": ("bad-envelope", lambda s: s.put(b"SCE1", at=2)),
    "with an entry of nobody": ("unsigned", lambda s: s.put(s.forge(sequence=2), at=2)),
    "another one by the same people": (
        "wrong-chain",
        lambda s: s.put_log(_other_log(s, ANN, length=s.tip + 1)),
    ),
    "with another end": (
        "wrong-chain",
        lambda s: _ends_with(s, entry(_last(s, author="bob"), ANN)),
    ),
    "of a thief, as long": (
        "wrong-chain",
        lambda s: s.put_log(_other_log(s, MALLORY, length=s.tip)),
    ),
    "of a thief, with a reset": ("revoked-key", _reset_by_a_thief),
}


def _last(scene: Scene, **fields: Any) -> Any:
    """Return the last release with other fields."""
    opened = Ledger(scene.namespace, Unsigned()).open(scene.entries()[-1])
    return replace(opened.release, **fields)


@pytest.mark.parametrize("name", RESTARTS)
def test_a_log_without_the_known_position_is_refused_by_who_starts_again(
    scene: Scene, worker: Worker, name: str
) -> None:
    code, attack = RESTARTS[name]
    saved, values = scene.save(), scene.values
    worker.until("the honest log", values=values)
    attack(scene)
    worker.ask("mark")
    worker.ask("restart")
    told = worker.until(f"the refusal of a log {name}", state="error", code=code)
    assert told["values"] == values
    assert worker.uninvited() == []
    scene.restore(saved)
    worker.until("the honest log", state="ready", sequence=scene.tip)
    goes_on(scene, worker)


def test_a_log_that_is_withheld_is_known_to_be_old(scene: Scene, monkeypatch: Any) -> None:
    """A freeze: all that is shown is honest, and nothing new comes."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(scene.folder / "config"))
    reader = Journal(scene.store, verifier=KeyVerifier())
    reader.catch_up()
    assert reader.is_stale() == ""
    policy = (scene.folder / "config" / "scatter" / "policy.toml").read_text()
    scene.files.policy(f'stale_after = "1s"\n{policy}')
    reader.catch_up()
    said = wait_until(reader.is_stale, "the log to be old")
    assert "somebody withholds what came later" in said
    assert reader.ledger.sequence == scene.tip
    scene.push("f")
    assert len(reader.catch_up()) == 1
    assert reader.is_stale() == ""
    scene.files.policy(policy)
    scene.push("g")


# new ones --------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 1, 2])
def test_a_new_worker_takes_the_beginning_that_it_is_given_and_then_the_rest(
    scene: Scene, worker: Worker, tmp_path: Path, length: int
) -> None:
    beginnings = [["f0", "g0"], ["f1", "g0"], ["f1", "g2"]]
    saved = scene.save()
    scene.put_log(scene.entries()[:length] or [b"poison"])
    with a_new_worker(scene, tmp_path) as new:
        state = {"state": "ready"} if length else {"code": "bad-envelope"}
        told = new.until("what it was given", sequence=length, **state)
        assert told["values"] == beginnings[length]
        scene.restore(saved)
        told = new.until("the honest log", state="ready", sequence=scene.tip)
        assert (told["values"], told["errors"]) == (scene.values, [])
    worker.until("the honest log", state="ready")


def test_a_new_worker_does_not_take_what_a_thief_has_signed(
    scene: Scene, worker: Worker, tmp_path: Path
) -> None:
    saved = scene.save()
    _reset_by_a_thief(scene)
    with a_new_worker(scene, tmp_path) as new:
        told = new.until("the refusal", state="error", code="revoked-key")
        assert (told["values"], told["sequence"]) == (["f0", "g0"], 0)
        scene.restore(saved)
        new.until("the honest log", state="ready", values=scene.values)
    worker.until("the honest log", state="ready")


@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_damaged_log_brings_no_old_version_over_newly_deployed_code(
    scene: Scene, worker: Worker, tmp_path: Path, at: int
) -> None:
    deployed = f"f-deployed-{at}"
    newer = SHOP.replace("f0", deployed)
    saved = scene.save()
    scene.put(b"poison", at=at)
    with a_new_worker(scene, tmp_path, newer) as new:
        told = new.until("the refusal", code="bad-envelope", sequence=at - 1)
        assert told["values"][0] == deployed
        scene.restore(saved)
        told = new.until("the honest log", state="ready", sequence=scene.tip)
        assert told["values"] == [deployed, scene.values[1]]
        assert told["superseded"] == ["shop:f"]
        goes_on(scene, worker)
        new.until("a later release", values=scene.values)
