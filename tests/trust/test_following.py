"""An agent and whom it trusts: on a real server, with the files of this user."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import wait_until
from test_agent import World, _no_thread_left, make  # noqa: F401 - the fixtures
from trust.people import Files, Person, Together

from scatter.config import Settings
from scatter.errors import Untrusted
from scatter.log import Draft, Journal, cosign
from scatter.log.proposal import Proposal
from scatter.log.reset import reset, survey
from scatter.releases import Releases
from scatter.trust.verifier import KeyVerifier

ANN, BOB, EVE = Person("ann"), Person("bob"), Person("eve")


@pytest.fixture
def world(make: Callable[..., World], files: Files) -> World:  # noqa: F811
    """A module, its registry and the run's server; who runs it trusts Ann and Bob."""
    files.trust(ANN, BOB)
    made = make()
    sign_as(made, ANN)
    return made


def sign_as(world: World, *people: Person) -> None:
    """Have these people sign what is pushed from here on."""
    journal = Journal(world.store, signer=Together(*people))  # they believe everything
    world.releases = Releases(journal, author=str(people[0]))


def ready(world: World, **options: Any) -> Any:
    return world.ready(look_s=0.05, **options)


def test_what_a_stranger_signed_runs_nowhere_until_the_stranger_is_trusted(
    world: World, files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    agent = ready(world)
    world.push(f="f1")
    world.until("f1 g0 h0")
    sign_as(world, EVE)
    world.push(f="f2", g="g2")
    wait_until(lambda: agent.status().code == "unknown-key", "the agent to say so")
    assert world.calls() == "f1 g0 h0"
    shown = " ".join(EVE.key.line().split()[:2])  # a signature has no comment
    assert f"\n    scatter keys trust '{shown}'" in agent.status().reason
    wait_until(lambda: (r := world.report(agent)) and r.state == "error", "the report to say so")
    files.trust(ANN, EVE)
    world.until("f2 g2 h0")
    wait_until(lambda: agent.status().state == "ready", "the agent to be ready")


def test_what_nobody_signed_runs_nowhere(world: World) -> None:
    agent = ready(world)
    world.releases = Releases(Journal(world.store), author="eve")
    world.push(f="f1")
    wait_until(lambda: agent.status().code == "unsigned", "the agent to say so")
    assert world.calls() == "f0 g0 h0"


def test_trust_that_is_off_is_off_for_that_process_and_is_logged(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    from scatter.log import opening

    opening._told_off.clear()
    world.releases = Releases(Journal(world.store), author="eve")
    settings = Settings(redis_url=world.url, namespace=world.namespace, trust="off")
    agent = world.start(settings=settings)
    assert agent.wait(20)
    other = ready(world)
    world.push(f="f1")
    world.until("f1 g0 h0")
    wait_until(lambda: other.status().code == "unsigned", "the other one to refuse it")
    assert agent.status().state == "ready"
    assert caplog.text.count("scatter.trust_off") == 1


@pytest.mark.parametrize(("policy", "calls"), [("", "f1 g1 h0"), ("drop", "f0 g1 h0")])
def test_code_of_a_key_that_was_revoked_since_stays_or_goes_and_is_reported(
    world: World, files: Files, policy: str, calls: str, caplog: pytest.LogCaptureFixture
) -> None:
    files.policy(f'revoked_code = "{policy}"' if policy else "")
    agent = ready(world)
    world.push(f="f1")
    sign_as(world, BOB)
    world.push(g="g1")
    world.until("f1 g1 h0")
    files.revoke(ANN)
    wait_until(lambda: agent.status().distrusted == (world.name("f"),), "the status to say so")
    world.until(calls)
    wait_until(lambda: (r := world.report(agent)) and r.distrusted, "the report to say so")
    (event,) = [r.getMessage() for r in caplog.records if "signer_revoked" in r.getMessage()]
    assert f"dropped={policy == 'drop'}" in event
    found = survey(world.store, agent._work._connection.verifier())
    assert found.trouble is not None, "a newcomer does not believe it"
    own = Journal(world.store, verifier=KeyVerifier(), signer=BOB)
    state = world.releases.journal.ledger.believed_by(KeyVerifier())
    draft = Draft(action="reset", changes=(), author="bob")
    known = survey(world.store, Journal(world.store).ledger.verifier)
    reset(known, draft, state=state, epoch=1, journal=own)
    wait_until(lambda: agent.status().distrusted == (), "Bob to have vouched for it")
    world.until("f1 g1 h0")
    wait_until(lambda: agent.status().epoch == 1, "the status to say so")


def test_files_that_cannot_be_used_are_reported_and_what_runs_stays(
    world: World, files: Files
) -> None:
    files.policy('revoked_code = "drop"')
    agent = ready(world)
    world.push(f="f1")
    sign_as(world, BOB)
    world.push(g="g1")
    world.until("f1 g1 h0")
    files.revoke(BOB)
    world.until("f1 g0 h0")
    (files.folder / "revoked_keys").chmod(0o666)
    wait_until(lambda: agent.status().code == "unsafe-trust-file", "the agent to say so")
    wait_until(lambda: (r := world.report(agent)) and r.state == "error", "the report to say so")
    world.push(h="h1")
    connections = world.connections()
    looks = agent.status().contact_at
    wait_until(lambda: agent.status().contact_at > looks, "another look")
    assert world.calls() == "f1 g0 h0", "what was revoked does not come back, nothing new runs"
    assert world.connections() == connections
    (files.folder / "revoked_keys").chmod(0o600)
    files.revoke()
    world.until("f1 g1 h1")
    wait_until(lambda: agent.status().state == "ready", "the agent to be content")


def test_a_log_that_is_older_than_the_policy_lets_it_be_is_said_to_be(
    world: World, files: Files
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("scatter.log.journal.now", lambda: "2026-01-01T00:00:00.000Z")
        world.push(f="f1")
    files.policy('stale_after = "1h"')
    agent = ready(world)
    world.until("f1 g0 h0")
    wait_until(lambda: agent.status().code == "frozen", "the agent to say so")
    assert agent.status().state == "stale"
    assert "`scatter renew`" in agent.status().reason
    world.releases.renew()
    wait_until(lambda: agent.status().state == "ready", "the agent to be content")


def test_what_was_kept_is_checked_like_what_is_read(
    world: World, files: Files, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    settings = Settings(redis_url=world.url, namespace=world.namespace, cache=str(cache))
    agent = world.start(settings=settings, look_s=0.05)
    assert agent.wait(20)
    world.push(f="f1")
    world.until("f1 g0 h0")
    wait_until((cache / world.namespace / "tip").exists, "it to be kept")
    agent.stop()
    slots = world.registry.slots()
    world.registry.switch({name: slot.shipped for name, slot in slots.items()})
    for slot in slots.values():
        slot.loaded.clear()
    away = Settings(redis_url="unix:///nowhere.sock", namespace=world.namespace, cache=str(cache))
    files.trust(BOB)
    again = world.start(settings=away)
    wait_until(lambda: again.status().state == "stale", "the start without a server")
    wait_until(lambda: again._work._course._cache.was_read, "the cache to be read")
    again.stop()
    assert world.calls() == "f0 g0 h0"
    files.trust(ANN)
    world.start(settings=away)
    world.until("f1 g0 h0")


def test_a_process_that_starts_again_refuses_a_log_that_is_behind_where_it_was(
    world: World,
) -> None:
    agent = ready(world)
    world.push(f="f1")
    saved = world.run("HGETALL", f"scatter:{{{world.namespace}}}:log")
    world.push(f="f2")
    world.until("f2 g0 h0")
    agent.stop()
    key = f"scatter:{{{world.namespace}}}:log"
    world.run("DEL", key)
    world.run("HSET", key, *(part for item in saved.items() for part in item))
    again = world.start(look_s=0.05)
    wait_until(lambda: again.status().code == "log-went-back", "the agent to notice")
    assert world.calls() == "f2 g0 h0"


def test_positions_are_per_user_and_name_no_secret(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCATTER_STATE", str(tmp_path / "state"))
    ready(world)
    world.push(f="f1")
    world.until("f1 g0 h0")
    folder = tmp_path / "state" / "positions"
    wait_until(lambda: folder.exists() and list(folder.glob("*.json")), "the position")
    (file,) = folder.glob("*.json")
    kept = json.loads(file.read_text())
    assert (kept["sequence"], kept["namespace"]) == (1, world.namespace)
    with pytest.raises(Untrusted):
        KeyVerifier().check(b"{}", (), namespace=world.namespace)


def test_what_two_people_must_sign_is_switched_to_when_both_have(
    world: World, files: Files
) -> None:
    files.policy('[[rule]]\nsigners = ["ann@*", "bob@*"]\nthreshold = 2')
    ann, bob = (
        Journal(world.store, verifier=KeyVerifier(), signer=person) for person in (ANN, BOB)
    )
    made: list[Proposal] = []
    verbs = Releases(ann, author="ann").proposing(lambda _, proposal: made.append(proposal))
    agent = ready(world)
    world.releases = verbs
    world.push(f="f1", g="g1")
    sign_as(world, ANN)
    world.push(h="h1")  # signed by one, and written by somebody whose policy allows it
    wait_until(lambda: agent.status().code == "too-few-signatures", "the agent to refuse it")
    assert world.calls() == "f0 g0 h0"
    world.store.cut(0)
    (proposal,) = made
    signed = cosign.sign(bob, cosign.consider(bob, proposal))
    assert world.calls() == "f0 g0 h0"
    cosign.publish(bob, signed)
    world.until("f1 g1 h0")
    wait_until(lambda: agent.status().state == "ready", "the agent to be content")
