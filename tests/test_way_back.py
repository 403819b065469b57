"""The way back to git: `diff` of any two sides, `drift`, `patch`, `undo`, `blame`."""

from __future__ import annotations

import subprocess
import textwrap
from pathlib import Path

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shells import Done, Shell

from scatter.workspace import Live, Patch, Workspace, make_patch

HELPERS = "from math import floor, sqrt\n\nSCALE = 10\n\n\ndef scale(x):\n    return x * SCALE\n"


def git(folder: Path, *arguments: str, data: bytes | None = None) -> str:
    done = subprocess.run(
        ["git", "-c", "user.name=ann", "-c", "user.email=ann@example.org", *arguments],
        cwd=folder,
        check=True,
        capture_output=True,
        input=data,
    )
    return done.stdout.decode()


@pytest.fixture
def shop(shell: Shell) -> Shell:
    """A project in git whose functions are live as they are committed."""
    git(shell.folder, "init", "-q")
    git(shell.folder, "add", "-A")
    git(shell.folder, "commit", "-qm", "first")
    assert shell("push", "--wait", "0").code == 0
    return shell


def as_bob(shop: Shell, *arguments: str) -> Done:
    return shop(*arguments, SCATTER_AUTHOR="bob@example.org")


# diff -------------------------------------------------------------------------------------


def test_the_working_tree_is_compared_with_what_is_live(shop: Shell) -> None:
    assert shop("diff") == Done(0, "", "No difference.\n")
    shop.edit("RATE = 2", "RATE = 3")

    assert shop("diff").out.splitlines()[:4] == [
        "--- pricing:score v1 (live)",
        "+++ pricing:score working tree",
        "@@ -1,4 +1,4 @@",
        "-RATE = 2",
    ]
    assert shop("diff", "score", "live").out == shop("diff").out
    assert "-RATE = 3\n+RATE = 2\n" in shop("diff", "score", "tree", "live").out


def test_a_git_revision_is_compared_with_versions_and_the_working_tree(shop: Shell) -> None:
    shop.edit("RATE = 2", "RATE = 3")
    shop("push", "--wait", "0")
    shop.edit("RATE = 3", "RATE = 4")
    head = git(shop.folder, "rev-parse", "HEAD").strip()

    shown = shop("diff", "score", "HEAD").out
    assert shown.startswith(f"--- pricing:score HEAD {head[:8]}\n+++ pricing:score v2 (live)\n")
    assert "-RATE = 2\n+RATE = 3\n" in shown
    assert shop("diff", "score", "HEAD", "1") == Done(0, "", "No difference.\n")
    assert "-RATE = 2\n+RATE = 4\n" in shop("diff", "--from", head[:10], "--to", "tree").out


def test_with_the_server_away_files_and_git_can_be_compared(shop: Shell) -> None:
    shop.edit("RATE = 2", "RATE = 3")
    done = shop("diff", "score", "HEAD", "tree", SCATTER_REDIS_URL="redis://127.0.0.1:1")

    assert (done.code, done.err) == (0, "")
    assert "-RATE = 2\n+RATE = 3\n" in done.out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("score", "nowhere"), 2, "found 'nowhere', which is none here"),
        (("score", "--from", "1"), 2, "--from and --to are for all functions"),
        (("score", "9"), 1, "`pricing:score` has no version 9"),
        (("score", "0"), 1, "Version 0 of `pricing:score` is the deployed code"),
        (("scor", "tree"), 1, "Function `scor` doesn't exist"),
        (("score", "--upload-pack=x", "tree"), 2, "No such option"),
    ],
)
def test_what_cannot_be_compared_is_said(
    shop: Shell, arguments: tuple[str, ...], code: int, said: str
) -> None:
    done = shop("diff", *arguments)

    assert (done.code, done.out) == (code, "")
    assert said in done.err


def test_counts_stand_for_lines(shop: Shell) -> None:
    shop.edit("return x * RATE", "y = x\n    return y * RATE")
    shop.edit("sorted(xs, key=score)", "sorted(xs, key=score, reverse=True)")

    assert shop("diff", "--stat").out == (
        " pricing:rank  | 2 +-\n"
        " pricing:score | 3 ++-\n"
        " 2 functions differ, 3 lines (+), 2 lines (-)\n"
    )
    rows = shop("diff", "--json").json("diffs")
    assert [(row["function"], row["added"], row["removed"]) for row in rows] == [
        ("pricing:rank", 1, 1),
        ("pricing:score", 2, 1),
    ]


def test_a_wide_terminal_shows_both_sides_beside_each_other(shop: Shell) -> None:
    shop.edit("RATE = 2", "RATE = 3  # " + "x" * 80)
    plain = {"NO_COLOR": "1"}
    lines = shop.terminal("diff", columns=140, **plain).out.splitlines()

    assert lines[1].split("│")[1].strip() == "working tree"
    assert lines[2].split("│")[0].strip() == "RATE = 2"
    assert max(map(len, lines)) <= 140
    assert shop.terminal("diff", columns=139, **plain).out.startswith("--- pricing:score")
    assert shop.terminal("diff", "-U", columns=140, **plain).out.startswith("--- pricing:score")


# drift ------------------------------------------------------------------------------------


def test_what_is_live_and_not_committed_is_drift(shop: Shell) -> None:
    assert shop("drift") == Done(0, "", "No drift: 2 live functions as in HEAD.\n")
    shop.edit("RATE = 2", "RATE = 3")
    as_bob(shop, "push", "--force", "--wait", "0")
    done = shop("drift")

    assert done.code == 1
    assert done.out.splitlines()[1].split()[:3] == ["pricing:score", "v2", "bob@example.org"]
    assert done.out.splitlines()[1].endswith("differs")
    git(shop.folder, "commit", "-qam", "second")
    assert shop("drift").code == 0
    assert shop("drift", "--revision", "HEAD~1").code == 1
    assert shop("drift", "rank", "--revision", "HEAD~1").code == 0


def test_what_git_does_not_have_at_all_is_drift_too(shop: Shell) -> None:
    more = "\n\n@scatter.track\ndef more(x):\n    return x\n"
    shop.file.write_text(shop.file.read_text() + more)
    shop("push", "--wait", "0")

    shown = shop("drift", "--json")
    assert shown.code == 1
    assert '"in_commit": false' in shown.out


def test_of_what_the_store_has_lost_nothing_is_claimed(
    shop: Shell, redis_url: str, namespace: str
) -> None:
    with redis.Redis.from_url(redis_url) as server:
        assert server.delete(*server.keys(f"scatter:{{{namespace}}}:bundle:*"))
    why = "the store has lost its live version"

    assert (shop("drift").code, shop("patch").code) == (4, 4)
    assert f"cannot be compared: pricing:rank\n  {why}" in shop("drift").out
    assert f"Not in the patch: pricing:rank: {why}" in shop("patch").err
    assert f"Not compared: pricing:rank in v1 (live): {why}" in shop("diff").err
    assert shop("diff").out == ""


def test_outside_of_a_working_tree_drift_is_a_usage_error(shell: Shell) -> None:
    shell("push", "--wait", "0")
    done = shell("drift")

    assert (done.code, done.out) == (2, "")
    assert "Expected a git working tree that has HEAD" in done.err


# patch ------------------------------------------------------------------------------------


def bring(shop: Shell, *names: str) -> Done:
    """Apply what `patch` writes, as people would."""
    done = shop("patch", *names)
    if done.out:
        git(shop.folder, "apply", "--check", data=done.out.encode())
        git(shop.folder, "apply", data=done.out.encode())
    return done


def test_live_code_and_its_helpers_come_into_the_working_tree(shop: Shell) -> None:
    shop.edit("return x * RATE", "return clean(x) * RATE")
    shop.edit(
        "RATE = 2\n", "from math import floor\n\nRATE = 3\n\n\ndef clean(x):\n    return floor(x)\n"
    )
    live = shop.file.read_text()
    shop("push", "--wait", "0", "-m", "in a hurry")
    git(shop.folder, "checkout", "-q", ".")
    assert "clean" not in shop.file.read_text()

    done = bring(shop)

    assert (done.code, done.err) == (0, "pricing:score in pricing.py\n")
    compile(shop.file.read_text(), "pricing.py", "exec")
    assert shop("diff") == Done(0, "", "No difference.\n")
    assert shop("push", "--wait", "0").err == "Nothing to push: 2 functions are live as they are.\n"
    assert sorted(filter(None, shop.file.read_text().split("\n"))) == sorted(
        filter(None, live.split("\n"))
    )
    assert bring(shop).err == "Nothing to bring: the files hold what is live.\n"


def test_helpers_of_other_modules_come_into_their_files(shop: Shell) -> None:
    (shop.folder / "helpers.py").write_text(HELPERS)
    shop.edit("import scatter\n", "import scatter\n\nfrom helpers import scale\n")
    shop.edit("return helper(x)", "return scale(helper(x))")
    shop("push", "--wait", "0")
    git(shop.folder, "add", "-A")
    git(shop.folder, "commit", "-qm", "helpers")
    changed = HELPERS.replace("x * SCALE", "floor(sqrt(x)) * SCALE").replace("10", "20")
    (shop.folder / "helpers.py").write_text(changed)
    shop("push", "--wait", "0")
    git(shop.folder, "checkout", "-q", ".")

    done = bring(shop)

    assert (done.code, done.err) == (0, "pricing:score in helpers.py\n")
    assert (shop.folder / "helpers.py").read_text() == changed
    assert shop("drift").code == 1  # until it is committed
    git(shop.folder, "commit", "-qam", "back")
    assert shop("drift").code == 0


def test_a_method_comes_back_and_so_do_line_ends_and_encoding(shop: Shell) -> None:
    text = textwrap.dedent(
        """\
        # -*- coding: latin-1 -*-
        import scatter


        class Model:
            # Größe
            @scatter.track
            def predict(self, x):
                return x

            def other(self):
                return 1
        """
    )
    file = shop.folder / "model.py"
    file.write_bytes(text.replace("\n", "\r\n").encode("latin-1").rstrip())
    git(shop.folder, "add", "-A")
    git(shop.folder, "-c", "core.autocrlf=false", "commit", "-qm", "model")
    before = file.read_bytes()
    file.write_bytes(before.replace(b"return x", b"return x + 1"))
    shop("push", "--wait", "0")
    file.write_bytes(before)

    assert shop("patch", "-o", "model.patch").err == "model:Model.predict in model.py\n"
    git(shop.folder, "apply", "model.patch")
    assert file.read_bytes() == before.replace(b"return x", b"return x + 1")


def test_only_named_functions_come(shop: Shell) -> None:
    shop.edit("RATE = 2", "RATE = 3")
    shop.edit("key=score", "key=score, reverse=True")
    shop("push", "--wait", "0")
    git(shop.folder, "checkout", "-q", ".")

    bring(shop, "rank")

    assert "reverse=True" in shop.file.read_text()
    assert "RATE = 2" in shop.file.read_text()


def test_a_helper_that_is_live_in_two_forms_is_said_and_the_newest_wins(shop: Shell) -> None:
    shop.edit("return sorted(xs, key=score)", "return helper(len(xs))")
    shop("push", "--wait", "0")
    shop.edit("return x * RATE", "return x * RATE + 1")
    shop("push", "-f", "score", "--wait", "0")  # `rank` goes on with the old helper
    git(shop.folder, "checkout", "-q", ".")

    done = bring(shop)

    assert done.code == 4
    assert "Not in the patch: pricing:rank: `helper` is live in another form with" in done.err
    assert "return x * RATE + 1" in shop.file.read_text()


def test_what_no_file_says_is_left_and_said(shop: Shell) -> None:
    shop.file.unlink()
    (shop.folder / "other.py").write_text("import scatter\n\n\n@scatter.track\ndef f(): ...\n")
    done = shop("patch")

    assert (done.code, done.out) == (4, "")
    assert "pricing:score: there is no file for it here (pricing.py)" in done.err


def test_files_of_another_working_tree_are_patched_from_its_top(
    shop: Shell, tmp_path_factory: pytest.TempPathFactory
) -> None:
    shop.edit("RATE = 2", "RATE = 3")
    shop("push", "--wait", "0")
    git(shop.folder, "checkout", "-q", ".")
    there, shop.folder = shop.folder, tmp_path_factory.mktemp("elsewhere")
    git(shop.folder, "init", "-q")

    assert shop("patch", SCATTER_PATHS=str(there)).out.startswith("--- a/pricing.py\n")


def test_a_patch_goes_into_a_file_when_that_is_asked_for(shop: Shell) -> None:
    shop.edit("RATE = 2", "RATE = 3")
    shop("push", "--wait", "0")
    git(shop.folder, "checkout", "-q", ".")
    done = shop("patch", "-o", "score.patch")

    assert (done.code, done.out) == (0, "")
    git(shop.folder, "apply", "score.patch")
    assert "RATE = 3" in shop.file.read_text()


NAMES = ["alpha", "beta", "gamma", "delta"]


@st.composite
def modules(draw: st.DrawFn) -> tuple[str, str]:
    """Return a module, and what somebody made of it."""

    def body(names: list[str], tracked: str) -> str:
        parts = ["import scatter"]
        for name in names:
            number = draw(st.integers(0, 2))
            used = draw(st.sampled_from([*names[: names.index(name)], "x"]))
            value = f"{used}(x)" if used != "x" else "x"
            mark = "@scatter.track\n" if name == tracked else ""
            parts.append(f"{mark}def {name}(x):\n    return {value} + {number}")
        return "\n\n\n".join(parts) + "\n"

    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True))
    tracked = names[-1]
    fewer = [n for n in names if n == tracked or draw(st.booleans())]
    return body(fewer, tracked), body(names, tracked)


@given(modules())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_was_edited_comes_back(pair: tuple[str, str]) -> None:
    import tempfile

    before, after = pair
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder).resolve() / "app.py"
        (file.parent / ".git").mkdir()
        file.write_text(after)
        live = {
            name: Live(bundle=built.bundle, file="app.py")
            for name, built in _loaded(file).functions.items()
        }
        file.write_text(before)
        workspace = _loaded(file)
        patch = make_patch(workspace, live, list(live), top=file.parent)
        assert not patch.left
        if patch.text:
            subprocess.run(["git", "apply"], cwd=folder, input=patch.text, check=True)
        again = _loaded(file)
        for name, one in live.items():
            assert again.is_same(again.functions[name].bundle, one.bundle)


def _loaded(file: Path) -> Workspace:
    workspace = Workspace([file])
    assert not workspace.load().problems
    return workspace


HEAD = "import scatter\n"
SCORE = "\n\n@scatter.track\ndef score(x):\n    return a(x)\n"
GUARDED = f"{HEAD}if TYPE_CHECKING:\n    from math import ceil as a\n"


@pytest.mark.parametrize(
    ("before", "after", "kept"),
    [
        (
            f"{HEAD}from math import ceil as a, floor\n\nLOW = floor(1)\n{SCORE}",
            f"{HEAD}\n\ndef a(x):\n    return 1\n{SCORE}",
            "from math import floor\n",
        ),
        (
            f"{HEAD}\nONE = 1\n\f\ndef a(x):\n    return 1\n{SCORE}",
            f"{HEAD}\n\ndef a(x):\n    return 2\n{SCORE}",
            "ONE = 1\n\f\ndef a(x):\n    return 2\n",
        ),
        (
            f"{GUARDED}\n{SCORE}",
            f"{HEAD}from math import floor as a\n\n{SCORE}",
            f"from math import floor as a\n{GUARDED.removeprefix(HEAD)}",
        ),
    ],
)
def test_what_stands_beside_a_definition_stays(
    tmp_path: Path, before: str, after: str, kept: str
) -> None:
    patch = patched(tmp_path, before.encode(), after)

    assert not patch.left
    assert kept in (tmp_path / "app.py").read_text()


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        (
            f"# coding: latin-1\n{HEAD}\n\ndef a(x):\n    return 1\n{SCORE}",
            "'€'",
            "which has no '€'",
        ),
        (f"{HEAD}import math as a; import json\n{SCORE}", "2", "depends on something, and differs"),
    ],
)
def test_what_a_file_cannot_hold_is_left_and_said(
    tmp_path: Path, before: str, after: str, why: str
) -> None:
    patch = patched(tmp_path, before.encode(), f"{HEAD}\n\ndef a(x):\n    return {after}\n{SCORE}")

    assert why in patch.left["app:score"]
    assert (tmp_path / "app.py").read_bytes() == before.encode()


def patched(folder: Path, before: bytes, after: str) -> Patch:
    """Return the patch from a file to what is live, after it was applied."""
    file = folder / "app.py"
    (folder / ".git").mkdir()
    file.write_text(after)
    built = _loaded(file).functions
    live = {name: Live(bundle=one.bundle, file="app.py") for name, one in built.items()}
    file.write_bytes(before)
    patch = make_patch(_loaded(file), live, list(live), top=folder)
    if patch.text:
        subprocess.run(["git", "apply"], cwd=folder, input=patch.text, check=True)
    return patch


# undo -------------------------------------------------------------------------------------


def test_undo_takes_back_my_last_release_and_then_the_one_before(shop: Shell) -> None:
    shop.edit("RATE = 2", "RATE = 3")
    shop("push", "--wait", "0")
    shop.edit("key=score", "key=score, reverse=True")
    as_bob(shop, "push", "--force", "--wait", "0")

    assert shop("undo", "--wait", "0").err == "Release 4: pricing:score v1\n"
    assert "undo of release 2" in shop("log").out
    assert as_bob(shop, "undo", "--wait", "0").err == "Release 5: pricing:rank v1\n"
    assert shop("undo", "--wait", "0").err == (
        "Release 6: pricing:rank deployed, pricing:score deployed\n"
    )
    done = shop("undo", "--wait", "0")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("Error: Nothing that ann@example.org has released is live.")


def test_undo_does_not_go_over_what_somebody_else_has_released_since(shop: Shell) -> None:
    shop.edit("RATE = 2", "RATE = 3")
    shop.edit("key=score", "key=score, reverse=True")
    shop("push", "--wait", "0")
    shop.edit("RATE = 3", "RATE = 4")
    assert as_bob(shop, "push", "--force", "--wait", "0").code == 0

    done = shop("undo", "--wait", "0")
    assert done.code == 5
    assert "Release 2 changed `pricing:score` too, which bob@example.org has released" in done.err
    assert shop("undo", "--force", "--wait", "0").err == "Release 4: pricing:rank v1\n"


def test_a_dry_undo_changes_nothing(shop: Shell) -> None:
    assert shop("undo", "--dry-run").err == (
        "Would be release 2: pricing:rank deployed, pricing:score deployed\n"
    )
    assert len(shop("log", "--json").json("releases")) == 1


# blame ------------------------------------------------------------------------------------


def test_each_line_has_the_version_and_the_author_that_brought_it(shop: Shell) -> None:
    shop.edit("RATE = 2", "RATE = 3")
    as_bob(shop, "push", "--force", "--wait", "0")
    shop.edit("return helper(x)", "y = helper(x)\n    return y")
    shop("push", "--force", "--wait", "0")

    lines = shop("blame", "score", "--json").json("lines")
    assert [(row["text"], row["version"], row["author"]) for row in lines] == [
        ("RATE = 3", 2, "bob@example.org"),
        ("", 1, "ann@example.org"),
        ("def helper(x):", 1, "ann@example.org"),
        ("    return x * RATE", 1, "ann@example.org"),
        ("", 1, "ann@example.org"),
        ("@scatter.track", 1, "ann@example.org"),
        ("def score(x):", 1, "ann@example.org"),
        ("    y = helper(x)", 3, "ann@example.org"),
        ("    return y", 3, "ann@example.org"),
    ]
    assert shop("blame", "score", "-v", "1", "--json").json("lines")[0]["version"] == 1
    assert shop("blame", "score").out.splitlines()[0].startswith("v2  bob@example.org  ")


def test_a_version_made_from_an_older_one_is_followed_to_that(shop: Shell) -> None:
    shop.edit("RATE = 2", "RATE = 3")
    shop("push", "--wait", "0")
    shop("rollback", "score", "--wait", "0")
    shop.edit("RATE = 3", "RATE = 2")
    shop.edit("return helper(x)", "return helper(x) + 1")
    shop("push", "--wait", "0")

    lines = shop("blame", "score", "--json").json("lines")
    assert [row["version"] for row in lines] == [1, 1, 1, 1, 1, 1, 1, 3]
