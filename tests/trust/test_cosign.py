"""Releases that several people sign: made by one, signed by another, written once."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from trust.people import NAMESPACE, Files, Person, Together, journal_of

from scatter.bundle import Bundle, Part, digest_of, encode
from scatter.errors import Conflict, Refused, Untrusted, UsageError
from scatter.log import Draft, Journal, cosign, journal, proposal, statement
from scatter.log.cosign import Considered, consider, publish, sign
from scatter.log.proposal import Proposal
from scatter.log.reset import reset, survey
from scatter.model import Change, Release
from scatter.releases import Candidate, Releases
from scatter.store.memory import MemoryStore
from scatter.trust import sshsig, wire
from scatter.trust.home import purpose

ANN, BOB, EVE = Person("ann"), Person("bob"), Person("eve")
BOTH = '[[rule]]\nsigners = ["ann@example.org", "bob@example.org"]\nthreshold = 2'


def bundle(function: str = "pricing:score", value: int = 1, **fields: Any) -> Bundle:
    module, _, name = function.partition(":")
    source = f"def {name}(x):\n    return x * {value}"
    return Bundle(
        function=function, qualname=name, source=source, parts=(Part(module=module),), **fields
    )


def candidate(function: str = "pricing:score", value: int = 1) -> Candidate:
    return Candidate(bundle=bundle(function, value))


class Team:
    """Ann and Bob, each with what they know of one log, whose releases both have to sign."""

    def __init__(self, files: Files) -> None:
        self.files = files
        self.store = MemoryStore(NAMESPACE)
        files.trust(ANN, BOB)
        files.policy(BOTH)

    def journal(self, *people: Person) -> Journal:
        return journal_of(self.store, *people)

    def verbs(self, *people: Person) -> Releases:
        return Releases(self.journal(*people), author=people[0].name)

    def proposed(self, by: Person, act: Callable[[Releases], object]) -> Proposal:
        """Return what somebody proposes, as it arrives in a file."""
        made = list[Proposal]()
        act(self.verbs(by).proposing(lambda _, made_: made.append(made_)))
        (one,) = made
        return proposal.read(proposal.write(one))

    def pushed(self, *candidates: Candidate) -> Release | None:
        """Push with both signatures at once."""
        return self.verbs(ANN, BOB).push(candidates, force=True).release

    def both(self, act: Callable[[Releases], object]) -> Release:
        """Have Ann propose, Bob sign, and Ann publish."""
        signed = sign(self.journal(BOB), consider(self.journal(BOB), self.proposed(ANN, act)))
        own = self.journal(ANN)
        return publish(own, consider(own, proposal.read(proposal.write(signed.proposal))))

    def read(self) -> Journal:
        """Return the journal of a newcomer who has read all of the log."""
        found = self.journal()
        found.catch_up()
        return found

    def everything(self) -> object:
        """Return what the store has."""
        store = self.store
        return list(store._entries), dict(store._bundles), dict(store._versions)


@pytest.fixture
def team(files: Files) -> Team:
    return Team(files)


def push(verbs: Releases) -> object:
    return verbs.push([candidate()], message="why")


def reason(act: Callable[[], object]) -> str:
    with pytest.raises(Refused) as caught:
        act()
    return caught.value.reason


def signed_by(considered: Considered) -> list[str]:
    return [name for one in considered.signatories for name in one.principals]


# two who sign -----------------------------------------------------------------------------


def test_what_one_proposes_another_signs_and_either_publishes(team: Team) -> None:
    made = team.proposed(ANN, push)
    assert team.store.read(0).tip == 0, "proposing writes nothing"

    bob = team.journal(BOB)
    considered = consider(bob, made)
    assert signed_by(considered) == [ANN.name]
    assert (considered.release.author, considered.release.message) == (ANN.name, "why")
    signed = sign(bob, considered)
    assert signed_by(signed) == [ANN.name, BOB.name]
    assert (signed.missing, signed.left_out) == ((), ())
    assert signed.proposal.statement == made.statement

    release = publish(bob, signed)
    assert release == considered.release
    state = team.read().ledger.functions["pricing:score"]
    assert (state.version, state.keys) == (1, (ANN.key.fingerprint, BOB.key.fingerprint))
    assert team.read().bundles([state.live]) == {state.live.bundle: encode(bundle())}


def test_a_release_with_too_few_signatures_says_what_is_missing_and_how_to_get_it(
    team: Team,
) -> None:
    with pytest.raises(Untrusted) as caught:
        push(team.verbs(ANN))
    assert caught.value.reason == "too-few-signatures"
    assert "1 more is missing, of bob@example.org." in caught.value.detail
    for command in ("--propose FILE", "scatter sign FILE", "scatter publish FILE"):
        assert command in caught.value.hint

    own = team.journal(ANN)
    considered = consider(own, team.proposed(ANN, push))
    (missing,) = considered.missing
    assert missing.detail == caught.value.detail
    assert reason(lambda: publish(own, considered)) == "too-few-signatures"
    assert team.store.read(0).tip == 0


def test_all_that_is_missing_is_said(team: Team) -> None:
    team.files.policy(
        '[[rule]]\nfunctions = ["a:*"]\nsigners = ["bob@*"]\n'
        '[[rule]]\nfunctions = ["b:*"]\nthreshold = 3'
    )
    made = team.proposed(ANN, lambda v: v.push([candidate("a:f"), candidate("b:f")]))
    missing = consider(team.journal(), made).missing
    assert [one.reason for one in missing] == ["not-permitted", "too-few-signatures"]
    assert "2 more are missing" in missing[1].detail
    with pytest.raises(Untrusted) as caught:
        publish(team.journal(), consider(team.journal(), made))
    assert caught.value.reason == "not-permitted"
    assert ["2 more are missing" in note for note in caught.value.__notes__] == [True]


def test_each_may_sign_a_copy(team: Team) -> None:
    team.files.policy("threshold = 3")
    team.files.trust(ANN, BOB, EVE)
    made = team.proposed(ANN, push)
    copies = [
        sign(team.journal(one), consider(team.journal(one), made)).proposal for one in (BOB, EVE)
    ]
    own = team.journal(ANN)
    assert [one.reason for one in consider(own, copies[0]).missing] == ["too-few-signatures"]
    publish(own, consider(own, cosign.merged(copies)))
    assert len(team.read().ledger.functions["pricing:score"].keys) == 3
    other = team.proposed(ANN, push_other)
    with pytest.raises(UsageError, match="found several"):
        cosign.merged([made, other])


def test_one_person_does_not_pass_for_two(team: Team) -> None:
    other = Person("ann")
    team.files.trust(ANN, BOB, other)
    made = team.proposed(ANN, push)
    ann = team.journal(ANN)
    with pytest.raises(UsageError, match="You have signed it already"):
        sign(ann, consider(ann, made))

    second = sign(team.journal(other), consider(team.journal(), made))
    assert len(second.signatories) == 2
    assert [one.reason for one in second.missing] == ["too-few-signatures"]
    assert reason(lambda: publish(ann, second)) == "too-few-signatures"

    raw = ANN._private.sign(sshsig.signed_bytes(made.statement, purpose(NAMESPACE), "sha256"))
    wrapped = wire.string(ANN.key.kind) + wire.string(raw)
    again = sshsig.write(ANN.key, purpose(NAMESPACE), wrapped, "sha256")
    twice = consider(ann, replace(made, signatures=(*made.signatures, again)))
    assert twice.proposal.signatures == made.signatures
    assert [one.reason for one in twice.missing] == ["too-few-signatures"]
    assert team.store.read(0).tip == 0


def test_the_signature_of_a_stranger_is_left_out_and_said(team: Team) -> None:
    made = team.proposed(ANN, push)
    strange = replace(made, signatures=(*EVE.sign(made.statement), *made.signatures))
    bob = team.journal(BOB)
    considered = consider(bob, strange)
    assert signed_by(considered) == [ANN.name]
    (left_out,) = considered.left_out
    assert (left_out.reason, EVE.key.fingerprint in left_out.detail) == ("unknown-key", True)
    publish(bob, sign(bob, considered))
    (entry,) = team.store.entries([1])
    assert entry is not None
    assert EVE.key.blob not in entry


@pytest.mark.parametrize("line", ['valid-before="20200101"', 'namespaces="scatter-release-v1:bar"'])
def test_a_signature_that_does_not_count_here_is_left_out_too(team: Team, line: str) -> None:
    made = team.proposed(ANN, push)
    team.files.trust(ANN, BOB.line(line))
    both = replace(made, signatures=(*made.signatures, *BOB.sign(made.statement)))
    considered = consider(team.journal(), both)
    assert signed_by(considered) == [ANN.name]
    assert [one.reason for one in considered.left_out] in (["expired-key"], ["wrong-purpose"])
    bob = team.journal(BOB)
    assert reason(lambda: sign(bob, considered)) in ("expired-key", "wrong-purpose")


def test_nothing_is_looked_into_that_only_strangers_signed(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = team.proposed(ANN, push)
    monkeypatch.setattr(statement, "read", lambda _: pytest.fail("parsed"))
    monkeypatch.setattr(cosign, "decode", lambda _: pytest.fail("decoded"))
    strange = replace(made, signatures=EVE.sign(made.statement))
    assert reason(lambda: consider(team.journal(BOB), strange)) == "unknown-key"
    unsigned = replace(made, signatures=())
    assert reason(lambda: consider(team.journal(BOB), unsigned)) == "bad-proposal"
    other = replace(made, statement=made.statement.replace(b"why", b"Why"))
    assert reason(lambda: consider(team.journal(BOB), other)) == "bad-signature"


def test_a_stranger_cannot_sign(team: Team) -> None:
    considered = consider(team.journal(), team.proposed(ANN, push))
    assert reason(lambda: sign(team.journal(EVE), considered)) == "unknown-key"


def test_where_nothing_is_signed_there_are_no_proposals(team: Team) -> None:
    made = team.proposed(ANN, push)
    with pytest.raises(UsageError, match="nothing is signed here"):
        consider(Journal(team.store), made)


@pytest.mark.parametrize("policy", [BOTH, "threshold = 2"])
def test_a_policy_for_a_log_that_is_there_is_begun_with_a_reset_that_both_sign(
    team: Team, policy: str
) -> None:
    team.files.policy("")
    push(team.verbs(ANN))
    team.files.policy(policy)
    assert reason(team.journal().catch_up) == "too-few-signatures"
    team.files.policy("")
    own = team.journal(ANN, BOB)
    found = survey(team.store, own.ledger.verifier)
    draft = Draft(action="reset", changes=(), author=ANN.name)
    reset(found, draft, state=found.ledger, epoch=1, journal=own)
    team.files.policy(policy)
    assert team.read().ledger.functions["pricing:score"].version == 1
    assert team.both(lambda v: v.push([candidate(value=2)])).sequence == 3
    assert team.read().ledger.functions["pricing:score"].version == 2


# races ------------------------------------------------------------------------------------


def test_who_released_meanwhile_is_named_and_nothing_is_written(team: Team) -> None:
    bob = team.journal(BOB)
    signed = sign(bob, consider(bob, team.proposed(ANN, push)))
    other = team.pushed(candidate("pricing:rank"))
    assert other is not None
    before = list(team.store._entries)

    for act in (
        lambda: consider(team.journal(BOB), signed.proposal),
        lambda: publish(bob, signed),  # who had not heard of it
        lambda: publish(team.journal(), signed),
    ):
        with pytest.raises(Conflict) as caught:
            act()
        assert "release 1 (push) by ann@example.org" in str(caught.value)
        assert "propose it again" in str(caught.value)
        assert (caught.value.author, caught.value.time) == (ANN.name, other.time)
        assert caught.value.exit_code == 5
    assert team.store._entries == before

    assert team.both(push).sequence == 2


def test_a_proposal_is_published_once(team: Team) -> None:
    bob = team.journal(BOB)
    signed = sign(bob, consider(bob, team.proposed(ANN, push)))
    publish(bob, signed)
    for act in (lambda: publish(bob, signed), lambda: consider(team.journal(), signed.proposal)):
        with pytest.raises(Conflict, match="It is published already: it is release 1 in memory://"):
            act()
    assert team.store.read(0).tip == 1


def test_a_proposal_for_another_log_is_a_conflict(team: Team) -> None:
    team.pushed(candidate("pricing:rank"))
    made = team.proposed(ANN, push)
    team.store._entries.clear()
    with pytest.raises(Conflict, match="of another log than the one in memory://"):
        consider(team.journal(), made)


def test_of_two_who_publish_at_once_one_does(team: Team) -> None:
    bob, ann = team.journal(BOB), team.journal(ANN)
    one = sign(bob, consider(bob, team.proposed(ANN, push)))
    other = sign(bob, consider(bob, team.proposed(ANN, lambda v: v.push([candidate("a:b")]))))
    consider(ann, other.proposal)
    publish(bob, one)
    with pytest.raises(Conflict):
        publish(ann, other)
    assert list(team.read().ledger.functions) == ["pricing:score"]


# every verb -------------------------------------------------------------------------------


def history(team: Team) -> None:
    for value in (1, 2, 3, 2):
        team.pushed(candidate(value=value))
    team.pushed(candidate("pricing:rank"))


@pytest.mark.parametrize(
    "act",
    [
        lambda v: v.push([candidate(value=9), candidate("pricing:rank", 9)], force=True),
        lambda v: v.release({"score": 1, "rank": 0}),
        lambda v: v.rollback("score"),
        lambda v: v.rollback(to=2),
        lambda v: v.delete("score"),
        lambda v: v.delete("score", older_than=5),
        lambda v: v.delete("score", older_than=4),
        lambda v: v.delete("score", older_than=3),
        lambda v: v.renew(),
    ],
)
def test_what_was_proposed_does_what_it_would_have_done_at_once(
    team: Team, files: Files, act: Callable[[Releases], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "now", lambda: "2026-01-01T00:00:00.000Z")
    at_once = Team(files)
    history(team)
    history(at_once)
    assert team.everything() == at_once.everything()

    team.both(act)
    act(at_once.verbs(ANN, BOB))

    assert team.everything() == at_once.everything()


def test_what_a_delete_removes_is_known_before_it_is_signed(team: Team) -> None:
    history(team)
    (first,) = team.read().versions("pricing:score", above=0, limit=1)
    made = team.proposed(ANN, lambda v: v.delete("score", older_than=4))
    assert consider(team.journal(), made).removed == {"pricing:score": (3, 2, 1)}
    assert set(team.store.bundles([first.bundle])) == {first.bundle}, "nothing is removed yet"
    team.both(lambda v: v.delete("score", older_than=4))
    assert team.store.bundles([first.bundle]) == {}
    assert [v.number for v in team.read().versions("pricing:score")] == [4]


def test_where_nothing_would_change_nothing_is_proposed(team: Team) -> None:
    history(team)
    verbs = team.verbs(ANN).proposing(lambda *_: pytest.fail("proposed"))
    assert verbs.release({"score": 4}) is None
    assert verbs.push([candidate(value=2)]).release is None
    assert verbs.push([candidate(value=7)], dry_run=True).release is not None


def test_a_proposal_carries_no_snapshot_of_what_nobody_looked_at(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    history(team)
    monkeypatch.setattr(journal, "SNAPSHOT_EVERY", 1)
    made = team.proposed(ANN, push_other)
    assert statement.read(made.statement).snapshot == ""
    assert len(made.bundles) == 1
    assert team.both(push_other).sequence == 6
    assert team.pushed(candidate("a:c")).snapshot, "the next ordinary one has it"  # type: ignore[union-attr]


def push_other(verbs: Releases) -> object:
    return verbs.push([candidate("a:b")])


# what does not fit ------------------------------------------------------------------------


def forged(team: Team, change: Callable[[Release], Release], *carried: Bundle) -> Proposal:
    """Return a proposal that Ann signed, of a release that no verb would make."""
    made = team.proposed(ANN, push_other)
    text = statement.write(change(statement.read(made.statement)))
    data = [encode(one) for one in carried]
    bundles = {digest_of(one): one for one in data}
    return Proposal(statement=text, signatures=ANN.sign(text), bundles=bundles)


def changed(function: str, version: int, code: Bundle, **fields: Any) -> Change:
    data = encode(code)
    return Change(
        function=function, version=version, bundle=digest_of(data), size=len(data), **fields
    )


SCORE, OTHER = bundle("pricing:score", 1), bundle("pricing:score", 666)


@pytest.mark.parametrize(
    ("code", "changes", "carried", "fields"),
    [
        # an old version's number with other code
        ("wrong-version", [changed("pricing:score", 1, OTHER)], [OTHER], {}),
        ("wrong-version", [changed("pricing:score", 9, OTHER)], [OTHER], {}),
        ("wrong-version", [changed("pricing:score", 3, OTHER, created=True)], [OTHER], {}),
        # code that is missing, too much, or of another function
        ("bad-proposal", [changed("pricing:score", 5, OTHER, created=True)], [], {}),
        ("bad-proposal", [changed("pricing:score", 1, SCORE)], [OTHER], {}),
        (
            "bad-proposal",
            [replace(changed("pricing:score", 5, OTHER, created=True), size=7)],
            [OTHER],
            {},
        ),
        ("wrong-function", [changed("pricing:rank", 2, OTHER, created=True)], [OTHER], {}),
        ("wrong-function", [changed("a:new", 1, OTHER, created=True)], [OTHER], {}),
        # what vouches for more than it shows
        ("bad-proposal", [changed("pricing:score", 1, SCORE)], [], {"snapshot": "0" * 64}),
        ("bad-proposal", [], [], {"action": "reset", "snapshot": "0" * 64, "epoch": 1}),
        ("wrong-namespace", [changed("pricing:score", 1, SCORE)], [], {"namespace": "bar"}),
        (
            "wrong-time",
            [changed("pricing:score", 1, SCORE)],
            [],
            {"time": "1999-01-01T00:00:00.000Z"},
        ),
        (
            "wrong-time",
            [changed("pricing:score", 1, SCORE)],
            [],
            {"time": "9999-01-01T00:00:00.000Z"},
        ),
    ],
)
def test_what_does_not_fit_itself_or_the_log_is_refused_whoever_signed_it(
    team: Team, code: str, changes: list[Change], carried: list[Bundle], fields: dict[str, Any]
) -> None:
    history(team)
    before = team.everything()
    made = forged(team, lambda r: replace(r, changes=tuple(changes), **fields), *carried)
    assert reason(lambda: consider(team.journal(BOB), made)) == code
    assert team.everything() == before


def test_a_log_whose_clock_was_ahead_goes_on(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(journal, "now", lambda: "9999-01-01T00:00:00.000Z")
        team.pushed(candidate("pricing:rank"))
    assert team.both(push).time == "9999-01-01T00:00:00.000Z"


def test_code_that_is_live_again_and_that_the_store_has_lost_is_not_signed_unseen(
    team: Team,
) -> None:
    history(team)
    made = team.proposed(ANN, lambda v: v.release({"score": 1}))
    team.store._bundles.pop(digest_of(encode(SCORE)))
    assert reason(lambda: consider(team.journal(BOB), made)) == "bundle-missing"


def test_where_the_live_code_is_lost_all_of_the_new_is_shown(team: Team) -> None:
    from scatter.cli import review

    history(team)
    live = team.read().ledger.functions["pricing:score"].live
    made = team.proposed(ANN, lambda v: v.push([candidate(value=9)]))
    team.store._bundles.pop(live.bundle)
    bob = team.journal(BOB)
    considered = consider(bob, made)
    first, *lines = review.diff_of(bob, considered, considered.release.changes[0])
    assert "--- /dev/null (the live code is lost: all is shown)" in first
    assert any("+    return x * 9" in line for line in lines)


def test_what_does_not_fit_is_not_written_even_if_it_was_not_looked_at(team: Team) -> None:
    history(team)
    wrong = changed("pricing:score", 3, OTHER, created=True)
    made = forged(team, lambda r: replace(r, changes=(wrong,)), OTHER)
    both = replace(made, signatures=(*made.signatures, *BOB.sign(made.statement)))
    own = team.journal(BOB)
    own.catch_up()
    assert reason(lambda: own.append_proposed(both, cosign.Hints())) == "wrong-version"
    assert team.store.read(0).tip == 5


_watched: list[str] | None = None


def _audit(event: str, _arguments: object) -> None:
    if _watched is not None and event in ("exec", "compile", "import", "pickle.find_class"):
        _watched.append(event)


def test_to_look_and_to_sign_runs_nothing_of_it(team: Team) -> None:
    from scatter.cli import review

    global _watched
    evil = b"cos\nsystem\n(S'touch /tmp/pwned'\ntR."
    code = replace(bundle("pricing:f"), source="def f(", pickle=evil, python="cpython-311")
    made = team.proposed(ANN, lambda v: v.push([Candidate(bundle=code)]))
    bob = team.journal(BOB)
    diffs = review.diff_of(bob, consider(bob, made), statement.read(made.statement).changes[0])
    assert any("CANNOT BE SHOWN" in line for line in diffs)
    sys.addaudithook(_audit)
    try:
        _watched = []
        considered = consider(bob, proposal.read(proposal.write(made)))
        review.diff_of(bob, considered, considered.release.changes[0])
        sign(bob, considered)
        assert _watched == []
        compile("1", "", "eval")
        assert _watched == ["compile"], "the hook does see it"
    finally:
        _watched = None


# the file ---------------------------------------------------------------------------------

TEXT = statement.write(
    Release(
        namespace=NAMESPACE,
        sequence=1,
        previous="",
        time="2026-01-01T00:00:00.000Z",
        author="änn",
        action="push",
        changes=(changed("pricing:score", 1, SCORE, created=True),),
    )
)
MADE = Proposal(
    statement=TEXT,
    signatures=(*ANN.sign(TEXT), *EVE.sign(TEXT)),
    bundles={digest_of(encode(SCORE)): encode(SCORE)},
)
DATA = proposal.write(MADE)


def test_a_file_is_read_as_it_was_written() -> None:
    assert proposal.read(DATA) == MADE
    assert "SECRET" not in DATA.decode()


def test_a_file_has_the_text_and_the_signatures_as_openssh_wants_them() -> None:
    fields = json.loads(DATA)
    assert fields["statement"].encode() == TEXT
    assert [sshsig.dearmor(text) for text in fields["signatures"]] == list(MADE.signatures)


def outcome(team: Team, data: bytes) -> str:
    """Return what becomes of a file: who signed what, or the error, which is one of ours."""
    try:
        considered = consider(team.journal(), proposal.read(data))
    except (Untrusted, Refused, UsageError, Conflict) as error:
        return type(error).__name__
    assert considered.proposal.statement == TEXT, "it is what Ann signed"
    assert considered.proposal.signatures == ANN.sign(TEXT)
    assert considered.proposal.bundles == MADE.bundles
    return "good"


def mutants() -> st.SearchStrategy[bytes]:
    """Return files with some bytes replaced, put in, left out or doubled."""
    places = st.integers(0, len(DATA))
    pieces = st.binary(max_size=8) | st.sampled_from(
        [
            b'"',
            b"\n",
            b" ",
            b"\\u0000",
            b"\\ud800",
            b"[",
            b"{}",
            b"null",
            b"1e999",
            b'"x": 1,',
            DATA,
        ]
    )

    def spliced(cuts: list[tuple[int, int, bytes]]) -> bytes:
        data = DATA
        for start, length, piece in cuts:
            data = data[:start] + piece + data[start + length :]
        return data

    cut = st.tuples(places, st.integers(0, 40), pieces)
    return st.lists(cut, min_size=1, max_size=3).map(spliced) | st.binary(max_size=99).map(
        lambda tail: DATA[:24] + tail
    )


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from scatter.trust import home

    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("config")
        patch.setenv("XDG_CONFIG_HOME", str(folder))
        patch.setattr(home, "MACHINE", folder / "etc")
        yield Team(Files(folder / "scatter"))


@settings(max_examples=400, deadline=None)
@given(data=mutants())
@example(data=b"")
@example(data=DATA + b"\n")
@example(data=DATA.replace(b"\n", b"\r\n"))
@example(data=DATA[:25] + b"[" * 100_000)
@example(data=DATA[:25] + b"1" * 10_000)
def test_a_file_that_was_changed_is_refused_or_says_the_same(bench: Team, data: bytes) -> None:
    assert outcome(bench, DATA) == "good"
    outcome(bench, data)  # has its own assertions


def field_mutants() -> st.SearchStrategy[dict[str, Any]]:
    values = st.none() | st.booleans() | st.integers() | st.text(max_size=9) | st.lists(st.text())
    names = st.sampled_from(["scatter-proposal", "statement", "signatures", "bundles", "more"])
    return st.dictionaries(names, values, min_size=1, max_size=2)


@settings(max_examples=200, deadline=None)
@given(change=field_mutants())
def test_a_file_with_other_values_is_refused(bench: Team, change: dict[str, Any]) -> None:
    fields = json.loads(DATA) | change
    data = json.dumps(fields, ensure_ascii=False, indent=1).encode("utf-8", "replace") + b"\n"
    assert outcome(bench, data) != "good" or data == DATA


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda f: f | {"signatures": f["signatures"] * 2}, "bad-proposal"),
        (lambda f: f | {"signatures": [f["signatures"][0] + "\n"]}, "bad-proposal"),
        (lambda f: f | {"signatures": [f["signatures"][0][:-9]]}, "bad-signature"),
        (lambda f: f | {"signatures": f["signatures"] * 9}, "bad-proposal"),
        (lambda f: f | {"bundles": f["bundles"] * 2}, "bad-proposal"),
        (lambda f: f | {"bundles": ["*"]}, "bad-proposal"),
        (lambda f: f | {"bundles": [1]}, "bad-proposal"),
        (lambda f: f | {"scatter-proposal": 2}, "bad-proposal"),
        (lambda f: f | {"scatter-proposal": True}, "bad-proposal"),
        (lambda f: f | {"more": 1}, "bad-proposal"),
        (lambda f: dict(reversed(list(f.items()))), "bad-proposal"),
    ],
)
def test_there_is_one_file_for_a_proposal(
    change: Callable[[dict[str, Any]], dict[str, Any]], code: str
) -> None:
    data = json.dumps(change(json.loads(DATA)), ensure_ascii=False, indent=1).encode() + b"\n"
    assert reason(lambda: proposal.read(data)) == code


def test_a_file_of_a_later_format_says_so() -> None:
    data = DATA.replace(b'"scatter-proposal": 1', b'"scatter-proposal": 2')
    with pytest.raises(Untrusted, match="expected format 1, found 2"):
        proposal.read(data)


def test_a_file_that_is_too_large_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proposal, "MAX_PROPOSAL_BYTES", len(DATA) - 1)
    monkeypatch.setattr("json.loads", lambda *_: pytest.fail("parsed"))
    assert reason(lambda: proposal.read(DATA)) == "too-big"
    assert reason(lambda: proposal.write(MADE)) == "too-big"


def test_more_signatures_than_anybody_looks_at_are_not_written() -> None:
    crowd = Together(*(Person(f"p{n}") for n in range(17)))
    many = replace(MADE, signatures=crowd.sign(TEXT, namespace=NAMESPACE))
    assert reason(lambda: proposal.write(many)) == "too-big"
