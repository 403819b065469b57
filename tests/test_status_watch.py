"""`scatter status --watch`: the fleet again after each change, on a terminal and elsewhere."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from shells import Shell, Worker, finish
from support import signed, wait_until
from terminals import on_terminal

from scatter.cli.follow import Follower, View
from scatter.model import ProcessReport, Refusal
from scatter.releases import Releases
from scatter.reports import Reader, write_report
from scatter.server import EmbeddedServer
from scatter.store.memory import MemoryStore
from scatter.store.redis import RedisStore

LEFT = b"\x1b[?7h\x1b[?25h\x1b[?1049l"


@pytest.fixture
def pushed(shell: Shell) -> Shell:
    """The terminal after `score` and `rank` had one version each."""
    assert shell("push", "--wait", "0").code == 0
    return shell


def process(pid: int, **fields: Any) -> ProcessReport:
    fields = {"state": "ready", "sequence": 1, "application": "shop", "python": "3.12.1", **fields}
    return ProcessReport(id=f"web-{pid}", host="web", pid=pid, **fields)


def report(releases: Releases, *reports: ProcessReport, ttl_s: float = 60.0) -> None:
    for one in reports:
        releases.journal.store.write_report(one.id, write_report(one), ttl_s)


RUNNING = {"pricing:score": 1, "pricing:rank": 1}
REFUSAL = Refusal(function="pricing:score", version=2, reason="missing-import", message="No.")


# on a terminal ----------------------------------------------------------------------------


def test_a_report_and_a_release_are_on_the_screen_by_themselves(
    pushed: Shell, releases: Releases
) -> None:
    report(releases, process(1, functions=RUNNING))
    with on_terminal(pushed, "status", "--watch") as terminal:
        shown = terminal.until("web:1")
        assert "1 process at release 1: 1 current" in shown
        assert re.search(r"^pricing:score +v1 +1/1 +ann@", shown, re.M)

        pushed.edit("RATE = 2", "RATE = 3")
        assert pushed.process("push", "--wait", "0").code == 0
        terminal.until("1 process at release 2: 1 behind")
        report(releases, process(1, functions=RUNNING, sequence=2, refused=(REFUSAL,)))
        terminal.until("pricing:score v2 refused: missing-import, in web:1")
        report(releases, process(2, functions=RUNNING | {"pricing:score": 2}, sequence=2))
        terminal.until("web:2 ")


def test_what_a_real_process_takes_and_refuses_is_there_at_once(shell: Shell) -> None:
    worker = Worker(shell)
    try:
        with on_terminal(shell, "status", "--watch", size=(120, 30)) as terminal:
            terminal.until(f":{worker.process.pid} ")
            assert shell.process("push", "--wait", "20").code == 0
            terminal.until("1 process at release 1: 1 current")
            assert re.search(r"^pricing:score +v1 +1/1 ", terminal.text, re.M)
            shell.edit("x * RATE", "x * exchange_rates.today()")
            shell.edit("import scatter\n", "import scatter\nimport exchange_rates\n")
            assert shell.process("push", "--no-check", "--wait", "20").code == 4
            terminal.until("pricing:score v2 refused: missing-import, in ")
            assert shell.process("rollback", "--wait", "20").code == 0
            terminal.until_not("refused")
    finally:
        worker.end()


def test_a_process_that_ends_leaves_the_screen(pushed: Shell, releases: Releases) -> None:
    report(releases, process(1, functions=RUNNING), process(2, functions=RUNNING))
    with on_terminal(pushed, "status", "--watch") as terminal:
        terminal.until("web:2")
        releases.journal.store.remove_report("web-2")
        terminal.until_not("web:2")
        assert "web:1" in terminal.text


def test_ages_and_the_clock_go_on_without_any_change(pushed: Shell) -> None:
    with on_terminal(pushed, "status", "--watch") as terminal:
        first = terminal.until(" s ago").splitlines()[0]
        wait_until(lambda: terminal.lines[0] != first, "the clock")


def test_a_frame_is_written_over_the_one_before_and_never_cleared(
    pushed: Shell, releases: Releases
) -> None:
    with on_terminal(pushed, "status", "--watch") as terminal:
        terminal.until("No process has reported")
        report(releases, process(1, functions=RUNNING))
        terminal.until("web:1")
        terminal.until_not("No process has reported")

        assert terminal.written.count(b"\x1b[2J") == 1, "as the screen was taken"
        assert terminal.written.count(b"\x1b[H") > 2


def test_ctrl_c_ends_it_with_130_and_the_cursor_and_the_last_frame_stay(pushed: Shell) -> None:
    with on_terminal(pushed, "status", "--watch") as terminal:
        terminal.until("pricing:score")
        terminal.type("\x03")

        assert terminal.end() == 130
        _, _, after = terminal.written.partition(LEFT)
        assert b"pricing:score" in after
        assert b"Traceback" not in after
        assert terminal.written.count(b"\x1b[?25h") == 1


def test_sigterm_too_leaves_the_terminal_as_it_was(pushed: Shell) -> None:
    with on_terminal(pushed, "status", "--watch") as terminal:
        terminal.until("pricing:score")
        terminal.process.terminate()

        assert terminal.end() == 128 + signal.SIGTERM
        assert LEFT in terminal.written


def test_ctrl_z_gives_the_terminal_back_until_it_goes_on(pushed: Shell) -> None:
    with on_terminal(pushed, "status", "--watch") as terminal:
        terminal.until("pricing:score")
        os.kill(terminal.process.pid, signal.SIGTSTP)
        wait_until(lambda: terminal.written.endswith(LEFT), "the terminal back")
        _, status = os.waitpid(terminal.process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)

        terminal.process.send_signal(signal.SIGCONT)
        wait_until(lambda: not terminal.written.endswith(LEFT), "the screen again")
        terminal.until("pricing:score")
        terminal.type("\x03")
        assert terminal.end() == 130


DRAWS = """
from scatter.cli.redraw import Redrawn
with Redrawn(lambda: None) as screen:
    for number in range(100):
        screen.draw([f"{number} {'x' * 2000}"] * 20)
"""


def test_ctrl_z_while_the_terminal_takes_no_more_is_waited_for() -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with subprocess.Popen(
        [sys.executable, "-c", DRAWS], env=environment, stdin=theirs, stdout=theirs, text=True
    ) as process:
        os.close(theirs)
        assert os.read(ours, 20), "it has begun"
        state = Path(f"/proc/{process.pid}/stat")
        wait_until(lambda: state.read_text().rpartition(") ")[2][0] == "S", "a full terminal")
        process.send_signal(signal.SIGTSTP)
        reader = threading.Thread(target=read_all, args=(ours,))
        reader.start()
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        process.send_signal(signal.SIGCONT)
        assert process.wait(20) == 0
    reader.join(20)
    os.close(ours)


def read_all(terminal: int) -> None:
    """Read until the last process has closed its side."""
    with contextlib.suppress(OSError):
        while os.read(terminal, 65536):
            pass


@pytest.mark.parametrize("columns", [40, 120])
def test_a_window_of_another_size_is_drawn_anew(
    pushed: Shell, releases: Releases, columns: int
) -> None:
    report(releases, process(1, functions=RUNNING, sequence=1, refused=(REFUSAL,)))
    with on_terminal(pushed, "status", "--watch") as terminal:
        terminal.until("missing-import")
        terminal.resize(columns, 30)

        terminal.until("missing-import")
        wait_until(lambda: "web:1" in terminal.text, "the process")
        assert all(len(line) <= columns for line in terminal.lines)


def test_what_does_not_fit_is_counted(pushed: Shell, releases: Releases) -> None:
    report(releases, process(1, functions=RUNNING, refused=(REFUSAL,)))
    with on_terminal(pushed, "status", "--watch", size=(80, 8)) as terminal:
        shown = terminal.until("more lines")
        assert "pricing:score" in shown
        assert len(shown.splitlines()) <= 8


def test_no_color_has_no_colour(pushed: Shell) -> None:
    with on_terminal(pushed, "status", "--watch", NO_COLOR="1") as terminal:
        terminal.until("pricing:score")
        assert not re.search(rb"\x1b\[[0-9;]*m", terminal.written)


def test_what_a_process_reports_cannot_steer_the_screen(pushed: Shell, releases: Releases) -> None:
    hostile = process(1, state="err\x1b[2J\x1b]0;owned\x07", reason="\x1b]52;c;aaaa\x07no\r\nmore")
    report(releases, hostile)
    with on_terminal(pushed, "status", "--watch") as terminal:
        terminal.until("no  more")
        assert b"\x1b]" not in terminal.written
        assert terminal.written.count(b"\x1b[2J") == 1


def test_with_redis_down_it_says_since_when_and_goes_on(
    shell: Shell, own_server: Callable[..., EmbeddedServer]
) -> None:
    server = own_server()
    shell.environment["SCATTER_REDIS_URL"] = server.url
    assert shell.process("push", "--wait", "0").code == 0
    with on_terminal(shell, "status", "--watch") as terminal:
        terminal.until("pricing:score")
        server.stop()
        shown = terminal.until("STALE since ")
        assert "last known state" in " ".join(shown.split())
        assert "pricing:score" in shown, "what was known stays"

        own_server()
        terminal.until_not("STALE")
        assert "pricing:score" in terminal.text


# elsewhere --------------------------------------------------------------------------------


def read_json(watching: subprocess.Popen[str]) -> Any:
    """Return the next document of a command, which ends with it if there is none in time."""
    assert watching.stdout is not None
    patience = threading.Timer(30, watching.kill)
    patience.start()
    try:
        document = json.loads(watching.stdout.readline())
    finally:
        patience.cancel()
        patience.join()
    assert (document["schema"], document["kind"]) == (1, "status")
    return document["status"]


def test_json_is_one_document_on_a_line_for_each_change(pushed: Shell, releases: Releases) -> None:
    report(releases, process(1, functions=RUNNING))
    with pushed.start("status", "--watch", "--json") as watching:
        first = read_json(watching)
        assert (first["sequence"], first["unreachable"], first["doubt"]) == (1, None, None)
        assert [p["id"] for p in first["processes"]] == ["web-1"]
        assert {f["function"] for f in first["functions"]} == set(RUNNING)

        report(releases, process(1, functions=RUNNING, state="stale", reason="Redis is gone."))
        assert read_json(watching)["processes"][0]["state"] == "stale"
        releases.rollback("pricing:score")
        assert read_json(watching)["sequence"] == 2
        watching.send_signal(signal.SIGINT)
        _, err = finish(watching)
    assert watching.returncode == 130
    assert "Traceback" not in err


def test_text_is_a_snapshot_for_each_change(pushed: Shell, releases: Releases) -> None:
    with pushed.start("status", "--watch") as watching:
        assert watching.stdout is not None
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$", watching.stdout.readline())
        wait_until(lambda: watching.stdout and watching.stdout.readline() == "\n", "functions")
        report(releases, process(1, functions=RUNNING))
        wait_until(lambda: watching.stdout and "web:1" in watching.stdout.readline(), "web:1")
        watching.kill()
        finish(watching)


def test_a_reader_that_goes_away_ends_it(pushed: Shell) -> None:
    with pushed.start("status", "--watch", "--json") as watching:
        assert watching.stdout is not None
        read_json(watching)
        watching.stdout.close()
        assert watching.wait(20) == 0
        assert watching.stderr is not None
        assert "Traceback" not in watching.stderr.read()


def test_json_says_that_redis_is_away_and_what_was_known(
    shell: Shell, own_server: Callable[..., EmbeddedServer]
) -> None:
    server = own_server()
    shell.environment["SCATTER_REDIS_URL"] = server.url
    assert shell.process("push", "--wait", "0").code == 0
    with shell.start("status", "--watch", "--json") as watching:
        assert read_json(watching)["unreachable"] is None
        server.stop()
        stale = read_json(watching)
        assert re.match(r"\d{4}-", stale["unreachable"]["since"])
        assert stale["unreachable"]["error"]
        assert {f["function"] for f in stale["functions"]} == set(RUNNING)
        watching.kill()
        finish(watching)


def test_watching_and_waiting_are_two_things(pushed: Shell) -> None:
    done = pushed("status", "--watch", "--wait")

    assert (done.code, done.out) == (2, "")
    assert "give one of the two" in done.err


# the thread -------------------------------------------------------------------------------


def test_what_can_no_longer_be_believed_is_said_and_reports_are_still_seen(
    pushed: Shell, releases: Releases
) -> None:
    store = releases.journal.store
    with pushed.start("status", "--watch", "--json") as watching:
        assert read_json(watching)["doubt"] is None
        store.link.run([("HSET", f"scatter:{{{store.namespace}}}:log", "2", "nonsense")])
        doubted = read_json(watching)
        assert doubted["doubt"]
        assert {f["function"] for f in doubted["functions"]} == set(RUNNING)
        report(releases, process(1, functions=RUNNING))
        assert [p["id"] for p in read_json(watching)["processes"]] == ["web-1"]
        watching.kill()
        finish(watching)


def test_a_fault_of_the_thread_is_shown_and_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scatter.cli.follow.LOOK_S", 0.01)
    releases = Releases(signed(MemoryStore("x")), author="ann")
    views: list[View] = []
    broken = threading.Event()
    broken.set()
    read = Reader.read

    def fragile(self: Reader, store: Any) -> list[ProcessReport]:
        if broken.is_set():
            raise RuntimeError("a fault of ours")
        return read(self, store)

    monkeypatch.setattr(Reader, "read", fragile)
    with Follower(releases, views.append) as follower:
        wait_until(lambda: views, "the fault")
        broken.clear()
        wait_until(lambda: views[-1].is_known, "a view")
        assert repr(follower) == "<Follower of x>"
    assert views[0].error == "RuntimeError('a fault of ours')"
    assert not views[0].is_known
    assert (views[-1].error, views[-1].failing_since) == ("", 0.0)
    follower.stop()


def test_looking_at_what_takes_long_leaves_most_of_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("scatter.cli.follow.LOOK_S", 0.01)
    releases = Releases(signed(MemoryStore("x")), author="ann")
    read = Reader.read
    looked = threading.Semaphore(0)

    def slow(self: Reader, store: Any) -> list[ProcessReport]:
        time.sleep(0.1)
        looked.release()
        return read(self, store)

    monkeypatch.setattr(Reader, "read", slow)
    with Follower(releases, lambda _: None):
        assert looked.acquire(timeout=20)
        began = time.monotonic()
        assert looked.acquire(timeout=20)
        assert time.monotonic() - began >= 1.0, "ten times what it took"


def test_a_report_that_has_not_changed_is_not_parsed_again() -> None:
    store, reader = MemoryStore("x"), Reader()
    one, other = process(1), process(2)
    for found in (one, other):
        store.write_report(found.id, write_report(found), 60.0)
    first = reader.read(store)
    store.write_report(other.id, write_report(replace(other, sequence=2)), 60.0)
    store.write_report("broken", b"{", 60.0)

    second = reader.read(store)

    assert [r.sequence for r in second] == [1, 2]
    assert second[0] is first[0]
    store.remove_report(one.id)
    assert [r.pid for r in reader.read(store)] == [2]


def test_the_doorbell_alone_wakes_it_for_releases_and_for_reports_of_who_was_seen(
    redis_url: str, namespace: str, releases: Releases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scatter.cli.follow.LOOK_S", 3600.0)
    report(releases, process(1, functions=RUNNING))
    store = RedisStore(redis_url, namespace)
    views: list[View] = []
    with Follower(Releases(signed(store), author="ann"), views.append):
        wait_until(lambda: views and views[-1].fleet.reports, "the process")
        report(releases, process(1, functions=RUNNING, state="stale"))
        wait_until(lambda: views[-1].fleet.reports[0].state == "stale", "its report")
        releases.renew()
        wait_until(lambda: views[-1].fleet.tip == 1, "the release")
    store.close()
