"""Temporary versions and holds at the command line."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from shells import Shell, Watch, Worker, live, tip
from support import wait_until

from scatter.cli.lending import until
from scatter.releases import Releases

SHORT = re.compile(r"v3 until \d\d:\d\d")


def over(releases: Releases) -> None:
    """Wait until nothing is temporary any more."""
    wait_until(lambda: not any(s.expires for s in releases.functions().values()), "the end")


def test_a_push_for_a_while_says_until_when_and_is_over(
    pushed: Shell, releases: Releases, start_worker: Callable[[], Worker]
) -> None:
    worker = start_worker()
    pushed.edit("RATE = 3", "RATE = 4")
    done = pushed("push", "--expires", "8s")
    assert done.code == 0, done.err
    said = r"Pushed pricing:score v3 \(\d+ B\), until \d\d:\d\d:\d\d; then what was live before\n"
    assert re.match(said, done.err)
    assert worker.ask("pricing.score(1)") == "4"
    assert SHORT.search(pushed("list").out)
    assert SHORT.search(pushed("status", "--no-git").out)
    assert "pricing:score v3 until " in pushed("log").out
    assert re.search(r"\* v3 until \d\d:\d\d", pushed("log", "score").out)
    (score,) = [
        f for f in pushed("list", "--json").json("functions") if f["function"] == "pricing:score"
    ]
    assert (score["version"], score["fallback"]) == (3, 2)
    assert score["expires"] > score["time"]
    over(releases)
    wait_until(lambda: worker.ask("pricing.score(1)") == "3", "the deployed rate of version 2")
    assert live(releases) == {"pricing:rank": 1, "pricing:score": 2}
    assert "until" not in pushed("list").out
    assert "* v2" in pushed("log", "score").out


def test_a_trial_is_kept_by_pushing_it_again(pushed: Shell, releases: Releases) -> None:
    pushed.edit("RATE = 3", "RATE = 4")
    assert pushed("push", "--expires", "1h", "--wait", "0").code == 0
    done = pushed("push", "--wait", "0")
    assert re.fullmatch(r"Pushed pricing:score v3 \(\d+ B\)\n", done.err)
    assert not releases.find("score").expires
    assert pushed("push").err == "Nothing to push: 2 functions are live as they are.\n"


def test_a_trial_is_given_more_time(pushed: Shell, releases: Releases) -> None:
    assert pushed("release", "score=1", "--expires", "1m", "--wait", "0").code == 0
    first = releases.find("score").expires
    done = pushed("release", "score=1", "--expires", "1h", "--wait", "0")
    assert re.match(r"Release 4: pricing:score v1, until \d\d:\d\d", done.err)
    assert releases.find("score").expires > first


def test_a_dry_run_says_it_and_changes_nothing(pushed: Shell, releases: Releases) -> None:
    pushed.edit("RATE = 3", "RATE = 4")
    done = pushed("push", "--expires", "1h", "--dry-run")
    assert re.match(r"Would push pricing:score v3 .*, until \d\d:\d\d; then", done.err)
    assert tip(releases) == 2


@pytest.mark.parametrize("text", ["soon", "0m", "31d", "-5m", "5", "1w", ""])
def test_what_is_no_time_is_a_mistake(pushed: Shell, releases: Releases, text: str) -> None:
    done = pushed("push", "--expires", text)
    assert done.code == 2
    assert "Expected a time such as 90s, 30m, 2h or 1d, at most 30d; found" in done.err
    assert tip(releases) == 2


def test_a_path_where_a_time_is_expected_is_explained(shell: Shell) -> None:
    done = shell("watch", "--temporary", "pricing.py")
    assert done.code == 2
    assert "Write --temporary=10m before a path, or paths first." in done.err


def test_a_temporary_watch_takes_it_all_back_on_ctrl_c(
    pushed: Shell, releases: Releases, watch: Callable[..., Watch]
) -> None:
    watching = watch("--temporary")
    assert watching.line() == (
        "what is pushed is temporary: Ctrl-C brings back what was live before\n"
    )
    pushed.edit("RATE = 3", "RATE = 4")
    watching.until("^score v3")
    left = datetime.fromisoformat(releases.find("score").expires) - datetime.now(UTC)
    assert timedelta(minutes=9) < left <= timedelta(minutes=10)
    done = watching.stop()
    assert (done.code, done.err) == (0, "Stopped.\n")
    assert done.out == "live again: score v2\n"
    assert live(releases) == {"pricing:rank": 1, "pricing:score": 2}
    assert not releases.find("score").expires


def test_a_temporary_watch_that_is_killed_is_taken_back_by_time(
    pushed: Shell, releases: Releases, watch: Callable[..., Watch]
) -> None:
    watching = watch("--temporary=2s", "pricing.py")
    pushed.edit("RATE = 3", "RATE = 4")
    watching.until("^score v3")
    watching.process.kill()
    over(releases)
    assert live(releases) == {"pricing:rank": 1, "pricing:score": 2}


@pytest.mark.parametrize(
    ("back", "lift"),
    [
        (["rollback", "score"], ["push", "-f", "score"]),
        (["undo"], ["push", "-f", "score"]),
        (["rollback", "score"], ["release", "score=1"]),
    ],
    ids=["rollback", "undo", "release"],
)
def test_a_rollback_holds_a_watcher_until_it_is_lifted_by_hand(
    pushed: Shell,
    releases: Releases,
    watch: Callable[..., Watch],
    back: list[str],
    lift: list[str],
) -> None:
    watching = watch()
    assert pushed(*back, "--wait", "0").code == 0
    pushed.edit("RATE = 3", "RATE = 4")
    assert "rolled it back to v1" in watching.until("^score is held")
    assert watching.line() == "  nothing is pushed over that; `scatter push -f score` lifts it\n"
    pushed.edit("RATE = 4", "RATE = 5")
    assert watching.line() == "score not pushed: it is held\n"
    assert live(releases)["pricing:score"] == 1
    done = pushed(*lift, "--wait", "0")
    assert done.code == 0, done.err
    pushed.edit("RATE = 5", "RATE = 6")
    assert watching.until("^score v").startswith("score v")
    wait_until(lambda: releases.find("score").version != 1, "the next save")
    assert releases.find("score").author != "eve@example.org"


def test_the_version_that_is_live_is_pushed_to_lift_a_hold(
    pushed: Shell, releases: Releases
) -> None:
    pushed("rollback", "score", "--wait", "0")
    pushed.edit("RATE = 3", "RATE = 2")  # the file has what is live
    assert pushed("push").err.startswith("Nothing to push"), "nobody asked for that function"
    assert releases.find("score").rolled_back
    assert re.match(r"Pushed pricing:score v1 ", pushed("push", "-f", "score", "--wait", "0").err)
    assert not releases.find("score").rolled_back


def test_a_time_is_told_as_a_clock_has_it_here_and_with_its_day_on_another() -> None:
    now = datetime.now(UTC).astimezone().replace(hour=12, minute=5, second=7)
    assert until((now + timedelta(seconds=90)).isoformat(), now) == "12:06:37"
    assert until((now + timedelta(minutes=30)).isoformat(), now) == "12:35"
    later = now + timedelta(days=3)
    assert until(later.isoformat(), now) == f"{later:%Y-%m-%d} 12:05"
    assert until("") == ""
