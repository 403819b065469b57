"""`scatter top`: what is on the screen and what keys do, by the pilot and on a terminal."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from inspect import signature
from typing import Any

import pytest
from shells import Shell
from support import ROOT, wait_until
from terminals import on_terminal
from test_fleet import process, refusal, state
from textual.pilot import Pilot

from scatter.analysis import ModuleSource
from scatter.bundle.build import build
from scatter.cli.follow import Follower, View
from scatter.cli.screen.actions import Actions
from scatter.cli.screen.app import Top
from scatter.cli.screen.rows import FUNCTIONS, Line, cut, widths
from scatter.client import Client
from scatter.config import Settings
from scatter.errors import Conflict, NotFound
from scatter.fleet import fleet_of
from scatter.model import ProcessReport
from scatter.registry import Registry
from scatter.releases import Candidate, Releases
from scatter.reports import write_report
from scatter.server import EmbeddedServer

NOW = datetime(2026, 11, 25, 12, 3, tzinfo=UTC)
NAMES = ["a", "b", "c"]
RUNNING = dict.fromkeys(NAMES, 2)


def seen(*reports: ProcessReport, names: list[str] = NAMES, **fields: Any) -> View:
    functions = {name: state(name, sequence=number) for number, name in enumerate(names, 1)}
    return View(fleet=fleet_of(functions, reports, 5), is_known=True, **fields)


class Fed:
    """Stands for who follows a fleet: the test says what is seen."""

    def __init__(self, view: View) -> None:
        self._first = view
        self.is_ended = False

    def __call__(self, tell: Callable[[View], object]) -> Fed:
        self.tell = tell
        return self

    def __enter__(self) -> None:
        self.tell(self._first)

    def __exit__(self, *_: object) -> None:
        self.is_ended = True


class Screen:
    """A screen that a test drives."""

    def __init__(self, pilot: Pilot[None], fed: Fed) -> None:
        self.pilot, self.fed, self.app = pilot, fed, pilot.app

    @property
    def lines(self) -> list[str]:
        strips = self.app.screen._compositor.render_strips()
        return ["".join(part.text for part in strip).rstrip() for strip in strips]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def rows(self, title: str) -> list[str]:
        """Return the rows of a table whose title begins so."""
        found = [n for n, line in enumerate(self.lines) if line[3:].startswith(title)]
        rest = self.lines[found[0] + 2 :]
        return rest[: rest.index("")]

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def until(self, text: str, *, gone: bool = False) -> str:
        """Wait until a text is there, or has gone."""
        deadline = time.monotonic() + 20
        while (text in self.text) == gone:
            assert time.monotonic() < deadline, f"in vain for {text!r}:\n{self.text}"
            await self.pilot.pause(0.01)
        return self.text


@asynccontextmanager
async def screen(
    view: View, actions: Any = None, *, size: tuple[int, int] = (80, 24)
) -> AsyncIterator[Screen]:
    fed = Fed(view)
    app = Top("scatter top: shop", fed, actions, now=lambda: NOW)
    async with app.run_test(size=size) as pilot:
        found = Screen(pilot, fed)
        await found.until(" at release " if view.fleet.reports else "scatter top")
        yield found
    assert fed.is_ended


def piloted(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Make a test of a coroutine; its fixtures are by keyword."""

    def run(**fixtures: Any) -> None:
        asyncio.run(test(**fixtures))

    run.__signature__ = signature(test)  # type: ignore[attr-defined]
    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


FLEET = seen(
    *[process(n, functions=RUNNING) for n in range(1, 10)],
    process(10, functions=RUNNING | {"a": 1}, refused=(refusal("a"),)),
    process(11, functions=RUNNING | {"b": 1}, sequence=1),
)


# what is on the screen --------------------------------------------------------------------


@piloted
async def test_functions_that_are_refused_or_behind_are_above_with_the_reason() -> None:
    async with screen(FLEET) as shown:
        assert "11 processes at release 5: 10 current, 1 behind, 1 with refusals" in shown.text
        rows = shown.rows("FUNCTIONS 3, trouble first")
        assert [row.split()[:2] for row in rows] == [["!", "a"], ["!", "b"], ["c", "v2"]]
        assert re.search(r"10/11 \(v1\) +1 refused +ann +3 min ago$", rows[0])
        assert re.search(r"10/11 \(v1\) +1 behind", rows[1])
        (refused, well) = shown.rows("PROCESSES OF a, those alike together")
        assert re.search(r"! +web:10 +v1 +refused +v2 missing-import: No\.$", refused)
        assert re.search(r"web:1 and 9 more +v2 +-$", well)
        assert shown.lines[-2].strip() == "v2 missing-import: No."


@piloted
async def test_it_fits_80_by_24_with_all_keys_of_the_last_line() -> None:
    async with screen(FLEET) as shown:
        await shown.until("q Quit")
        assert len(shown.lines) == 24
        for key in ("d Diff", "r Roll back", "l Log", "/ Filter", "s Sort", "? Keys", "q Quit"):
            assert key in shown.lines[-1]


@piloted
async def test_the_arrow_keys_show_the_processes_of_another_function() -> None:
    async with screen(FLEET) as shown:
        await shown.press("down")
        await shown.until("PROCESSES OF b")
        assert re.search(r"web:11 +v1 +behind +It lives and has not", shown.text)


@piloted
async def test_all_processes_and_each_of_them() -> None:
    async with screen(FLEET) as shown:
        await shown.press("p")
        rows = shown.rows("ALL PROCESSES, those alike together")
        assert [row.split()[1] for row in rows[:2]] == ["web:10", "web:11"]
        assert rows[2].split()[:4] == ["web:1", "and", "8", "more"]
        await shown.press("a")
        assert re.search(r"ALL PROCESSES$", shown.text, re.M)
        await shown.press("tab", "ctrl+end")
        await shown.until(" web:9 ")
        await shown.press("p")
        await shown.until("PROCESSES OF a")
        assert "PROCESSES OF a, those" not in shown.text


@piloted
async def test_a_change_is_shown_and_the_cursor_stays_on_its_function() -> None:
    async with screen(FLEET) as shown:
        await shown.press("down", "down")
        await shown.until("PROCESSES OF c")
        shown.fed.tell(seen(process(1, functions=RUNNING | {"c": 1}, refused=(refusal("c"),))))
        await shown.until("1 process at release 5: 1 current, 1 with refusals")
        assert shown.rows("FUNCTIONS")[0].split()[:2] == ["!", "c"]
        assert "PROCESSES OF c" in shown.text


@piloted
async def test_behind_a_text_to_read_the_screen_goes_on() -> None:
    async with screen(FLEET) as shown:
        await shown.press("question_mark")
        await shown.until("all there is to say of the row")
        shown.fed.tell(seen(process(1, functions=RUNNING)))
        await shown.until("1 process at release 5: 1 current")
        await shown.press("escape")
        await shown.until("all there is to say of the row", gone=True)


@piloted
async def test_a_store_that_is_away_leaves_the_last_state_marked_stale() -> None:
    async with screen(FLEET) as shown:
        since = NOW.timestamp() - 30
        shown.fed.tell(
            View(fleet=FLEET.fleet, is_known=True, error="Redis is gone.", failing_since=since)
        )
        text = " ".join((await shown.until("Redis is gone.")).split())
        assert "(30 s ago), trying again. This is the last known state. Redis is gone." in text
        assert shown.rows("FUNCTIONS")
        shown.fed.tell(FLEET)
        await shown.until("STALE", gone=True)


@piloted
async def test_before_anything_was_seen_it_says_what_it_waits_for() -> None:
    async with screen(View()) as shown:
        await shown.until("Asking…")
        shown.fed.tell(View(error="Nobody answers.", failing_since=NOW.timestamp()))
        text = await shown.until("Nobody answers.")
        assert "Nothing is known yet; trying since" in text
        shown.fed.tell(seen())
        await shown.until("No process has reported.")


@piloted
async def test_nothing_that_was_reported_is_markup_or_steers_the_terminal() -> None:
    name = "[red]x[/red]"
    hostile = process(
        1,
        host="[b]h\x1b[2J",
        application="\x1b]0;owned\x07",
        functions={name: 1},
        state="bad\rstate",
        reason="[link=http://evil]\x1b]52;c;AAAA\x07\nno",
        sequence=1,
        labels={"[u]zone": "\x9b2J"},
    )
    async with screen(seen(hostile, names=[name])) as shown:
        assert all(c.isprintable() for line in shown.lines for c in line)
        await shown.press("p")
        await shown.until("[link=http://evil]")
        assert "[red]x[/red]" in shown.text
        assert all(c.isprintable() for line in shown.lines for c in line)
        await shown.press("tab", "enter")
        await shown.until("[u]zone")
        assert all(c.isprintable() for line in shown.lines for c in line)
        await shown.press("escape", "tab", "enter")
        await shown.until("runs v1")
        assert all(c.isprintable() for line in shown.lines for c in line)


@pytest.mark.parametrize("size", [(40, 12), (80, 24), (200, 60)])
def test_any_size_shows_the_first_rows(size: tuple[int, int]) -> None:
    async def look() -> None:
        async with screen(FLEET, size=size) as shown:
            assert any(re.match(r" ! +a ", line) for line in shown.lines)
            assert "PROCESSES OF a" in shown.text
            await shown.pilot.resize_terminal(100, 30)
            await shown.until("q Quit")

    asyncio.run(look())


@piloted
async def test_a_frame_with_a_thousand_processes_takes_a_moment_only() -> None:
    names = [f"m:f{number}" for number in range(40)]
    running = dict.fromkeys(names, 2)
    reports = [process(n, functions=running) for n in range(1000)]
    async with screen(seen(*reports, names=names)) as shown:
        await shown.press("p", "a")
        await shown.until(" web:0 ")
        late = process(1000, functions=running | {"m:f3": 1}, sequence=1)
        shown.fed.tell(seen(*reports, late, names=names))
        await shown.until("1001 processes at release 5")
        assert "web:1000" in shown.rows("ALL PROCESSES")[0]


# keys -------------------------------------------------------------------------------------


@piloted
async def test_a_filter_is_typed_kept_and_ended() -> None:
    async with screen(FLEET) as shown:
        await shown.press("slash", "B")
        await shown.until('FUNCTIONS 1 of 3 with "B"')
        assert [row.split()[1] for row in shown.rows("FUNCTIONS")] == ["b"]
        await shown.press("enter", "s")
        await shown.until('1 of 3 with "B", by name')
        await shown.press("escape")
        await shown.until("FUNCTIONS 3, by name")


@piloted
async def test_a_filter_that_nothing_has_leaves_nothing_and_no_function_to_act_on() -> None:
    async with screen(FLEET) as shown:
        await shown.press("slash", "z", "z", "enter")
        await shown.until("FUNCTIONS 0 of 3")
        await shown.press("d", "l", "r", "enter", "tab", "enter")
        await shown.press("escape")
        await shown.until("FUNCTIONS 3")


@piloted
async def test_sorting_goes_round() -> None:
    async with screen(FLEET) as shown:
        orders = []
        for _ in range(4):
            orders.append("".join(row[1:].replace("!", "").split()[0] for row in shown.rows("FUN")))
            await shown.press("s")
        assert orders == ["abc", "abc", "cba", "abc"]


@piloted
async def test_enter_says_all_of_a_function_and_of_a_process() -> None:
    async with screen(FLEET) as shown:
        await shown.press("enter")
        text = await shown.until("refused, runs v1: web:10")
        assert "a v2 by ann, 3 min ago, release 1" in text
        assert "v2 missing-import: No." in text
        await shown.press("escape", "tab", "enter")
        text = await shown.until("a v2 refused: missing-import, in web:10")
        assert "a v1" in text


@piloted
async def test_q_ends_it() -> None:
    async with screen(FLEET) as shown:
        await shown.press("q")
        assert not shown.app._running or shown.app._exit
    assert shown.app.return_code == 0


# what keys ask the log for ----------------------------------------------------------------


@pytest.fixture
def log(namespace: str) -> Iterator[tuple[Releases, Actions]]:
    """A log in which `m:f` has three versions, and what acts on it."""
    settings = Settings(redis_url=f"memory://{namespace}", namespace=namespace, author="ann")
    client = Client(settings, registry=Registry())
    other = Client(settings, registry=Registry())
    for number in (1, 2, 3):
        push(client.releases, f"def f():\n    return {number}\n")
    yield client.releases, Actions(other)
    client.close()
    other.close()


def push(releases: Releases, text: str) -> None:
    source = ModuleSource(f"import scatter\n\n@scatter.track\n{text}", name="m")
    made = build(source, "f").bundle
    releases.push([Candidate(bundle=made)], force=True)


def view_of(releases: Releases) -> View:
    functions = releases.functions()
    reports = [process(1, sequence=3, functions={"m:f": 3})]
    return View(fleet=fleet_of(functions, reports, 3), is_known=True)


@piloted
async def test_d_shows_what_the_live_version_changed(log: tuple[Releases, Actions]) -> None:
    releases, actions = log
    async with screen(view_of(releases), actions) as shown:
        await shown.press("d")
        text = await shown.until("diff m:f")
        assert "-    return 2" in text
        assert "+    return 3" in text


@piloted
async def test_l_shows_the_versions(log: tuple[Releases, Actions]) -> None:
    releases, actions = log
    async with screen(view_of(releases), actions) as shown:
        await shown.press("l")
        text = await shown.until("log m:f")
        assert re.search(r"\* v3 +ann", text)
        assert re.search(r"  v1 +ann", text)


@piloted
async def test_a_rollback_asks_and_only_y_says_yes(log: tuple[Releases, Actions]) -> None:
    releases, actions = log
    async with screen(view_of(releases), actions) as shown:
        for key in ("n", "escape", "enter", "q"):
            await shown.press("r")
            text = " ".join((await shown.until("y yes")).replace("│", " ").split())
            assert "Roll m:f back to v2, everywhere? Live is v3 by ann, " in text
            await shown.press(key)
            await shown.until("Nothing was rolled back.")
            await shown.press("down")
        assert releases.functions()["m:f"].version == 3
        await shown.press("r")
        await shown.until("y yes")
        await shown.press("y")
        await shown.until("Release 4: m:f v2")
        assert releases.functions()["m:f"].version == 2


@piloted
async def test_a_function_that_somebody_released_meanwhile_is_not_rolled_back(
    log: tuple[Releases, Actions],
) -> None:
    releases, actions = log
    async with screen(view_of(releases), actions) as shown:
        await shown.press("r")
        await shown.until("y yes")
        push(releases, "def f():\n    return 4\n")
        await shown.press("y")
        text = " ".join((await shown.until("meanwhile")).replace("│", " ").split())
        assert "`m:f` v4 was released by ann meanwhile; nothing was rolled back." in text
        assert releases.functions()["m:f"].version == 4
        await shown.press("escape")
        await shown.press("r")
        await shown.until("back to v3")


@piloted
async def test_what_fails_is_shown_and_the_screen_stays() -> None:
    class Broken:
        def diff(self, _: str) -> list[str]:
            raise NotFound("There is [no] such\x1b[2J thing.", name="x")

        def log(self, _: str) -> list[str]:
            raise RuntimeError("a fault of ours")

    async with screen(FLEET, Broken()) as shown:
        await shown.press("d")
        text = await shown.until("No diff of a")
        assert "There is [no] such [2J thing." in text
        await shown.press("escape", "l")
        await shown.until("RuntimeError('a fault of ours')")
        await shown.press("escape")
        await shown.until("PROCESSES OF a")


@piloted
async def test_the_screen_goes_on_while_the_store_does_not_answer() -> None:
    answer = threading.Event()

    class Slow:
        def question(self, _: str) -> tuple[Any, str]:
            answer.wait(20)
            raise NotFound("Too late.", name="x")

    async with screen(FLEET, Slow()) as shown:
        await shown.press("r")
        await shown.until("Asking for the rollback of a…")
        await shown.press("r")
        await shown.until("The rollback before is not done yet.")
        await shown.press("s")
        await shown.until("by name")
        answer.set()
        await shown.until("Too late.")


def test_of_the_deployed_code_there_is_no_diff_and_nothing_to_go_back_to(
    log: tuple[Releases, Actions],
) -> None:
    releases, actions = log
    releases.release({"m:f": 0})

    with pytest.raises(NotFound, match="runs the deployed code"):
        actions.diff("m:f")
    seen_state, question = actions.question("m:f")
    assert question.startswith("Roll m:f back to v3, everywhere? Live is deployed by ann")
    releases.release({"m:f": 1})
    with pytest.raises(Conflict, match="released by ann meanwhile"):
        actions.rollback("m:f", seen_state)


def test_what_the_signer_has_to_say_is_said_once_with_what_was_done(
    log: tuple[Releases, Actions],
) -> None:
    releases, _ = log
    name = releases.journal.ledger.namespace
    settings = Settings(redis_url=f"memory://{name}", namespace=name, author="ann")
    actions = Actions(Client(settings, registry=Registry()), ["Made a key."])

    seen_state, _ = actions.question("m:f")
    assert actions.rollback("m:f", seen_state) == "Release 4: m:f v2. Made a key."
    seen_state, _ = actions.question("m:f")
    assert actions.rollback("m:f", seen_state) == "Release 5: m:f v3"


def test_a_colleagues_text_in_a_diff_or_log_cannot_steer_the_terminal(
    log: tuple[Releases, Actions],
) -> None:
    releases, actions = log
    push(releases, 'def f():\n    return "\x1b]0;owned\x07"\n')
    releases.release({"m:f": 1}, message="\x1b[2J\rback")
    releases.release({"m:f": 4})

    assert all(c.isprintable() for line in actions.diff("m:f") for c in line)
    assert all(c.isprintable() for line in actions.log("m:f") for c in line)


# widths -----------------------------------------------------------------------------------


def test_columns_are_narrowed_to_fit_and_names_keep_their_end() -> None:
    name = "package.module_of_some_length:Class.a_method_with_a_long_name"
    cells = ("!", name, "v2", "10/11 (v1)", "1 refused, 1 behind", "ann", "3 min ago")
    for room in (60, 80, 200):
        wide = widths(FUNCTIONS, [Line("k", cells)], room)
        assert sum(wide) + 2 * len(wide) <= room
    assert cut(name, 12, at_end=False) == "…a_long_name"
    assert cut("v2 missing-import: No.", 12) == "v2 missing-…"
    assert cut("short", 12) == "short"


# the command ------------------------------------------------------------------------------


def report(releases: Releases, *reports: ProcessReport) -> None:
    for one in reports:
        releases.journal.store.write_report(one.id, write_report(one), 60.0)


@pytest.fixture
def pushed(shell: Shell) -> Shell:
    """The terminal after `score` had two versions and `rank` one."""
    assert shell("push", "--wait", "0").code == 0
    shell.edit("RATE = 2", "RATE = 3")
    assert shell("push", "--wait", "0").code == 0
    return shell


def test_on_a_terminal_it_follows_the_fleet_and_rolls_back(
    pushed: Shell, releases: Releases
) -> None:
    running = {"pricing:score": 2, "pricing:rank": 1}
    with on_terminal(pushed, "top") as terminal:
        terminal.until("No process has reported.")
        report(releases, process(1, sequence=2, functions=running))
        terminal.until("1 process at release 2: 1 current")
        terminal.type("r")
        terminal.until("Roll pricing:score back to v1, everywhere?")
        terminal.type("y")
        terminal.until("1 process at release 3: 1 behind")
        assert releases.functions()["pricing:score"].version == 1
        assert re.search(r"^ ! +pricing:score +v1 +0/1 \(v2\) +1 behind", terminal.text, re.M)
        terminal.type("q")
        assert terminal.end() == 0
        assert b"\x1b[?1049l" in terminal.written
        assert b"\x1b[?25h" in terminal.written


@pytest.mark.parametrize("how", ["ctrl-c", "SIGTERM"])
def test_however_it_ends_the_terminal_is_left_as_it_was(pushed: Shell, how: str) -> None:
    with on_terminal(pushed, "top") as terminal:
        terminal.until("pricing:score")
        if how == "ctrl-c":
            terminal.type("\x03")
        else:
            terminal.process.terminate()
        assert terminal.end() == (130 if how == "ctrl-c" else 128 + signal.SIGTERM)
        assert b"\x1b[?1049l" in terminal.written
        assert b"\x1b[?25h" in terminal.written
        assert b"Traceback" not in terminal.written


def test_under_no_color_there_are_only_greys(pushed: Shell) -> None:
    with on_terminal(pushed, "top", NO_COLOR="1", COLORTERM="truecolor") as terminal:
        terminal.until("pricing:score")
        found = re.findall(rb"[34]8;2;(\d+);(\d+);(\d+)", terminal.written)
        assert all(len({*rgb}) == 1 for rgb in found)
        assert not re.search(rb"\x1b\[(3|4|9|10)[0-7]m", terminal.written)


def test_with_redis_down_the_last_state_stays_and_it_goes_on_trying(
    shell: Shell, own_server: Callable[..., EmbeddedServer]
) -> None:
    server = own_server()
    shell.environment["SCATTER_REDIS_URL"] = server.url
    assert shell.process("push", "--wait", "0").code == 0
    with on_terminal(shell, "top") as terminal:
        terminal.until("pricing:score")
        server.stop()
        terminal.until("STALE since")
        assert "pricing:score" in terminal.text
        terminal.type("d")
        terminal.until("No diff of pricing:")
        terminal.type("\x1b")
        own_server()
        terminal.until_not("STALE")
        terminal.type("q")
        assert terminal.end() == 0


def test_ctrl_z_gives_the_terminal_back_and_all_is_drawn_again(pushed: Shell) -> None:
    with on_terminal(pushed, "top") as terminal:
        terminal.until("pricing:score")
        terminal.type("\x1a")
        _, status = os.waitpid(terminal.process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        wait_until(lambda: b"\x1b[?1049l" in terminal.written, "the terminal back")
        before = len(terminal.written)

        terminal.process.send_signal(signal.SIGCONT)
        wait_until(lambda: b"Roll back" in terminal.written[before:], "what never changes, too")
        terminal.type("q")
        assert terminal.end() == 0


def test_without_textual_it_says_what_to_install(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scatter.cli.top.find_spec", lambda _: None)

    done = shell("top")

    assert (done.code, done.out) == (1, "")
    assert done.err == (
        "Error: scatter top needs the package textual: `pip install 'scatter[tui]'`, or `pip "
        "install textual`. Without it there is `scatter status --watch`.\n"
    )


def test_without_a_terminal_it_says_what_there_is(shell: Shell) -> None:
    done = shell.process("top")

    assert (done.code, done.out) == (2, "")
    assert "needs a terminal" in done.err
    assert "`scatter status --watch --json`" in done.err


def test_status_does_not_load_the_screen() -> None:
    modules = "scatter.cli.status, scatter.cli.watching, scatter.cli.top"
    script = f"import sys, {modules}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert "scatter.cli.top" in done.stdout.split()
    assert not {"textual", "rich"} & {*done.stdout.split()}


def test_a_follower_and_the_screen_end_together(log: tuple[Releases, Actions]) -> None:
    releases, actions = log

    async def run() -> None:
        app = Top("shop", lambda tell: Follower(releases, tell), actions)
        async with app.run_test() as pilot:
            shown = Screen(pilot, Fed(View()))
            await shown.until("m:f")

    asyncio.run(run())
    wait_until(lambda: "scatter-follower" not in {t.name for t in threading.enumerate()}, "its end")


# the picture ------------------------------------------------------------------------------


def test_the_picture_in_the_documents_is_what_its_generator_draws() -> None:
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        import generate_top
    finally:
        sys.path.remove(str(ROOT / "docs"))
    kept = generate_top.PICTURE.read_text("utf-8")
    drawn = asyncio.run(generate_top.draw())

    # its texts: colours and measures are textual's, and may change with it
    assert generate_top.text_of(kept) == generate_top.text_of(drawn), (
        "run: python docs/generate_top.py"
    )
    assert "pricing:score" in generate_top.text_of(kept)
    assert not re.search(r"(?:src|href|url)\W+https?:", kept), "nothing is loaded from elsewhere"
