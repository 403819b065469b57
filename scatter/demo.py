"""`scatter demo`: the whole system on this machine, in front of your eyes, in under 20 seconds.

An embedded server on a private socket, two worker processes of the example shop under the agent,
traffic against both, the watcher, and edits as an editor makes them. Everything lives in one
scratch folder and is gone at the end. Nothing is staged: the numbers are measured, and a step that
does not happen ends the demo with exit code 1.
"""

from __future__ import annotations

import difflib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from scatter.access import NO_ACCESS
from scatter.errors import ScatterError
from scatter.log import LazySigner

WORKERS = 2
STEP_TIMEOUT_S = 10.0
NAMESPACE = "demo"
Replacement = tuple[str, str]
EDIT = (
    "    total = unit_price(item) * quantity\n",
    "    total = unit_price(item) * quantity + 0.50\n",
)
HELPER_EDIT = ("    return round(amount, 2)\n", "    return round(amount * 1.10, 2)\n")
BAD_EDIT = (
    ("import scatter\n", "import scatter\nimport exchange_rates\n"),
    ("    asked += 1\n", "    asked += exchange_rates.today()\n"),
)


def run(*, keep: bool = False, say: Callable[[str], None] = print) -> None:
    """Run the demo.

    Args:
        keep: Stay until Ctrl-C, so that the user can edit the file.
        say: Prints one line.

    Raises:
        ScatterError: Something did not happen in time; the message says what.

    """
    with _ended_by_signals(), ExitStack() as stack:
        stage = _Stage(stack, say)
        stage.open()
        Story(stage).tell()
        if keep:
            _stay(stage)
        stage.report()


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Have SIGTERM and SIGHUP end the demo as Ctrl-C does, so that it leaves nothing behind.

    Only the main thread can, and what is ignored already (SIGHUP under `nohup`) stays ignored.
    """
    main = threading.current_thread() is threading.main_thread()
    numbers = (signal.SIGTERM, signal.SIGHUP) if main else ()
    ours = [number for number in numbers if signal.getsignal(number) == signal.SIG_DFL]

    def unwind(number: int, _frame: object) -> None:
        for each in ours:
            signal.signal(each, signal.SIG_IGN)  # a second one would cut the clearing up short
        sys.exit(128 + number)

    for number in ours:
        signal.signal(number, unwind)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _stay(stage: _Stage) -> None:
    """Let the user edit until Ctrl-C."""
    _lift(stage)
    stage.say("")
    stage.say(f"  Edit and save {stage.shop / 'pricing.py'}")
    stage.say(f"  and ask       curl '{stage.workers[0].url}'")
    stage.say("  End with Ctrl-C.")
    stage.quiet = False
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        stage.say("")


def _lift(stage: _Stage) -> None:
    """Release what the story rolled back to: a rollback holds against what is saved."""
    from scatter.client import Client
    from scatter.registry import Registry

    client = Client(stage.settings, registry=Registry(), signer=stage.signer)
    states = client.releases.functions().values()
    held = {state.function: state.version or 0 for state in states if state.rolled_back}
    if held:
        client.releases.release(held, message="lifts the hold of the rollback")
    client.close()


@dataclass
class Worker:
    """One worker process, and what its clients saw."""

    process: subprocess.Popen[str]
    url: str
    answered: int = 0
    failed: int = 0
    answer: Any = None
    answer_at: float = 0.0
    errors: list[str] = field(default_factory=list)


class _Stage:
    """The processes, threads and folder of one demo."""

    def __init__(self, stack: ExitStack, say: Callable[[str], None]) -> None:
        self._stack = stack
        self.say = say
        self.quiet = True
        self.workers: list[Worker] = []
        self.events: list[tuple[float, Any]] = []
        self._stop = threading.Event()
        self.signer = LazySigner(on_made=self._say_made)
        self.folder = Path(tempfile.mkdtemp(prefix="scatter-demo-"))
        stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.shop = self.folder / "shop"

    def open(self) -> None:
        """Start everything; whatever was started is ended by the exit stack, in reverse."""
        from scatter.config import resolve
        from scatter.server import EmbeddedServer

        login = asdict(NO_ACCESS)  # whatever is set is for another server
        self._keep_state_here()
        shutil.copytree(example_folder(), self.shop, ignore=shutil.ignore_patterns("__pycache__"))
        server = EmbeddedServer.start(self.folder / "data", socket=self.folder / "redis.sock")
        self._stack.callback(server.stop)
        self.settings = resolve(redis_url=server.url, namespace=NAMESPACE, author="you", **login)
        self.say(f"  server      an embedded one, on {server.url.partition('?')[0]}")
        self.signer.keyring  # noqa: B018 - makes the first key, and says so
        for _ in range(WORKERS):
            self._start_worker()
        pids = ", ".join(str(worker.process.pid) for worker in self.workers)
        self.say(f"  workers     {WORKERS} processes of examples/shop (pid {pids})")
        self._start_thread(self._watch)
        for worker in self.workers:
            self._start_thread(self._ask, worker)
        self._stack.callback(self._stop.set)
        self.until(lambda: all(w.answer is not None for w in self.workers), "the first answers")
        self.until(lambda: self.event("Started") is not None, "the watcher")

    def _keep_state_here(self) -> None:
        """Keep positions with the demo: its server will be gone."""
        before = os.environ.get("SCATTER_STATE")
        os.environ["SCATTER_STATE"] = str(self.folder / "state")
        if before is None:
            self._stack.callback(os.environ.pop, "SCATTER_STATE", None)
        else:
            self._stack.callback(os.environ.__setitem__, "SCATTER_STATE", before)

    def _say_made(self, own: Any) -> None:
        self.say(f"  key         made to sign releases with: {own.path}")

    def _start_worker(self) -> None:
        from scatter.server import death_with_parent, end

        environment = os.environ | {f"SCATTER_{name.upper()}": "" for name in asdict(NO_ACCESS)}
        environment |= {
            "SCATTER_REDIS_URL": self.settings.redis_url,
            "SCATTER_NAMESPACE": NAMESPACE,
        }
        process = subprocess.Popen(
            [sys.executable, "app.py", "--port", "0"],
            cwd=self.shop,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=death_with_parent(),  # noqa: PLW1509 - one system call, no lock
        )
        assert process.stdout is not None
        self._stack.callback(process.stdout.close)
        self._stack.callback(end, process)
        line = process.stdout.readline()
        if not line:
            raise ScatterError("A worker of the demo ended at once; its error is above.")
        port = json.loads(line)["port"]
        url = f"http://127.0.0.1:{port}/price?item=coffee&quantity=3"
        self.workers.append(Worker(process=process, url=url))

    def _start_thread(self, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        thread.start()
        self._stack.callback(thread.join, 3.0)
        self._stack.callback(self._stop.set)

    def _watch(self) -> None:
        from scatter.client import Client
        from scatter.registry import Registry
        from scatter.watch import watch
        from scatter.watch.ask import asker
        from scatter.watch.text import Text

        text = Text()

        def on_event(event: Any) -> None:
            self.events.append((time.monotonic(), event))
            if not self.quiet:
                for line in text.lines(event):
                    self.say(f"  {line}")

        client = Client(self.settings, registry=Registry(), signer=self.signer)
        watch(
            [self.shop],
            releases=client.releases,
            on_event=on_event,
            stop_event=self._stop,
            ask=asker(self.settings),
        )
        client.close()

    def _ask(self, worker: Worker) -> None:
        """Be a client of one worker: ask, and ask again."""
        while not self._stop.is_set():
            try:
                with urllib.request.urlopen(worker.url, timeout=5) as response:  # noqa: S310 - a worker of ours
                    answer = json.load(response)
            except Exception as error:
                worker.failed += not self._stop.is_set()
                worker.errors.append(repr(error))
                continue
            worker.answered += 1
            if answer["total"] != worker.answer:
                worker.answer_at = time.monotonic()
                worker.answer = answer["total"]
            time.sleep(0.0005)  # leave the workers some of the machine

    # what the story asks for ---------------------------------------------------------------

    def event(self, kind: str, since: float = 0.0) -> Any:
        """Return the first event of a kind after a moment; None if there was none."""
        found = (e for at, e in self.events if at >= since and type(e).__name__ == kind)
        return next(found, None)

    def until(self, done: Callable[[], bool], what: str) -> None:
        """Wait until something is so.

        Raises:
            ScatterError: It did not come about in time.

        """
        deadline = time.monotonic() + STEP_TIMEOUT_S
        while not done():
            if time.monotonic() > deadline:
                raise ScatterError(f"The demo waited {STEP_TIMEOUT_S:.0f} s for {what} in vain.")
            time.sleep(0.002)

    def save(self, name: str, *replacements: Replacement) -> float:
        """Replace text in a file as editors do, by a new file that is renamed; return when."""
        file = self.shop / name
        text = file.read_text("utf-8")
        for old, new in replacements:
            if old not in text:
                raise ScatterError(f"The demo expected {old!r} in {file}.")
            text = text.replace(old, new)
        fresh = file.with_suffix(".tmp")
        fresh.write_text(text, "utf-8")
        at = time.monotonic()
        fresh.replace(file)
        return at

    def report(self) -> None:
        """Say how the traffic went."""
        answered = sum(worker.answered for worker in self.workers)
        failed = sum(worker.failed for worker in self.workers)
        self.say("")
        self.say(f"  {answered:,} requests answered meanwhile, {failed} failed.")
        if failed:
            raise ScatterError(self.workers[0].errors[0] if self.workers[0].errors else "failed")


class Story:
    """The steps of the demo, each shown when it has really happened."""

    def __init__(self, stage: _Stage) -> None:
        """Tell it on a stage."""
        self._stage = stage
        self._steps = itertools.count(1)

    def tell(self) -> None:
        """Tell the whole story."""
        stage = self._stage
        stage.say(f"  traffic     3 coffees cost {_money(stage.workers[0].answer)}")
        self._edit("a changed line", EDIT)
        self._edit("a changed helper of the same function", HELPER_EDIT)
        self._syntax_error()
        self._refused()
        self._rollback()

    def _title(self, text: str) -> None:
        self._stage.say("")
        self._stage.say(f"{next(self._steps)}. {text}")

    def _edit(self, what: str, edit: Replacement) -> None:
        """Save an edit, and wait until both processes answer with it."""
        stage = self._stage
        self._title(f"Save pricing.py: {what}")
        self._show(edit)
        before = [worker.answer for worker in stage.workers]
        at = stage.save("pricing.py", edit)
        stage.until(lambda: stage.event("Acknowledged", at) is not None, "the acknowledgement")
        self._changed(before)
        done = stage.event("Acknowledged", at)
        last = max(worker.answer_at for worker in stage.workers)
        versions = ", ".join(f"{f.name} v{f.version}" for f in done.pushed.functions)
        stage.say(
            f"  {versions} → {done.applied}/{done.total} processes "
            f"in {done.elapsed_s * 1000:.0f} ms"
        )
        stage.say(
            f"  3 coffees cost {_money(stage.workers[0].answer)} in both, "
            f"{(last - at) * 1000:.0f} ms after the save"
        )

    def _show(self, *edit: Replacement) -> None:
        for old, new in edit:
            for line in difflib.ndiff(old.splitlines(), new.splitlines()):
                if line[:2] in ("- ", "+ "):
                    self._stage.say(f"  {line[:2]}{line[2:].strip()}")

    def _changed(self, before: list[Any]) -> None:
        workers = self._stage.workers
        self._stage.until(
            lambda: all(w.answer != b for w, b in zip(workers, before, strict=True)),
            "new answers from both workers",
        )

    def _syntax_error(self) -> None:
        """Save something that is no Python: nothing leaves the machine."""
        stage = self._stage
        self._title("Save a syntax error")
        at = stage.save("pricing.py", ("def price(", "def price(("))
        stage.until(lambda: stage.event("Problem", at) is not None, "the watcher's complaint")
        problem = stage.event("Problem", at)
        stage.say(f"  {problem.file}:{problem.line}: {problem.message}; nothing pushed")
        at = stage.save("pricing.py", ("def price((", "def price("))
        stage.until(lambda: stage.event("Mended", at) is not None, "the mended file")

    def _refused(self) -> None:
        """Save code that no worker can run: both refuse it and go on with what they have."""
        stage = self._stage
        self._title("Save code that needs a package which the workers do not have")
        self._show(*BAD_EDIT)
        before = [worker.answer for worker in stage.workers]
        at = stage.save("pricing.py", *BAD_EDIT)
        stage.until(lambda: stage.event("Acknowledged", at) is not None, "the refusals")
        done = stage.event("Acknowledged", at)
        for processes, why in done.refused:
            stage.say(f"  refused by {' and '.join(processes)}:")
            stage.say(textwrap.fill(why, 76, initial_indent="    ", subsequent_indent="    "))
        answered = [worker.answered for worker in stage.workers]
        stage.until(
            lambda: all(w.answered > a + 5 for w, a in zip(stage.workers, answered, strict=True)),
            "more answers",
        )
        refused = sum(len(processes) for processes, _ in done.refused)
        if [worker.answer for worker in stage.workers] != before or refused != WORKERS:
            raise ScatterError("The bad version should have been refused by both workers.")
        stage.say(f"  both still answer {_money(before[0])}")
        self._forget_bad_edit()

    def _forget_bad_edit(self) -> None:
        """Take the bad release back, so that the log shows good code as live."""
        stage = self._stage
        at = stage.save("pricing.py", *((new, old) for old, new in BAD_EDIT))
        stage.until(lambda: stage.event("Acknowledged", at) is not None, "the good code again")

    def _rollback(self) -> None:
        """Go back to the deployed code, everywhere."""
        from scatter.client import Client
        from scatter.registry import Registry

        stage = self._stage
        self._title("scatter rollback --to 0")
        before = [worker.answer for worker in stage.workers]
        at = time.monotonic()
        client = Client(stage.settings, registry=Registry(), signer=stage.signer)
        release = client.releases.rollback(to=0)
        self._changed(before)
        client.close()
        last = max(worker.answer_at for worker in stage.workers)
        assert release is not None
        stage.say(
            f"  release {release.sequence}: back to the deployed code; "
            f"3 coffees cost {_money(stage.workers[0].answer)} in both, "
            f"{(last - at) * 1000:.0f} ms later"
        )


def example_folder() -> Path:
    """Return the folder of the example shop: beside the package, or in the repository."""
    package = Path(__file__).parent
    for folder in (package / "examples" / "shop", package.parent / "examples" / "shop"):
        if folder.is_dir():
            return folder
    raise ScatterError(
        f"The demo's example is missing: expected {package / 'examples' / 'shop'}. "
        "Install scatter again."
    )


def _money(amount: Any) -> str:
    return f"{amount:.2f}"
