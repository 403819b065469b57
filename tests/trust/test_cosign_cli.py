"""`--propose`, `scatter sign` and `scatter publish`: two people at two machines, and one file."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from shells import Done, Shell
from trust.people import Files

from scatter.bundle import Bundle, Item, Part
from scatter.cli import review
from scatter.trust import home

BOTH = '[[rule]]\nfunctions = ["pricing:*"]\nsigners = ["ann@x.org", "bob@x.org"]\nthreshold = 2\n'


class Desk:
    """One person's machine: a key, whom it trusts, and a terminal."""

    def __init__(self, name: str, folder: Path, shell: Shell) -> None:
        self.name = f"{name}@x.org"
        self.folder = folder
        self._shell = shell
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_CONFIG_HOME", str(folder))
            self.key = home.ensure_key().key
        self.files = Files(folder / "scatter")

    def __call__(self, *arguments: str, answer: str = "") -> Done:
        environment = {"XDG_CONFIG_HOME": str(self.folder), "SCATTER_AUTHOR": self.name}
        return self._shell(*arguments, answer=answer, **environment)

    def line(self) -> str:
        return f"{self.name} {' '.join(self.key.line().split()[:2])}\n"


class Desks:
    """Ann's and Bob's, who both have to sign; Eve's, whom nobody knows."""

    def __init__(self, folder: Path, shell: Shell) -> None:
        self.ann, self.bob, self.eve = (
            Desk(name, folder / name, shell) for name in ("ann", "bob", "eve")
        )
        self.file = shell.folder / "p.json"
        for desk in (self.ann, self.bob, self.eve):
            desk.files.policy(BOTH)
            desk.files.trust(self.ann.line(), self.bob.line())
        self.eve.files.trust(self.ann.line(), self.bob.line(), self.eve.line())

    def release(self, *arguments: str) -> Done:
        """Propose, sign and publish; return what the last said."""
        for desk, words in (
            (self.ann, [*arguments, "--propose", "p.json"]),
            (self.bob, ["sign", "p.json", "-y"]),
            (self.ann, ["publish", "p.json", "--wait", "0"]),
        ):
            done = desk(*words)
            assert done.code == 0, done.err
        return done


@pytest.fixture
def desks(
    tmp_path: Path,
    shell: Shell,
    monkeypatch: pytest.MonkeyPatch,
) -> Desks:
    monkeypatch.setattr(home, "MACHINE", tmp_path / "etc" / "scatter")
    return Desks(tmp_path, shell)


def releases(desk: Desk) -> list[str]:
    """Return what is in the log, the oldest first."""
    found = desk("log", "--json").json("releases")
    return [f"{r['action']} by {r['author']}" for r in reversed(found)]


def test_two_sign_and_the_processes_take_it(desks: Desks) -> None:
    first = desks.ann("push", "-m", "ours")
    assert first.code == 1
    assert "1 more is missing, of bob@x.org." in first.err
    assert "`scatter push --propose FILE`" in first.err

    proposed = desks.ann("push", "-m", "ours", "--propose", "p.json")
    assert (proposed.code, proposed.out.count("was never pushed")) == (0, 2)
    assert f"Proposed in p.json, signed by ann@x.org ({desks.ann.key.fingerprint})." in proposed.err
    assert "    scatter sign p.json\n" in proposed.err
    assert releases(desks.ann) == []

    early = desks.ann("publish", "p.json")
    assert early.code == 1
    assert "`pricing:rank` needs signatures of 2 different signers" in early.err

    no = desks.bob("sign", "p.json", answer="n\n")
    assert (no.code, no.err.splitlines()[-1]) == (1, "Sign it? [y/N]: Nothing was signed.")
    yes = desks.bob("sign", "p.json", answer="y\n")
    assert yes.code == 0, yes.err
    assert "a push proposed by ann@x.org" in yes.err
    assert ": ours\n" in yes.err
    assert "pricing:score: v1, where nothing is live" in yes.out
    assert "\n+    return helper(x)\n" in yes.out
    assert f"Signed by ann@x.org ({desks.ann.key.fingerprint}), bob@x.org (" in yes.err
    assert "    scatter publish p.json\n" in yes.err

    dry = desks.bob("publish", "p.json", "--dry-run")
    assert (dry.code, "Would be release 1: pricing:rank v1" in dry.err) == (0, True)
    assert releases(desks.ann) == []
    done = desks.ann("publish", "p.json")
    assert done.code == 0, done.err
    assert "Release 1: pricing:rank v1, pricing:score v1\n" in done.err
    assert "No process runs under an agent." in done.err
    assert releases(desks.bob) == ["push by ann@x.org"]


def test_what_changes_is_shown_against_what_is_live(desks: Desks, shell: Shell) -> None:
    desks.release("push")
    shell.edit("RATE = 2", "RATE = 3")
    assert desks.ann("push", "--propose", "p.json").code == 0
    shown = desks.bob("sign", "p.json", "--dry-run")
    assert shown.code == 0
    changed = [line for line in shown.out.splitlines() if line[:1] in "+-"]
    assert changed == ["--- pricing:score v1", "+++ pricing:score v2", "-RATE = 2", "+RATE = 3"]
    assert "pricing:rank" not in shown.out
    listed = desks.bob("sign", "p.json", "--json", "--dry-run").json("proposal")
    assert listed["diffs"]["pricing:score"][-1].strip() != ""
    assert [one["principals"] for one in listed["signed_by"]] == [["ann@x.org"]]
    assert len(listed["missing"]) == 1
    signed = desks.bob("sign", "p.json", "--json", "-y").json("proposal")
    assert [one["principals"] for one in signed["signed_by"]] == [["ann@x.org"], ["bob@x.org"]]


def test_every_other_verb_is_proposed_too(desks: Desks, shell: Shell) -> None:
    desks.release("push")
    shell.edit("RATE = 2", "RATE = 3")
    desks.release("push")
    assert "score v1" in desks.release("rollback", "score").err
    assert "score v2" in desks.release("release", "score=2").err
    asked = desks.ann("delete", "score", "--older-than", "2", "--propose", "p.json")
    assert (asked.code, "Would remove 1 version of pricing:score." in asked.err) == (0, True)
    shown = desks.bob("sign", "p.json", "-y")
    assert "pricing:score: v2 stays live; of its versions these go for good: 1" in shown.out
    assert desks.bob("publish", "p.json", "--wait", "0").code == 0
    assert [v["number"] for v in desks.ann("log", "score", "--json").json("versions")] == [2]
    desks.release("delete", "score")
    assert desks.ann("log", "score").code == 1
    desks.release("renew")
    assert releases(desks.bob)[2:] == [
        f"{verb} by ann@x.org" for verb in ("rollback", "release", "delete", "delete", "renew")
    ]


def test_who_released_meanwhile_is_said_and_it_is_proposed_again(desks: Desks) -> None:
    desks.ann("push", "-f", "score", "--propose", "mine.json")
    desks.bob("sign", "mine.json", "-y")
    desks.release("push", "-f", "rank")
    for command in ("sign", "publish"):
        late = desks.bob(command, "mine.json")
        assert late.code == 5
        assert "release 1 (push) by ann@x.org" in late.err
    again = desks.ann("publish", "p.json")
    assert (again.code, "It is published already: it is release 1" in again.err) == (5, True)
    assert releases(desks.ann) == ["push by ann@x.org"]


def test_one_person_signs_once_and_a_stranger_not_at_all(desks: Desks) -> None:
    assert desks.ann("push", "--propose", "p.json").code == 0
    twice = desks.ann("sign", "p.json", "-y")
    assert (twice.code, "You have signed it already" in twice.err) == (2, True)
    stranger = desks.eve("sign", "p.json", "-y")
    assert stranger.code == 0, "whom Eve trusts is up to her"
    bob = desks.bob("sign", "p.json", "-y")
    assert f"A signature is left out: Nobody here trusts the key {desks.eve.key.fingerprint}" in (
        bob.err
    )
    assert desks.eve.key.fingerprint not in bob.err.splitlines()[-3]
    assert desks.ann("publish", "p.json", "--wait", "0").code == 0


def test_copies_are_published_together(desks: Desks) -> None:
    assert desks.ann("push", "--propose", "p.json").code == 0
    copy = desks.file.with_name("copy.json")
    copy.write_bytes(desks.file.read_bytes())
    assert desks.bob("sign", "copy.json", "-y").code == 0
    assert desks.ann("publish", "p.json").code == 1
    assert desks.ann("publish", "p.json", "copy.json", "--wait", "0").code == 0
    assert releases(desks.bob) == ["push by ann@x.org"]


def test_whoever_had_no_key_has_one_with_which_it_is_signed(desks: Desks) -> None:
    assert desks.ann("push", "--propose", "p.json").code == 0
    for file in ("signing_key", "signing_key.pub"):
        (desks.bob.folder / "scatter" / file).unlink()
    done = desks.bob("sign", "p.json", "-y")
    assert done.code == 0, done.err
    assert "Made a key to sign releases with" in done.err
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(desks.bob.folder))
        assert home.ensure_key().key.fingerprint in done.err.rpartition("Signed by")[2]


@pytest.mark.parametrize("command", ["sign", "publish"])
def test_a_file_that_is_something_else_is_refused(
    desks: Desks,
    shell: Shell,
    command: str,
) -> None:
    assert desks.ann(command, "nowhere.json").code == 2
    done = desks.ann(command, "pricing.py")
    assert (done.code, "is no proposal that this version of scatter reads" in done.err) == (1, True)


def test_a_file_that_is_no_proposal_is_not_written_over(desks: Desks, shell: Shell) -> None:
    before = shell.file.read_text()
    done = desks.ann("push", "--propose", "pricing.py")
    assert (done.code, "is no proposal: it is left alone" in done.err) == (2, True)
    assert shell.file.read_text() == before
    both = desks.ann("push", "--propose", "p.json", "--dry-run")
    assert (both.code, desks.file.exists()) == (2, False)
    nowhere = desks.ann("push", "--propose", "nowhere/p.json")
    assert (nowhere.code, "cannot be written" in nowhere.err) == (2, True)
    for _ in range(2):
        assert desks.ann("push", "--propose", "p.json").code == 0
    desks.file.chmod(0o640)
    assert desks.bob("sign", "p.json", "-y").code == 0
    assert stat.S_IMODE(desks.file.stat().st_mode) == 0o640


def test_a_proposal_holds_no_secret(desks: Desks) -> None:
    assert desks.ann("push", "--propose", "p.json").code == 0
    private = (desks.ann.folder / "scatter" / "signing_key").read_text()
    text = desks.file.read_text()
    assert all(line not in text for line in private.splitlines()[1:-1])
    assert set(json.loads(text)) == {"scatter-proposal", "statement", "signatures", "bundles"}


def test_without_trust_there_is_nothing_to_sign_together(desks: Desks, shell: Shell) -> None:
    done = shell("push", "--propose", "p.json", SCATTER_TRUST="off")
    assert (done.code, "nothing is signed here" in done.err) == (2, True)
    assert not desks.file.exists()


def test_what_travels_from_another_module_is_shown(desks: Desks, shell: Shell) -> None:
    (shell.folder / "util.py").write_text("def clean(x):\n    return x\n")
    shell.edit("import scatter\n", "import scatter\nfrom util import clean\n")
    shell.edit("return helper(x)", "return helper(clean(x))")
    desks.release("push")
    (shell.folder / "util.py").write_text("def clean(x):\n    return steal(x)\n")
    assert desks.ann("push", "--no-check", "--propose", "p.json").code == 0
    assert "+    return steal(x)\n" in desks.bob("sign", "p.json", "--dry-run").out


# what is shown ----------------------------------------------------------------------------

ITEM = Item(kind="function", name="helper", source="def helper(): pass", uses=("a",))
WHOLE = Bundle(
    function="m:f",
    qualname="f",
    source="def f(): pass",
    skip=1,
    uses=("helper",),
    class_names=("K",),
    members=("m",),
    unknown=("u",),
    parts=(Part(module="m", future=("annotations",), items=(ITEM,)), Part(module="n")),
    python="cpython-311",
    pickle=b"p",
    allow=("kind-changed",),
    cells=(Item(kind="captured", name="cell", pickle=b"c"),),
)
OTHER = Item(kind="captured", name="cell", pickle=b"d")


def with_part(**fields: object) -> Bundle:
    own, other = WHOLE.parts
    return replace(WHOLE, parts=(own, replace(other, **fields)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "other",
    [
        replace(WHOLE, function="m:g"),
        replace(WHOLE, qualname="g"),
        replace(WHOLE, source="def f(): evil"),
        replace(WHOLE, skip=2),
        replace(WHOLE, uses=("x",)),
        replace(WHOLE, class_names=("x",)),
        replace(WHOLE, members=("x",)),
        replace(WHOLE, unknown=("x",)),
        replace(WHOLE, python="cpython-312"),
        replace(WHOLE, pickle=b"x"),
        replace(WHOLE, allow=()),
        replace(WHOLE, cells=(OTHER,)),
        with_part(module="x"),
        with_part(future=("x",)),
        with_part(is_package=True),
        with_part(items=(ITEM,)),
        with_part(items=(replace(ITEM, uses=("b",)),)),
        with_part(items=(replace(ITEM, kind="class"),)),
        with_part(items=(replace(ITEM, name="x"),)),
        with_part(items=(replace(ITEM, source="def helper(): evil"),)),
        with_part(items=(OTHER,)),
    ],
)
def test_bundles_that_differ_differ_where_they_are_shown(other: Bundle) -> None:
    assert review.lines_of(other) != review.lines_of(WHOLE)


def test_every_field_of_a_bundle_is_shown() -> None:
    shown = "\n".join(review.lines_of(WHOLE))
    for name in ("K", "members of its object: m", "u", "cpython-311", "kind-changed", "cell was"):
        assert name in shown


@pytest.mark.parametrize("text", ["\x1b[2K", "\r", "\u202e", "\x00", "\x0c", "\u2028"])
def test_nothing_shown_steers_the_terminal_or_hides_a_line(text: str) -> None:
    shown = review.visible(f"a{text}b")
    assert shown.isprintable()
    assert shown == f"a{text.encode('unicode_escape').decode()}b"
