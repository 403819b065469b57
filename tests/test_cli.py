"""The command line: what people type, what they see, and what a script can rely on.

Most commands run inside the test's process, through `scatter.cli.main`; signals, pipes, terminals,
imports and the environment are tried on `python -m scatter` in a process of its own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from shells import PRICING, Done, Shell, Watch, Worker, finish, live, read_until, tip
from support import wait_until

from scatter._version import __version__
from scatter.cli.app import cli
from scatter.cli.output import ago, number_of, short
from scatter.config import DEFAULT_NAMESPACE, DEFAULT_URL, SETTINGS
from scatter.model import ProcessReport, Refusal
from scatter.releases import Releases
from scatter.reports import read_reports, write_report

COMMANDS = cli.list_commands(click.Context(cli))
NOBODY = "redis://127.0.0.1:1"  # a port that only root could listen on


# push -------------------------------------------------------------------------------------


def test_push_releases_what_differs_from_what_is_live(shell: Shell, releases: Releases) -> None:
    first = shell("push", "-m", "first")

    assert (first.code, first.out) == (0, "")
    assert re.fullmatch(
        r"Pushed pricing:rank v1 \(\d+ B\), pricing:score v1 \(\d+ B\)\n"
        r"No process runs under an agent\.\n",
        first.err,
    )
    shell.edit("RATE = 2", "RATE = 3")
    second = shell("push", "pricing.py")
    assert re.match(r"Pushed pricing:score v2 \(\d+ B\)\n", second.err)
    assert live(releases) == {"pricing:rank": 1, "pricing:score": 2}
    assert [r.message for r in releases.journal.releases()] == ["", "first"]
    assert {r.author for r in releases.journal.releases()} == {"ann@example.org"}


def test_push_of_what_is_live_already_releases_nothing(pushed: Shell, releases: Releases) -> None:
    done = pushed("push")

    assert (done.code, done.out) == (0, "")
    assert done.err == "Nothing to push: 2 functions are live as they are.\n"
    assert tip(releases) == 2


def test_push_takes_single_functions_by_their_short_names(shell: Shell, releases: Releases) -> None:
    assert shell("push", "-f", "score").code == 0

    assert live(releases) == {"pricing:score": 1}


def test_a_pushed_function_brings_the_tracked_functions_that_it_calls(
    shell: Shell, releases: Releases
) -> None:
    assert shell("push", "-f", "rank").code == 0

    assert live(releases) == {"pricing:rank": 1, "pricing:score": 1}


def test_push_of_a_function_that_no_file_has_suggests_another(
    shell: Shell, releases: Releases
) -> None:
    done = shell("push", "-f", "scoer")

    assert (done.code, done.out) == (1, "")
    assert done.err == "Error: Function `scoer` doesn't exist\nDid you mean `pricing:score`?\n"
    assert tip(releases) == 0


def test_a_dry_push_says_what_it_would_push_and_changes_nothing(
    shell: Shell, releases: Releases
) -> None:
    done = shell("push", "--dry-run")

    assert done.code == 0
    assert done.out == (
        "pricing:rank  pricing.py:15  was never pushed\n"
        "  changed  rank (pricing.py:15) (new)\n"
        "  newest   pricing:score  (tracked: versions of their own)\n"
        "pricing:score  pricing.py:10  was never pushed\n"
        "  changed  score (pricing.py:10) (new)\n"
        "  travels  RATE (pricing.py:3), helper (pricing.py:6)\n"
    )
    assert re.fullmatch(
        r"Would push pricing:rank v1 \(\d+ B\), pricing:score v1 \(\d+ B\)\n", done.err
    )
    assert tip(releases) == 0
    assert releases.journal.store.link.run(
        [("KEYS", f"*{{{releases.journal.store.namespace}}}*")]
    ) == [[]]


def test_a_push_over_a_colleagues_version_is_a_conflict(pushed: Shell, releases: Releases) -> None:
    pushed.edit("RATE = 3", "RATE = 4")

    done = pushed("push", SCATTER_AUTHOR="bob@example.org")

    assert (done.code, done.out) == (5, "")
    assert re.fullmatch(
        r"Error: `pricing:score` version 2 was released by ann@example\.org at \S+; you have not "
        r"seen it\. See `scatter diff pricing:score`, then pull it, or push with force\.\n",
        done.err,
    )
    assert tip(releases) == 2


def test_a_dry_push_finds_the_conflict_too(pushed: Shell) -> None:
    pushed.edit("RATE = 3", "RATE = 4")

    assert pushed("push", "--dry-run", SCATTER_AUTHOR="bob@example.org").code == 5


def test_a_forced_push_goes_over_a_colleagues_version(pushed: Shell, releases: Releases) -> None:
    pushed.edit("RATE = 3", "RATE = 4")

    assert pushed("push", "--force", SCATTER_AUTHOR="bob@example.org").code == 0
    assert live(releases)["pricing:score"] == 3
    assert releases.find("score").author == "bob@example.org"


def test_a_file_with_a_syntax_error_stops_the_push_of_everything(
    shell: Shell, releases: Releases
) -> None:
    (shell.folder / "rates.py").write_text("import scatter\n\n@scatter.track\ndef rate(:\n")

    done = shell("push")

    assert (done.code, done.out) == (2, "")
    assert "rates.py:4:10: invalid syntax" in done.err
    assert "    def rate(:\n             ^\n" in done.err
    assert done.err.endswith("Error: Nothing was pushed: mend the files named above.\n")
    assert tip(releases) == 0


def test_a_directory_without_tracked_functions_says_how_to_get_one(shell: Shell) -> None:
    (shell.folder / "empty").mkdir()

    done = shell("push", "empty")

    assert (done.code, done.out) == (2, "")
    assert done.err == (
        "Error: No tracked function in `empty`. Put @scatter.track above a `def`, or name modules "
        "with --track.\n"
    )


@pytest.mark.parametrize("command", ["push", "watch"])
def test_a_path_that_does_not_exist_is_named(shell: Shell, command: str) -> None:
    done = shell(command, "srcc")

    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"Usage: scatter {command} [OPTIONS] [PATHS]...\n") or (
        f" {command} [OPTIONS] [PATHS]...\n" in done.err
    )
    assert "Path 'srcc' does not exist." in done.err


# looking ----------------------------------------------------------------------------------


def test_list_shows_functions_and_their_live_versions(pushed: Shell) -> None:
    done = pushed("list")

    assert (done.code, done.err) == (0, "")
    header, rank, score = done.out.splitlines()
    assert header.split() == ["FUNCTION", "LIVE", "NEWEST", "BY", "WHEN"]
    assert re.fullmatch(r"pricing:rank +v1 +1 +ann@example\.org +\d+ s ago", rank)
    assert re.fullmatch(r"pricing:score +v2 +2 +ann@example\.org +\d+ s ago", score)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("list", "No functions yet. Push some: `scatter watch PATH` or `scatter push PATH`."),
        ("log", "The log is empty: nothing was released yet."),
        ("status", "No functions and no processes yet. Start with `scatter demo`."),
    ],
)
def test_an_empty_namespace_says_how_to_go_on(shell: Shell, command: str, message: str) -> None:
    assert shell(command) == Done(0, "", f"{message}\n")


def test_log_shows_the_releases_newest_first(pushed: Shell) -> None:
    pushed("rollback", "score", "-m", "too dear", "--wait", "0")

    done = pushed("log")

    assert (done.code, done.err) == (0, "")
    header, *rows = done.out.splitlines()
    assert header.split() == ["RELEASE", "ACTION", "WHAT", "BY", "WHEN", "WHY"]
    assert [row.split()[:2] for row in rows] == [["3", "rollback"], ["2", "push"], ["1", "push"]]
    assert rows[0].endswith("too dear")
    assert "pricing:rank v1, pricing:score v1" in rows[2]
    assert len(pushed("log", "--limit", "1").out.splitlines()) == 2


@pytest.mark.parametrize("limit", ["0", "-3"])
def test_a_limit_that_shows_nothing_is_refused(pushed: Shell, limit: str) -> None:
    done = pushed("log", "--limit", limit)

    assert done.code == 2, done.err
    assert "limit" in done.err


def test_log_of_a_function_shows_its_versions_and_marks_the_live_one(pushed: Shell) -> None:
    done = pushed("log", "score")

    assert (done.code, done.err) == (0, "")
    header, second, first = done.out.splitlines()
    assert header.split() == ["VERSION", "BY", "WHEN", "SIZE", "BUNDLE", "WHY"]
    assert re.fullmatch(r"\* v2 +ann@example\.org .* \d+ B +[0-9a-f]{8} +dearer", second)
    assert re.fullmatch(r"  v1 +ann@example\.org .* \d+ B +[0-9a-f]{8} +first", first)


def test_show_prints_the_source_and_what_travels_with_it(pushed: Shell) -> None:
    done = pushed("show", "score")

    assert done.code == 0
    assert done.out == (
        "RATE = 3\n\ndef helper(x):\n    return x * RATE\n\n"
        "@scatter.track\ndef score(x):\n    return helper(x)\n"
    )
    assert re.fullmatch(
        r"pricing:score v2 \(live\), \d+ B, by ann@example\.org \d+ s ago: dearer\n", done.err
    )
    assert pushed("show", "score", "-v", "1").out == done.out.replace("3", "2")
    assert "# calls tracked: pricing:score\n" in pushed("show", "rank").out


def test_show_of_a_version_that_does_not_exist_says_which_is_the_newest(pushed: Shell) -> None:
    assert pushed("show", "score", "-v", "9") == Done(
        1,
        "",
        "Error: `pricing:score` has no version 9 (the newest is 2). See `scatter log "
        "pricing:score`.\n",
    )


def test_the_deployed_code_cannot_be_shown_and_the_message_is_true(pushed: Shell) -> None:
    done = pushed("show", "score", "-v", "0")

    assert (done.code, done.out) == (1, "")
    assert "no version of it is live" not in done.err, "version 2 is live"


def test_diff_shows_what_the_live_version_changed(pushed: Shell) -> None:
    done = pushed("diff", "score")

    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[:5] == [
        "--- pricing:score v1",
        "+++ pricing:score v2 (live)",
        "@@ -1,4 +1,4 @@",
        "-RATE = 2",
        "+RATE = 3",
    ]


def test_diff_compares_any_two_versions(pushed: Shell) -> None:
    pushed.edit("RATE = 3", "RATE = 4")
    pushed("push", "--wait", "0")

    assert "-RATE = 2\n+RATE = 4\n" in pushed("diff", "score", "1").out
    assert "-RATE = 3\n+RATE = 2\n" in pushed("diff", "score", "2", "1").out
    assert pushed("diff", "score", "2", "2") == Done(0, "", "No difference.\n")


def test_diff_of_a_first_version_is_against_nothing(pushed: Shell) -> None:
    done = pushed("diff", "rank")

    assert done.code == 0
    assert done.out.startswith("--- /dev/null\n+++ pricing:rank v1 (live)\n")


def test_names_are_looked_up_by_their_short_form_and_ambiguity_lists_the_candidates(
    pushed: Shell,
) -> None:
    (pushed.folder / "other.py").write_text("import scatter\n\n@scatter.track\ndef score(): ...\n")
    pushed("push", "--wait", "0")

    assert pushed("show", "score") == Done(
        1,
        "",
        "Error: `score` could be any of: other:score, pricing:score. Use the full name.\n",
    )
    assert pushed("show", "pricing:score").code == 0


@pytest.mark.parametrize("command", ["show", "diff", "log", "rollback", "delete"])
def test_a_mistyped_function_is_answered_with_the_closest_ones(
    pushed: Shell, releases: Releases, command: str
) -> None:
    done = pushed(command, "scroe")

    assert done == Done(
        1, "", "Error: Function `scroe` doesn't exist\nDid you mean `pricing:score`?\n"
    )
    assert tip(releases) == 2


# release, rollback, delete ----------------------------------------------------------------


def test_release_makes_versions_live_everywhere_in_one_release(
    pushed: Shell, releases: Releases
) -> None:
    done = pushed("release", "score=1", "rank=v0", "-m", "back")

    assert (done.code, done.out) == (0, "")
    assert done.err == (
        "Release 3: pricing:rank deployed, pricing:score v1\nNo process runs under an agent.\n"
    )
    assert live(releases) == {"pricing:rank": 0, "pricing:score": 1}


def test_a_release_of_what_is_live_changes_nothing(pushed: Shell, releases: Releases) -> None:
    assert pushed("release", "score=2") == Done(0, "", "Nothing changes: it is live already.\n")
    assert tip(releases) == 2


@pytest.mark.parametrize("text", ["score", "score=", "score=new", "=1", "score=-1"])
def test_a_version_that_cannot_be_read_is_a_usage_error(
    pushed: Shell, releases: Releases, text: str
) -> None:
    done = pushed("release", text)

    assert (done.code, done.out) == (2, "")
    assert done.err == f"Error: Expected NAME=VERSION such as score=7; found {text!r}.\n"
    assert tip(releases) == 2


def test_a_function_that_is_named_twice_is_a_usage_error(pushed: Shell, releases: Releases) -> None:
    assert pushed("release", "score=1", "score=2") == Done(
        2, "", "Error: A function is named twice. Give each one version.\n"
    )
    assert tip(releases) == 2


def test_a_release_with_one_unknown_version_releases_nothing(
    pushed: Shell, releases: Releases
) -> None:
    done = pushed("release", "score=1", "rank=9")

    assert done.code == 1
    assert "`pricing:rank` has no version 9 (the newest is 1)" in done.err
    assert tip(releases) == 2


def test_rollback_takes_back_the_newest_release(pushed: Shell, releases: Releases) -> None:
    done = pushed("rollback")

    assert (done.code, done.out) == (0, "")
    assert done.err.startswith("Release 3: pricing:score v1\n")
    assert live(releases) == {"pricing:rank": 1, "pricing:score": 1}


def test_rollback_goes_to_how_things_were(pushed: Shell, releases: Releases) -> None:
    assert pushed("rollback", "--to", "1").err.startswith("Release 3: pricing:score v1\n")
    assert pushed("rollback", "--to", "0").code == 0
    assert live(releases) == {"pricing:rank": 0, "pricing:score": 0}
    assert pushed("rollback", "--to", "99") == Done(
        1, "", "Error: There is no release 99: the newest is 4.\n"
    )


@pytest.mark.parametrize("command", [["release", "score=1"], ["rollback", "score"]])
def test_a_dry_run_says_what_would_change_and_changes_nothing(
    pushed: Shell, releases: Releases, command: list[str]
) -> None:
    done = pushed(*command, "--dry-run")

    assert (done.code, done.out) == (0, "")
    assert tip(releases) == 2
    assert "pricing:score v1" in done.err, f"it does not say what would change: {done.err}"


@pytest.mark.parametrize("command", [["release", "score=1"], ["rollback", "score"]])
def test_a_dry_run_tells_scripts_what_would_change(
    pushed: Shell, releases: Releases, command: list[str]
) -> None:
    body = pushed(*command, "--dry-run", "--json").json("release")

    assert tip(releases) == 2
    assert body is not None
    assert [(c["function"], c["version"]) for c in body["changes"]] == [("pricing:score", 1)]


def test_delete_asks_and_a_yes_removes_the_function(pushed: Shell, releases: Releases) -> None:
    done = pushed("delete", "score", answer="y\n")

    assert (done.code, done.out) == (0, "")
    assert done.err.startswith("Remove 2 versions of pricing:score for good? [y/N]: ")
    assert done.err.endswith("Removed 2 versions of pricing:score.\n")
    assert live(releases) == {"pricing:rank": 1}


@pytest.mark.parametrize("answer", ["n\n", "\n", ""])
def test_delete_without_a_yes_removes_nothing_and_says_so(
    pushed: Shell, releases: Releases, answer: str
) -> None:
    done = pushed("delete", "score", answer=answer)

    assert live(releases) == {"pricing:rank": 1, "pricing:score": 2}
    assert done.code == 1, "a no is no interrupt"
    assert "othing was removed" in done.err


def test_delete_need_not_ask(pushed: Shell, releases: Releases) -> None:
    assert pushed("delete", "-y", "score") == Done(0, "", "Removed 2 versions of pricing:score.\n")
    assert live(releases) == {"pricing:rank": 1}


def test_delete_of_older_versions_keeps_the_live_one(pushed: Shell, releases: Releases) -> None:
    assert pushed("delete", "-y", "score", "--older-than", "2") == Done(
        0, "", "Removed 1 version of pricing:score.\n"
    )
    assert [v.number for v in releases.history("score")] == [2]


def test_a_dry_delete_removes_nothing(pushed: Shell, releases: Releases) -> None:
    assert pushed("delete", "score", "--dry-run") == Done(
        0, "", "Would remove 2 versions of pricing:score.\n"
    )
    assert tip(releases) == 2


# running processes ------------------------------------------------------------------------


def test_a_push_says_how_many_processes_took_it_and_status_who_they_are(
    shell: Shell, start_worker: Callable[[], Worker]
) -> None:
    worker = start_worker()
    assert worker.ask("pricing.score(1)") == "2"
    shell.edit("RATE = 2", "RATE = 3")

    done = shell("push", "--wait", "20")

    assert done.code == 0
    assert re.search(r"^1/1 process in \d+ ms$", done.err, re.M)
    assert worker.ask("pricing.score(1)") == "3"
    status = shell("status")
    assert (status.code, status.err) == (0, "")
    assert re.search(r"^pricing:score +v1 +1/1 +ann@example\.org", status.out, re.M)
    assert re.search(r"^\S+:\d+ +shop +3\.\d+\.\d+ +ready +current$", status.out, re.M)
    assert f":{worker.process.pid} " in status.out


def test_a_release_that_a_worker_refuses_is_partial_and_status_shows_why(
    shell: Shell, start_worker: Callable[[], Worker]
) -> None:
    worker = start_worker()
    shell.edit("import scatter\n", "import scatter\nimport exchange_rates\n")
    shell.edit("x * RATE", "x * exchange_rates.today()")

    done = shell("push", "-f", "score", "--allow", "missing-import", "--wait", "20")

    assert (done.code, done.out) == (4, "")
    assert re.search(
        r"^  refused by shop \S+:\d+: .*No module named 'exchange_rates'", done.err, re.M
    )
    assert done.err.endswith(
        "Error: Release 1 was refused by 1 of 1 processes. See `scatter status`.\n"
    )
    assert worker.ask("pricing.score(1)") == "2"
    status = shell("status")
    assert "pricing:score v1 refused: missing-import" in status.out
    assert re.search(r"^pricing:score +v1 +0/1 \(deployed\)", status.out, re.M)
    (process,) = shell("status", "--json").json("status")["processes"]
    assert process["refused"][0]["reason"] == "missing-import"
    assert "exchange_rates" in process["refused"][0]["message"]


def report(releases: Releases, pid: int, **fields: Any) -> None:
    """Have a process report."""
    found = ProcessReport(
        id=str(pid), host="web", pid=pid, application="shop", python="3.12.1",
        **{"state": "ready", "sequence": 2, **fields},
    )  # fmt: skip
    releases.journal.store.write_report(found.id, write_report(found), 60.0)


def test_status_says_each_refusal_once_with_the_processes_that_gave_it(
    pushed: Shell, releases: Releases
) -> None:
    refusal = Refusal(function="pricing:score", version=2, reason="missing-import", message="No.")
    for pid in range(1, 6):
        report(releases, pid, refused=(refusal,), functions={"pricing:score": 1})

    done = pushed("status")

    assert done.code == 0
    assert (
        len(re.findall(r"^web:\d +shop +3\.12\.1 +ready +current +1 refused$", done.out, re.M)) == 5
    )
    assert done.out.endswith(
        "\n\npricing:score v2 refused: missing-import, in web:1, web:2, web:3 and 2 more\n  No.\n"
    )


def test_status_says_why_a_process_is_not_ready(pushed: Shell, releases: Releases) -> None:
    report(releases, 1, state="error", reason="wrong-chain: Release 2 does not follow release 1.")

    done = pushed("status")

    assert re.search(r"^web:1 +shop +3\.12\.1 +error +current$", done.out, re.M)
    assert done.out.endswith(
        "\n\nerror, in web:1\n  wrong-chain: Release 2 does not follow release 1.\n"
    )
    (process,) = pushed("status", "--json").json("status")["processes"]
    assert process["reason"] == "wrong-chain: Release 2 does not follow release 1."


def test_an_agent_that_cannot_believe_the_log_tells_status_why(
    pushed: Shell, releases: Releases, start_worker: Callable[[], Worker]
) -> None:
    start_worker()
    store = releases.journal.store
    store.link.run([("HSET", f"scatter:{{{store.namespace}}}:log", "3", "nonsense")])

    def reasons() -> list[str]:
        return [found.reason for found in read_reports(store)]

    wait_until(lambda: any(reasons()), "the reason in the report")
    (reason,) = reasons()
    assert re.match(r"bad-envelope: \w", reason)


def test_what_a_process_reports_cannot_steer_the_terminal(
    pushed: Shell, releases: Releases
) -> None:
    report(releases, 1, state="err\x1b[2J", reason="\x1b]0;owned\x07\nready")

    assert not re.search(r"[\x00-\x09\x0b-\x1f]", pushed("status").out)
    assert "\x1b[2J" not in pushed.terminal("status").out
    assert "\x1b]" not in pushed.terminal("status").out


def test_a_process_that_does_not_answer_is_named_and_behind(
    shell: Shell, start_worker: Callable[[], Worker]
) -> None:
    worker = start_worker()
    worker.process.send_signal(signal.SIGSTOP)

    done = shell("push", "--wait", "0.1")

    assert (done.code, done.out) == (4, "")
    assert done.err.endswith(
        "Error: Release 1 was not answered by 1 of 1 processes. See `scatter status`.\n"
    )
    assert re.search(r"^0/1 process in \d+ ms$", done.err, re.M)
    assert re.search(rf"^  no answer yet from shop \S+:{worker.process.pid}$", done.err, re.M)
    assert "1 behind" in shell("status").out
    worker.process.send_signal(signal.SIGCONT)
    wait_until(lambda: "current" in shell("status").out, "the process to catch up")
    assert worker.ask("scatter_agent.status().sequence") == "1"


def test_a_held_function_is_shown_as_held(
    pushed: Shell, start_worker: Callable[[], Worker]
) -> None:
    worker = start_worker()
    wait_until(lambda: worker.ask("scatter_agent.status().sequence") == "2", "the worker to follow")
    worker.ask("pricing.score.downgrade()")
    pushed.edit("sorted(xs", "sorted(list(xs)")
    assert pushed.process("push", "--wait", "20").code == 0

    wait_until(lambda: "pricing:score held" in pushed("status").out, "the hold in the status")
    assert re.search(r"^pricing:score +v2 +0/1 \(v1\)", pushed("status").out, re.M)


def test_status_without_processes_says_what_is_missing(pushed: Shell) -> None:
    done = pushed("status")

    assert done.code == 0
    assert re.search(r"^pricing:score +v2 +0/0 ", done.out, re.M)
    assert done.err == (
        "No process has reported. Does your application call scatter_agent.start()?\n"
    )


# the fleet on one screen -------------------------------------------------------------------


def test_processes_that_are_alike_are_one_row_and_those_in_trouble_come_first(
    pushed: Shell, releases: Releases
) -> None:
    refusal = Refusal(function="pricing:score", version=2, reason="missing-import", message="No.")
    for pid in range(1, 101):
        report(releases, pid, functions={"pricing:score": 2, "pricing:rank": 1})
    report(releases, 101, refused=(refusal,), functions={"pricing:score": 1, "pricing:rank": 1})
    report(releases, 102, sequence=1, functions={"pricing:score": 1, "pricing:rank": 1})
    report(releases, 103, held=("pricing:score",), functions={"pricing:score": 0})

    done = pushed.terminal("status", NO_COLOR="1")
    lines = plain(done.out)

    assert len(lines) <= 24, "one screen"
    assert [line for line in lines if len(line) > 80] == []
    assert (
        "103 processes at release 2: 102 current, 1 behind, 1 with refusals, 1 with holds"
    ) in " ".join(lines)
    rows = [line.split()[0] for line in lines if re.match(r"web:\d+ ", line)]
    assert rows == ["web:101", "web:102", "web:103", "web:1"]
    assert any(re.match(r"web:1 and 99 more +shop .* current$", line) for line in lines)
    assert any("100/103 (deployed, v1 ×2)" in line for line in lines)
    everything = pushed("status", "--all").out
    assert len(re.findall(r"^web:\d+ +shop ", everything, re.M)) == 103
    assert len(pushed("status", "--json").json("status")["processes"]) == 103


def test_of_many_functions_those_come_first_that_do_not_run_everywhere(
    shell: Shell, releases: Releases
) -> None:
    names = [f"f{number:02}" for number in range(40)]
    text = "".join(f"\n\n@scatter.track\ndef {name}():\n    return 1\n" for name in names)
    shell.file.write_text(f"import scatter\n{text}")
    assert shell("push", "--wait", "0").code == 0
    running = {f"pricing:{name}": 1 for name in names}
    report(releases, 1, sequence=1, functions=running)
    report(releases, 2, sequence=1, functions=running | {"pricing:f33": 0})

    shown = shell("status").out

    assert re.search(r"^FUNCTION .*\npricing:f33 +v1 +1/2 \(deployed\) ", shown)
    assert "… and 25 more (scatter status --all)" in shown
    assert len(re.findall(r"^pricing:f\d\d +v1 ", shown, re.M)) == 15
    assert len(re.findall(r"^pricing:f\d\d +v1 ", shell("status", "--all").out, re.M)) == 40


def test_status_says_why_a_process_is_behind(pushed: Shell, releases: Releases) -> None:
    report(releases, 1, sequence=1, functions={"pricing:score": 1})
    report(releases, 2, sequence=1, state="stale", reason="Redis is gone.")

    shown = pushed("status").out

    assert "2 processes at release 2: 2 behind, 1 not ready\n" in shown
    assert re.search(r"^1 behind, in web:1\n  It lives and has not answered yet: ", shown, re.M)
    assert re.search(r"^stale, in web:2\n  Redis is gone\.$", shown, re.M)


def test_status_says_what_a_deploy_has_superseded_and_what_waits_for_the_application(
    pushed: Shell, releases: Releases
) -> None:
    report(releases, 1, superseded=("pricing:score",), functions={"pricing:score": 0})
    report(releases, 2, sequence=1, pending={"pricing:score": 1}, functions={"pricing:score": 0})

    done = pushed("status")

    assert re.search(r"^web:1 +shop +3\.12\.1 +ready +current +1 superseded$", done.out, re.M)
    assert re.search(r"^web:2 +shop +3\.12\.1 +ready +1 behind +1 waiting$", done.out, re.M)
    live = releases.functions()["pricing:score"].version
    assert f"pricing:score v{live} superseded, in web:1\n" in done.out
    assert "Push again to go over it." in done.out
    assert "1 waiting, in web:2\n" in done.out
    assert "in place of" not in done.out
    processes = json.loads(pushed("status", "--json").out)["status"]["processes"]
    assert [p["superseded"] for p in processes] == [["pricing:score"], []]


def test_status_says_where_newer_code_keeps_a_release_out(
    pushed: Shell, releases: Releases
) -> None:
    report(releases, 1, functions={"pricing:score": 0, "pricing:rank": 1})

    shown = pushed("status").out
    assert "\n\npricing:score deployed in place of v2, in web:1\n  Its code there was" in shown


# what is live and not in git ------------------------------------------------------------------


def git(shell: Shell, *arguments: str) -> str:
    who = ["-c", "user.name=ann", "-c", "user.email=ann@example.org"]
    done = subprocess.run(
        ["git", *who, *arguments], cwd=shell.folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(pushed: Shell) -> Shell:
    """The terminal, in a repository whose HEAD is what is live."""
    git(pushed, "init", "-q", "-b", "main")
    git(pushed, "add", "-A")
    git(pushed, "commit", "-q", "-m", "as it is live")
    return pushed


def test_status_in_a_repository_that_has_what_is_live_says_nothing_of_git(
    repository: Shell,
) -> None:
    assert "git" not in repository("status").out
    body = repository("status", "--json").json("status")["git"]
    assert body == {"head": git(repository, "rev-parse", "HEAD"), "not_in_head": [], "unclear": {}}


def test_status_lists_what_is_live_and_not_in_head(repository: Shell) -> None:
    repository.edit("RATE = 3", "RATE = 4")
    repository.edit("def rank", "def fresh():\n    return 1\n\n\n@scatter.track\ndef rank")
    assert repository("push", "--wait", "0").code == 0

    done = repository("status")

    assert (done.code, done.err) == (0, NO_PROCESS)
    assert re.search(
        r"^live, not in git HEAD: pricing:score v3 by ann@example\.org, \d+ s ago$", done.out, re.M
    )
    assert "live, not in git HEAD, which has no such function: pricing:fresh v1 by" in done.out
    assert "pricing:rank v" not in done.out
    body = repository("status", "--json").json("status")["git"]["not_in_head"]
    assert [(one["function"], one["version"], one["in_head"]) for one in body] == [
        ("pricing:fresh", 1, False),
        ("pricing:score", 3, True),
    ]
    assert body[0]["author"] == "ann@example.org"
    lines = plain(repository.terminal("status").out)
    assert [line for line in lines if len(line) > 80] == []


def test_status_without_git_leaves_it_out(repository: Shell) -> None:
    repository.edit("RATE = 3", "RATE = 4")
    repository("push", "--wait", "0")

    assert "git" not in repository("status", "--no-git").out
    assert repository("status", "--no-git", "--json").json("status")["git"] is None
    assert "git" not in repository("status", PATH="/nonexistent").out


def test_the_deployed_code_is_not_compared_with_git(repository: Shell) -> None:
    repository.edit("RATE = 3", "RATE = 4")
    repository("push", "--wait", "0")
    repository("release", "score=0", "--wait", "0")

    assert "git" not in repository("status").out


def test_many_functions_that_are_not_in_head_are_cut_short(repository: Shell) -> None:
    text = "".join(f"\n\n@scatter.track\ndef f{n}():\n    return 1\n" for n in range(14))
    repository.file.write_text(PRICING.replace("RATE = 2", "RATE = 3") + text)
    repository("push", "--wait", "0")

    shown = repository("status").out

    assert shown.count("which has no such function: ") == 10
    assert "live, not in git HEAD: 4 more (scatter status --json)" in shown


def test_in_the_repository_of_another_program_it_is_said_once(repository: Shell) -> None:
    git(repository, "mv", "pricing.py", "other.py")
    git(repository, "commit", "-q", "-m", "moved")

    shown = repository("status").out

    assert shown.count("git HEAD") == 1
    assert "any function\n  Is this the working tree of another program?" in shown


def test_a_git_that_fails_never_breaks_status(repository: Shell) -> None:
    tree = git(repository, "rev-parse", "HEAD^{tree}")
    (repository.folder / ".git/objects" / tree[:2] / tree[2:]).unlink()

    done = repository("status")

    assert (done.code, "pricing:score" in done.out) == (0, True)
    assert re.search(r"^Not compared with git: `git archive` failed: ", done.err, re.M)
    assert "git archive" in repository("status", "--json").json("status")["git"]["error"]


def test_a_fault_of_the_comparison_never_breaks_status(
    repository: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RecursionError("too deep")

    monkeypatch.setattr("scatter.workspace.compare_with_head", broken)

    done = repository("status")
    assert done.code == 0
    assert "Not compared with git: RecursionError('too deep')\n" in done.err


# waiting for a release --------------------------------------------------------------------


NO_PROCESS = "No process has reported. Does your application call scatter_agent.start()?\n"


def test_waiting_returns_when_every_process_has_applied_the_newest_release(
    shell: Shell, start_worker: Callable[[], Worker]
) -> None:
    start_worker()
    start_worker()
    shell.edit("RATE = 2", "RATE = 3")
    assert shell("push", "--wait", "0").code == 0

    done = shell("status", "--wait", "--timeout", "20")

    assert (done.code, done.err) == (0, "")
    assert re.fullmatch(r"Release 1: applied by 2 of 2 processes, in \d+ ms\n", done.out)
    body = shell("status", "--wait", "--json").json("wait")
    assert (body["sequence"], len(body["applied"])) == (1, 2)
    assert (body["held"], body["refused"], body["behind"]) == ([], {}, [])
    assert 0 <= body["elapsed_s"] < 60


def test_waiting_is_over_as_soon_as_the_last_process_answers(
    shell: Shell, start_worker: Callable[[], Worker]
) -> None:
    worker = start_worker()
    worker.process.send_signal(signal.SIGSTOP)
    assert shell("push", "--wait", "0").code == 0
    waiting = shell.start("status", "--wait", "--timeout", "60")
    assert waiting.poll() is None
    worker.process.send_signal(signal.SIGCONT)

    out, err = finish(waiting)

    assert (waiting.returncode, err) == (0, "")
    assert out.startswith("Release 1: applied by 1 of 1 process, in ")


def test_waiting_in_vain_is_partial_and_names_who_did_not_answer(
    pushed: Shell, releases: Releases
) -> None:
    report(releases, 1, functions={"pricing:score": 2})
    for pid in range(2, 7):
        report(releases, pid, sequence=1, functions={"pricing:score": 1})

    done = pushed("status", "--wait", "--timeout", "0.05")

    assert (done.code, done.out) == (4, "")
    assert re.fullmatch(
        r"Error: Release 2: applied by 1 of 6 processes, not answered by 5 \(shop web:2, "
        r"shop web:3, shop web:4 and 2 more\), in \d+ ms\n",
        done.err,
    )
    done = pushed("status", "--wait", "--timeout", "0", "--json")
    assert done.code == 4
    assert json.loads(done.out)["wait"]["behind"] == ["2", "3", "4", "5", "6"]


def test_waiting_tells_refused_from_held_and_held_is_done(
    pushed: Shell, releases: Releases
) -> None:
    report(releases, 1, held=("pricing:score",), functions={"pricing:score": 1})
    done = pushed("status", "--wait")
    assert done.code == 0
    assert done.out.startswith("Release 2: applied by 0 of 1 process, held by 1 (shop web:1), in ")

    refusal = Refusal(function="pricing:score", version=2, reason="missing-import", message="No.")
    report(releases, 2, refused=(refusal,), functions={"pricing:score": 1})
    done = pushed("status", "--wait", "--json")

    assert done.code == 4
    body = json.loads(done.out)["wait"]
    assert (body["held"], body["refused"]["2"][0]["reason"]) == (["1"], "missing-import")
    assert "held by 1 (shop web:1), refused by 1 (shop web:2), in" in done.err


def test_waiting_for_an_older_release_counts_only_its_functions(
    pushed: Shell, releases: Releases
) -> None:
    report(releases, 1, sequence=1, functions={"pricing:score": 1})
    report(releases, 2, sequence=0, functions={"other:name": 0})

    done = pushed("status", "--wait", "1")

    assert done.code == 0
    assert done.out.startswith("Release 1: applied by 1 of 1 process, in ")


def test_waiting_without_processes_or_releases_is_no_failure(shell: Shell) -> None:
    done = shell("status", "--wait")
    assert done == Done(0, "", "The log is empty: nothing was released yet.\n")
    assert shell("status", "--wait", "--json").json("wait") is None
    shell("push", "--wait", "0")

    done = shell("status", "--wait")

    assert done == Done(0, "Release 1: no process runs its functions under an agent.\n", "")


def test_waiting_for_what_was_never_released_is_a_mistake(pushed: Shell) -> None:
    done = pushed("status", "--wait", "9")

    assert (done.code, done.out) == (1, "")
    assert done.err == "Error: There is no release 9; the newest is 2.\n"
    assert pushed("status", "2").code == 2


# watch ------------------------------------------------------------------------------------


def test_watch_pushes_what_is_saved_and_prints_one_line(
    shell: Shell, releases: Releases, watch: Callable[..., Watch]
) -> None:
    watching = watch(".")
    assert re.fullmatch(r"watching \.: 2 tracked functions → \S+ on \S+\n", watching.first)
    assert watching.line() == "never pushed: rank, score\n"

    shell.edit("RATE = 2", "RATE = 3")

    assert re.fullmatch(
        r"score v1 \(\+\d+ −\d+, \d+ B\) in \d+ ms; no process under an agent has it\n",
        watching.line(),
    )
    assert live(releases) == {"pricing:score": 1}


def test_watch_names_the_processes_that_took_it(
    shell: Shell, start_worker: Callable[[], Worker], watch: Callable[..., Watch]
) -> None:
    worker = start_worker()
    watching = watch()

    shell.edit("RATE = 2", "RATE = 3")

    assert re.fullmatch(r"score v1 \(.*\) → 1/1 process in \d+ ms\n", watching.until("^score"))
    assert worker.ask("pricing.score(1)") == "3"


def test_watch_shows_what_changed_when_asked_to(pushed: Shell, watch: Callable[..., Watch]) -> None:
    watching = watch("--diff", "pricing.py")

    pushed.edit("RATE = 3", "RATE = 4")

    assert watching.until("^pricing:score v3") == "pricing:score v3\n"
    assert watching.until("^-") == "-RATE = 3\n"
    assert watching.line() == "+RATE = 4\n"


def test_a_syntax_error_is_printed_with_its_place_and_pushes_nothing(
    pushed: Shell, releases: Releases, watch: Callable[..., Watch]
) -> None:
    watching = watch()

    pushed.edit("def rank(xs)", "def rank(xs")

    assert re.match(r"pricing\.py:\d+:\d+: .*, nothing pushed\n", watching.until("pricing.py:"))
    assert tip(releases) == 2


def test_ctrl_c_ends_the_watch_as_it_should(shell: Shell, watch: Callable[..., Watch]) -> None:
    watching = watch()

    done = watching.stop()

    assert (done.code, done.err) == (0, "Stopped.\n")


def test_watch_waits_for_a_store_that_is_away(shell: Shell, watch: Callable[..., Watch]) -> None:
    shell.environment["SCATTER_REDIS_URL"] = NOBODY

    watching = watch()

    shown = watching.first + watching.line()
    assert f"No Redis answers at {NOBODY}" in shown
    assert re.search(r"when it is back\.$", shown, re.M)
    assert re.search(r"^watching \.: 2 tracked functions", shown, re.M)
    assert watching.stop().code == 0


# exit codes and mistakes ------------------------------------------------------------------


@pytest.mark.parametrize("command", [["list"], ["status"], ["push"], ["rollback"], ["log", "x"]])
def test_nobody_at_the_address_is_3_and_says_how_to_get_a_server(
    shell: Shell, command: list[str]
) -> None:
    done = shell("-u", NOBODY, *command)

    assert (done.code, done.out) == (3, "")
    assert done.err.startswith(f"Error: No Redis answers at {NOBODY} (")
    assert done.err.endswith("use the address local:// (or run `scatter server`).\n")


@pytest.mark.parametrize(
    "url",
    ["", "shop", "http://shop", "redis://h:port", "redis://h:99999", "redis://h/zero", "unix://",
     "redis://[::1", "rediss://h?ssl_cert_reqs=maybe", "redis://h?nonsense=1", "redis://h?db=x",
     "memory"],
)  # fmt: skip
def test_an_address_that_is_none_is_a_usage_error(shell: Shell, url: str) -> None:
    done = shell("-u", url, "list")

    assert (done.code, done.out) == (2, ""), done.err
    assert done.err.startswith("Error: ")
    assert "redis://" in done.err


@pytest.mark.parametrize("name", ["", "a b", "x" * 101, "shop{1}", "shop:1"])
def test_a_namespace_that_cannot_be_one_is_a_usage_error(shell: Shell, name: str) -> None:
    assert shell("-n", name, "list") == Done(
        2,
        "",
        "Error: namespace (argument): expected 1 to 100 letters, digits, dots, dashes or "
        f"underscores, found {name!r}.\n",
    )


def test_a_password_is_never_shown(shell: Shell) -> None:
    done = shell("-u", "redis://ann:s3cret@127.0.0.1:1/0", "list")

    assert done.code == 3
    assert "s3cret" not in done.err
    assert "redis://ann:***@127.0.0.1:1/0" in done.err
    assert "can be read by all users of this machine" in done.err
    quiet = shell("list", SCATTER_REDIS_URL="redis://ann:s3cret@127.0.0.1:1/0")
    assert "can be read by all users" not in quiet.err


def swapped() -> list[tuple[str, str]]:
    """Return each command with two neighbouring letters swapped."""
    return [
        (c[:i] + c[i + 1] + c[i] + c[i + 2 :], c)
        for c in COMMANDS
        for i in range(len(c) - 1)
        if c[i] != c[i + 1]
    ]


def test_a_mistyped_command_is_answered_with_the_one_that_was_meant(shell: Shell) -> None:
    missed = []
    for typed, meant in swapped():
        done = shell(typed)
        assert (done.code, done.out) == (2, "")
        assert f"There is no command {typed!r}." in done.err
        if not re.search(rf"Did you mean .*\b{meant}\b", done.err):
            missed.append(typed)

    assert not missed


def test_a_command_that_is_like_no_other_gets_no_suggestion(shell: Shell) -> None:
    done = shell("xyzzy")

    assert done.code == 2
    assert done.err.endswith("Error: There is no command 'xyzzy'. See `scatter --help`.\n")


def test_an_unknown_option_is_answered_with_the_one_that_was_meant(shell: Shell) -> None:
    done = shell("push", "--dry-rum")

    assert done.code == 2
    assert "No such option" in done.err
    assert "--dry-run" in done.err


def test_a_broken_pyproject_is_a_usage_error(shell: Shell) -> None:
    (shell.folder / "pyproject.toml").write_text("[tool.scatter\n")

    done = shell("list")

    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"Error: {shell.folder / 'pyproject.toml'} cannot be read: ")


def test_a_store_that_denies_writing_is_a_message(shell: Shell, releases: Releases) -> None:
    namespace = shell.environment["SCATTER_NAMESPACE"]
    link = releases.journal.store.link
    link.run([("ACL", "SETUSER", namespace, "on", ">pw", "~*", "&*", "+@read", "+@connection")])
    try:
        path = shell.environment["SCATTER_REDIS_URL"].removeprefix("unix://")
        url = f"unix://{namespace}:pw@{path}"
        done = shell("push", "--wait", "0", SCATTER_REDIS_URL=url)
    finally:
        link.run([("ACL", "DELUSER", namespace)])

    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("Error: ")
    assert "pw" not in done.err.replace("\n", " ").split()
    assert tip(releases) == 0


@pytest.mark.parametrize("command", ["list", "show"])
def test_a_reader_that_goes_away_ends_the_command_quietly(pushed: Shell, command: str) -> None:
    arguments = ["show", "score"] if command == "show" else ["list", "--json"]
    read, write = os.pipe()
    os.close(read)  # nobody reads: the first write fails

    with pushed.start(*arguments, stdout=write) as process:
        os.close(write)
        _, err = finish(process)

    lines = [line for line in err.splitlines() if not line.startswith("pricing:score v2 (live)")]
    assert lines == []
    assert process.returncode == 0


def test_ctrl_c_at_the_question_is_an_interrupt_and_removes_nothing(
    pushed: Shell, releases: Releases
) -> None:
    process = pushed.start("delete", "score", stdin=subprocess.PIPE)
    with process:
        assert process.stderr is not None
        os.read(process.stderr.fileno(), 100)  # the question
        process.send_signal(signal.SIGINT)
        _, err = finish(process)

    assert process.returncode == 130
    assert "Traceback" not in err
    assert live(releases)["pricing:score"] == 2


# JSON, colour, width ----------------------------------------------------------------------


def test_everything_that_lists_has_json(pushed: Shell) -> None:
    functions = pushed("list", "--json").json("functions")
    assert [(f["function"], f["version"], f["last"]) for f in functions] == [
        ("pricing:rank", 1, 1),
        ("pricing:score", 2, 2),
    ]
    log = pushed("log", "--json").json("releases")
    assert [(r["sequence"], r["action"], r["message"]) for r in log] == [
        (2, "push", "dearer"),
        (1, "push", "first"),
    ]
    versions = pushed("log", "score", "--json").json("versions")
    assert [(v["number"], v["live"]) for v in versions] == [(2, True), (1, False)]
    shown = pushed("show", "score", "--json").json("version")
    assert shown["number"] == 2
    assert shown["source"].startswith("RATE = 3\n")
    (diff,) = pushed("diff", "score", "--json").json("diffs")
    assert (diff["function"], diff["old"], diff["new"]) == ("pricing:score", "v1", "v2 (live)")
    assert (diff["added"], diff["removed"]) == (1, 1)
    assert "-RATE = 2" in diff["lines"]
    status = pushed("status", "--json").json("status")
    assert (status["sequence"], len(status["functions"]), status["processes"]) == (2, 2, [])
    settings = pushed("config", "--json").json("settings")
    assert [s["name"] for s in settings] == list(SETTINGS)


def test_what_changes_something_has_json_too(pushed: Shell) -> None:
    pushed.edit("RATE = 3", "RATE = 4")
    push = pushed("push", "--json", "--wait", "0").json("push")
    assert push["changed"] == {"pricing:score": 3}
    assert (push["sequence"], push["dry_run"]) == (3, False)
    again = pushed("push", "--json", "--wait", "0").json("push")
    assert (again["changed"], again["sequence"]) == ({}, None)
    release = pushed("release", "score=1", "--json", "--wait", "0").json("release")
    assert (release["sequence"], release["action"]) == (4, "release")
    rollback = pushed("rollback", "--json", "--wait", "0").json("release")
    assert (rollback["sequence"], rollback["action"]) == (5, "rollback")
    assert pushed("release", "score=3", "--json", "--wait", "0").json("release")["sequence"] == 6
    assert pushed("release", "score=3", "--json").json("release") is None


def test_the_json_of_delete_has_the_full_name(pushed: Shell) -> None:
    deleted = pushed("delete", "score", "-y", "--json").json("deleted")

    assert deleted == {"function": "pricing:score", "versions": [2, 1], "dry_run": False}


@pytest.mark.parametrize("command", ["list", "log", "status"])
def test_json_of_an_empty_namespace_is_an_empty_list_and_no_message(
    shell: Shell, command: str
) -> None:
    kind = {"list": "functions", "log": "releases"}.get(command, command)
    done = shell(command, "--json")

    body = done.json(kind)
    assert body in (
        [],
        {"sequence": 0, "functions": [], "processes": [], "git": None, "mirror": None},
    )
    assert done.err == ""


LOOKS = [["list"], ["log"], ["log", "score"], ["diff", "score"], ["status"], ["config"]]


@pytest.mark.parametrize("command", LOOKS, ids=" ".join)
def test_a_pipe_gets_no_colour_and_a_terminal_does(pushed: Shell, command: list[str]) -> None:
    assert "\x1b" not in pushed.process(*command).out
    assert "\x1b[" in pushed.terminal(*command).out


@pytest.mark.parametrize(
    "setting", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=lambda s: next(iter(s))
)
@pytest.mark.parametrize("command", [["log"], ["diff", "score"], ["show", "nobody"]], ids=" ".join)
def test_a_terminal_without_colour_gets_none(
    pushed: Shell, command: list[str], setting: dict[str, str]
) -> None:
    assert "\x1b" not in pushed.terminal(*command, **setting).out


def test_an_error_is_coloured_on_a_terminal_only(pushed: Shell) -> None:
    assert pushed.process("show", "nobody").err.startswith("Error: ")
    assert "\x1b[31m" in pushed.terminal("show", "nobody").out


def plain(text: str) -> list[str]:
    return re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()


def test_a_long_author_does_not_tear_the_names_of_functions(shell: Shell) -> None:
    shell.environment["SCATTER_AUTHOR"] = "ann.with.a.long.name@research.example.org"
    shell.edit("def rank(", "def rank_the_items_of_a_catalogue(")
    shell("push", "--wait", "0")

    for command in ("list", "status"):
        shown = shell.terminal(command).out
        assert "pricing:rank_the_items_of_a_catalogue " in shown
        assert "ann.with.a." in shown
    functions = shell("list", "--json").json("functions")
    assert {f["author"] for f in functions} == {"ann.with.a.long.name@research.example.org"}


@pytest.mark.parametrize("setting", [{}, {"NO_COLOR": "1"}], ids=["colour", "NO_COLOR"])
@pytest.mark.parametrize("command", ["list", "log", "log score", "config", "status"])
def test_tables_fit_a_terminal_of_80_columns(
    pushed: Shell, start_worker: Callable[[], Worker], command: str, setting: dict[str, str]
) -> None:
    pushed("release", "score=1", "-m", "the new discounts were wrong", "--wait", "0")
    if command == "status":
        start_worker()
        pushed.edit("import scatter\n", "import scatter\nimport exchange_rates\n")
        pushed.edit("x * RATE", "x * exchange_rates.today()")
        assert pushed.process("push", "--no-check", "--wait", "20").code == 4

    lines = plain(pushed.terminal(*command.split(), **setting).out)

    assert len(lines) > 2
    assert [line for line in lines if len(line) > 80] == []
    if command in ("list", "log", "status"):
        assert any("pricing:score" in line for line in lines), "names are not torn"


def test_a_narrow_terminal_folds_names_last(pushed: Shell) -> None:
    for columns in (70, 50):
        lines = plain(pushed.terminal("list", columns=columns).out)

        assert [line for line in lines if len(line) > columns] == []
        assert any(line.startswith("pricing:score ") for line in lines)
    narrow = plain(pushed.terminal("list", columns=10).out)
    assert [line.split()[0] for line in narrow[1:]][::2] == ["pricing:", "pricing:"]


def test_markup_in_a_message_is_shown_as_it_was_typed(pushed: Shell) -> None:
    pushed("release", "score=1", "-m", "[bold]loud[/bold]", "--wait", "0")

    assert "[bold]loud[/bold]" in " ".join(plain(pushed.terminal("log", columns=200).out))


# settings ---------------------------------------------------------------------------------


def test_config_shows_each_value_and_where_it_came_from(shell: Shell) -> None:
    shell.environment["SCATTER_REDIS_URL"] = "redis://ann:s3cret@redis.internal/2"
    (shell.folder / "pyproject.toml").write_text(
        '[tool.scatter]\nnamespace = "toml"\npaths = ["src", "lib"]\n'
    )
    inner = shell.folder / "src" / "deep"
    inner.mkdir(parents=True)
    del shell.environment["SCATTER_NAMESPACE"]
    shell.folder = inner

    done = shell("config", SCATTER_NAMESPACE="")

    rows = {line.split()[0]: line.split(None, 1)[1] for line in done.out.splitlines()[1:]}
    file = inner.parent.parent / "pyproject.toml"
    assert done.code == 0
    assert re.fullmatch(
        r"redis://ann:\*\*\*@redis\.internal/2 +environment SCATTER_REDIS_URL", rows["redis_url"]
    )
    assert re.fullmatch(rf"toml +{re.escape(str(file))}", rows["namespace"])
    assert re.fullmatch(rf"src, lib +{re.escape(str(file))}", rows["paths"])
    assert "s3cret" not in done.out


def test_the_nearer_setting_wins(shell: Shell) -> None:
    (shell.folder / "pyproject.toml").write_text('[tool.scatter]\nnamespace = "toml"\n')

    def namespace(*arguments: str, **environment: str) -> tuple[str, str]:
        settings = shell(*arguments, "config", "--json", **environment).json("settings")
        (found,) = [s for s in settings if s["name"] == "namespace"]
        return found["value"], found["origin"]

    assert namespace("-n", "mine", SCATTER_NAMESPACE="env") == ("mine", "argument")
    assert namespace(SCATTER_NAMESPACE="env") == ("env", "environment SCATTER_NAMESPACE")
    assert namespace(SCATTER_NAMESPACE="") == ("toml", str(shell.folder / "pyproject.toml"))
    (shell.folder / "pyproject.toml").unlink()
    assert namespace(SCATTER_NAMESPACE="") == (DEFAULT_NAMESPACE, "default")


def test_the_plain_redis_url_is_used_when_there_is_none_of_ours(shell: Shell) -> None:
    def url(**environment: str) -> tuple[str, str]:
        settings = shell("config", "--json", **environment).json("settings")
        return settings[0]["value"], settings[0]["origin"]

    assert url(SCATTER_REDIS_URL="", REDIS_URL="redis://r") == (
        "redis://r",
        "environment REDIS_URL",
    )
    assert url(SCATTER_REDIS_URL="", REDIS_URL="") == (DEFAULT_URL, "default")


def test_settings_of_the_project_are_honoured(shell: Shell, releases: Releases) -> None:
    (shell.folder / "lib").mkdir()
    shutil.move(shell.file, shell.folder / "lib" / "prices.py")
    (shell.folder / "pyproject.toml").write_text(
        "[tool.scatter]\n"
        f'redis_url = "{shell.environment["SCATTER_REDIS_URL"]}"\n'
        f'prefix = "{shell.environment["SCATTER_NAMESPACE"]}"\n'
        'author = "team@example.org"\npaths = ["lib"]\n'
    )

    empty = dict.fromkeys(("SCATTER_REDIS_URL", "SCATTER_NAMESPACE", "SCATTER_AUTHOR"), "")
    assert shell("push", "--wait", "0", **empty).code == 0

    assert live(releases) == {"prices:rank": 1, "prices:score": 1}
    assert releases.find("rank").author == "team@example.org"


def test_the_paths_of_the_environment_are_honoured(shell: Shell, releases: Releases) -> None:
    (shell.folder / "a").mkdir()
    (shell.folder / "a" / "one.py").write_text("import scatter\n\n@scatter.track\ndef f(): ...\n")

    assert shell("push", "--wait", "0", SCATTER_PATHS="a").code == 0
    assert live(releases) == {"one:f": 1}


def test_an_unknown_setting_is_named_with_those_that_exist(shell: Shell) -> None:
    (shell.folder / "pyproject.toml").write_text('[tool.scatter]\nnamespcae = "x"\n')

    assert shell("list") == Done(
        2,
        "",
        f"Error: {shell.folder / 'pyproject.toml'}: [tool.scatter] has the unknown setting "
        f"'namespcae'. Known are: {', '.join(name for name in SETTINGS if name != 'trust')}.\n",
    )


@pytest.mark.parametrize("text", ["tool = 1\n", "[tool]\nscatter = 1\n"])
def test_a_pyproject_of_another_shape_is_no_traceback(shell: Shell, text: str) -> None:
    (shell.folder / "pyproject.toml").write_text(text)

    done = shell.process("config")

    assert "Traceback" not in done.err
    assert done.code in (0, 2)


# help, version, completion ----------------------------------------------------------------


def test_the_help_lists_every_command_and_the_exit_codes(shell: Shell) -> None:
    done = shell("--help")

    assert (done.code, done.err) == (0, "")
    assert [c for c in COMMANDS if not re.search(rf"^  {c} +\w", done.out, re.M)] == []
    epilog = " ".join(done.out.split())
    assert epilog.endswith(
        "Exit codes: 0 done, 1 failed, 2 usage, 3 Redis unreachable, 4 partial, 5 conflict, "
        "130 interrupted."
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_has_an_example(shell: Shell, command: str) -> None:
    done = shell(command, "--help")

    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("Usage: ")
    assert re.search(rf"^ +(eval .*)?scatter (-n \w+ )?{command}\b", done.out, re.M), done.out


@pytest.mark.parametrize(
    "command", [[], *([c] for c in COMMANDS)], ids=lambda c: " ".join(c) or "-"
)
def test_the_help_fits_80_columns(shell: Shell, command: list[str]) -> None:
    done = shell(*command, "--help", COLUMNS="80")

    assert [line for line in done.out.splitlines() if len(line) > 80] == []


def test_the_help_says_what_each_command_does_in_one_whole_line(shell: Shell) -> None:
    listed = shell("--help", COLUMNS="80").out.partition("Commands:")[2].partition("\n\n")[0]

    assert len(listed.strip().splitlines()) == len(COMMANDS)
    assert [line for line in listed.strip().splitlines() if line.endswith("...")] == []


def test_without_a_command_the_help_is_shown(shell: Shell) -> None:
    done = shell()

    assert done.code in (0, 2)
    assert "Commands:" in done.out + done.err


def test_the_version_is_told_without_loading_anything_heavy(shell: Shell) -> None:
    with subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "scatter", "--version"],
        cwd=shell.folder,
        env=shell.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        out, err = finish(process)

    loaded = {line.split("|")[-1].strip().partition(".")[0] for line in err.splitlines()}
    assert (process.returncode, out) == (0, f"scatter {__version__}\n")
    assert "click" in loaded
    heavy = {"redis", "cloudpickle", "watchfiles", "structlog", "cryptography", "rich", "asyncio"}
    assert loaded & heavy == set()


def test_the_module_and_the_command_are_the_same(shell: Shell) -> None:
    assert SCATTER.exists(), "install scatter in this environment: pip install -e ."

    installed = subprocess.run(
        [SCATTER, "--version"], env=shell.environment, capture_output=True, text=True, check=False
    )

    assert shell.process("--version") == Done(
        installed.returncode, installed.stdout, installed.stderr
    )


@pytest.mark.parametrize(
    ("shell_name", "expected"),
    [("bash", "complete -o nosort -F"), ("zsh", "#compdef scatter"), ("fish", "complete --")],
)
def test_completion_prints_the_script_of_a_shell(
    shell: Shell, shell_name: str, expected: str
) -> None:
    done = shell("completion", shell_name)

    assert (done.code, done.err) == (0, "")
    assert expected in done.out
    assert "_SCATTER_COMPLETE" in done.out


def test_completion_for_an_unknown_shell_is_refused(shell: Shell) -> None:
    done = shell("completion", "tcsh")

    assert (done.code, done.out) == (2, "")
    assert "'tcsh' is not one of 'bash', 'zsh', 'fish'." in done.err


SCATTER = Path(sys.executable).with_name("scatter")


def complete(shell: Shell, words: str) -> Done:
    """Complete a line as bash does; the last word is unfinished."""
    asked = {
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
        "_SCATTER_COMPLETE": "bash_complete",
    }
    done = subprocess.run(
        [SCATTER], env=shell.environment | asked, capture_output=True, text=True, check=False
    )
    return Done(done.returncode, done.stdout, done.stderr)


def test_commands_and_options_are_completed(shell: Shell) -> None:
    assert complete(shell, "scatter ro") == Done(0, "plain,rollback\n", "")
    assert complete(shell, "scatter push --dr") == Done(0, "plain,--dry-run\n", "")
    assert set(complete(shell, "scatter ").out.split()) == {f"plain,{c}" for c in COMMANDS}


def test_completing_after_a_command_that_does_not_exist_prints_nothing(shell: Shell) -> None:
    done = complete(shell, "scatter foo z")

    assert (done.code, done.out.strip(), done.err) == (0, "", "")  # click ends its answer with \n


def test_names_of_functions_are_completed_in_the_form_that_people_type(pushed: Shell) -> None:
    (pushed.folder / "other.py").write_text(
        "import scatter\n\n@scatter.track\ndef score(): ...\n\n@scatter.track\ndef seek(): ...\n"
    )
    pushed("push", "other.py", "--wait", "0")

    assert complete(pushed, "scatter show s").out.split() == ["plain,seek"]
    assert complete(pushed, "scatter rollback rank o").out.split() == ["plain,other:score"]
    assert complete(pushed, "scatter push -f r").out.split() == ["plain,rank"]
    assert complete(pushed, "scatter -n nobody show s").out.strip() == ""


@pytest.mark.parametrize("url", [NOBODY, "nonsense"])
def test_names_cannot_be_completed_while_the_store_is_away(shell: Shell, url: str) -> None:
    done = complete(shell, f"scatter -u {url} show s")

    assert (done.code, done.out.strip(), done.err) == (0, "", "")


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_the_script_works_in_bash(shell: Shell) -> None:
    script = """
        PATH="$1:$PATH"
        eval "$(scatter completion bash)" || exit 1
        COMP_WORDS=(scatter rel) COMP_CWORD=1
        _scatter_completion scatter
        echo "${COMPREPLY[@]}"
    """
    done = subprocess.run(
        ["bash", "-c", textwrap.dedent(script), "bash", str(Path(sys.executable).parent)],
        env=shell.environment, capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip

    assert (done.returncode, done.stdout, done.stderr) == (0, "release\n", "")


# demo -------------------------------------------------------------------------------------


def family(pid: int) -> set[int]:
    """Return the processes below a process."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True)
    parents = dict(tuple(map(int, line.split())) for line in listed.stdout.splitlines())
    found, more = set(), {pid}
    while more:
        more = {child for child, parent in parents.items() if parent in more}
        found |= more
    return found


def is_alive(pid: int) -> bool:
    listed = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return bool(listed.stdout.strip()) and not listed.stdout.startswith("Z")


@pytest.fixture
def demo(shell: Shell) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts demos in a temporary directory of their own; it is `TMPDIR`."""
    started = []
    with tempfile.TemporaryDirectory(prefix="sd-") as folder:
        shell.environment["TMPDIR"] = folder

        def start(*arguments: str) -> subprocess.Popen[str]:
            started.append(shell.start("demo", *arguments))
            return started[-1]

        yield start
        for process in started:
            process.kill()
            process.communicate()


def test_the_demo_tells_its_story_ends_by_itself_and_leaves_nothing(
    shell: Shell, demo: Callable[..., subprocess.Popen[str]]
) -> None:
    process = demo()
    shown = read_until(process, "traffic")
    children = family(process.pid)
    assert len(children) >= 3, "a server and two workers"
    assert process.stdout is not None
    shown += process.stdout.read()
    _, err = finish(process)

    assert (process.returncode, err) == (0, "")
    steps = re.findall(r"^(\d)\. (.+)$", shown, re.M)
    assert [number for number, _ in steps] == ["1", "2", "3", "4", "5"]
    assert len(re.findall(r"→ 2/2 processes in \d+ ms$", shown, re.M)) == 2
    assert re.search(r"^  refused by shop \S+:\d+ and shop \S+:\d+:$", shown, re.M)
    assert "No module named 'exchange_rates'" in " ".join(shown.split())
    assert "nothing pushed" in shown
    assert re.search(r"back to the deployed code; 3 coffees cost 7\.50 in both", shown)
    assert re.search(r"^  [\d,]+ requests answered meanwhile, 0 failed\.$", shown, re.M)
    long = [line for line in shown.splitlines() if len(line) > 80]
    assert [line for line in long if "redis.sock" not in line] == []
    wait_until(lambda: not any(map(is_alive, children)), "the end of every process")
    assert os.listdir(shell.environment["TMPDIR"]) == []


def test_a_kept_demo_shows_the_users_own_edits_until_ctrl_c(
    shell: Shell, demo: Callable[..., subprocess.Popen[str]]
) -> None:
    process = demo("--keep")
    shown = read_until(process, "End with Ctrl-C")
    children = family(process.pid)
    match = re.search(r"Edit and save (\S+)", shown)
    assert match is not None
    file = Path(match[1])

    text = file.read_text()
    assert "asked += 1" in text
    file.write_text(text.replace("asked += 1", "asked += 2"))

    read_until(process, r"^  .*price v\d+ .*→ 2/2 processes")
    process.send_signal(signal.SIGINT)
    _, err = finish(process)
    assert (process.returncode, err) == (0, "")
    wait_until(lambda: not any(map(is_alive, children)), "the end of every process")
    assert os.listdir(shell.environment["TMPDIR"]) == []


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda n: n.name
)
def test_a_demo_that_is_ended_early_leaves_nothing_either(
    shell: Shell, demo: Callable[..., subprocess.Popen[str]], number: signal.Signals
) -> None:
    process = demo("--keep")
    read_until(process, r"^1\. Save")
    children = family(process.pid)

    process.send_signal(number)
    process.wait(20)

    try:
        wait_until(lambda: not any(map(is_alive, children)), "the end of every process", 3)
        assert os.listdir(shell.environment["TMPDIR"]) == []
    finally:
        for pid in filter(is_alive, children):
            os.kill(pid, signal.SIGKILL)
    _, err = finish(process)
    assert "Traceback" not in err


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends orphans")
def test_the_processes_of_a_demo_that_is_killed_end_too(
    demo: Callable[..., subprocess.Popen[str]],
) -> None:
    process = demo("--keep")
    read_until(process, r"^1\. Save")
    children = family(process.pid)

    process.kill()

    wait_until(lambda: not any(map(is_alive, children)), "the end of every process")


# small words ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, "0 s ago"), (119, "119 s ago"), (120, "2 min ago"), (7199, "119 min ago"),
     (7200, "2 h ago"), (172799, "47 h ago"), (172800, "2026-03-01"), (-5, "0 s ago")],
)  # fmt: skip
def test_a_time_is_told_as_people_do(seconds: int, expected: str) -> None:
    from datetime import UTC, datetime, timedelta

    then = datetime(2026, 3, 1, 12, tzinfo=UTC)

    assert ago(then.isoformat(), then + timedelta(seconds=seconds)) == expected
    assert ago("not a time") == "not a time"


def test_long_texts_are_cut_at_their_first_line() -> None:
    assert short("one\ntwo") == "one"
    assert short("x" * 41, 40) == "x" * 39 + "…"
    assert short("x" * 40, 40) == "x" * 40
    assert [number_of(n) for n in (None, 0, 7)] == ["deleted", "deployed", "v7"]


def test_reports_of_ended_workers_are_gone(
    shell: Shell, releases: Releases, start_worker: Callable[[], Worker]
) -> None:
    worker = start_worker()
    assert len(read_reports(releases.journal.store)) == 1

    worker.end()

    assert read_reports(releases.journal.store) == []
    assert "No functions and no processes yet" in shell("status").err


def test_a_named_function_can_be_pushed_beside_what_is_wrong_elsewhere(
    shell: Shell, releases: Releases
) -> None:
    (shell.folder / "broken.py").write_text("import scatter\n\n@scatter.track\ndef f(:\n")
    assert shell("push").code == 2
    done = shell("push", "-f", "score")
    assert done.code == 0
    assert "broken.py:4" in done.err
    assert live(releases) == {"pricing:score": 1}
