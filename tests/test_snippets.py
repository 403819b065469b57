"""Every piece of Python and every command on a page runs, in the order of the page.

A comment on the line before a block says what is not to be seen in it:

    <!-- file: NAME -->         it is written to NAME; what runs it comes later
    <!-- stays -->              its last command runs on, in a terminal of its own
    <!-- shown by N -->         N of those that stay have printed this since
    <!-- not run: REASON -->    it is not run; the reasons are counted below

What a page shows after a command must be in what it printed, line by line. What was measured may
differ, and `…` stands for anything. A command ends with 0, unless `# exits N` stands behind it.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml
from pages import PAGES, Block, all_blocks, name_of
from support import ROOT, wait_until

from scatter.server import EmbeddedServer, ping

QUEUES = "arq celery dramatiq huey jupyter lambda multiprocessing rq".split()
ELSEWHERE = {
    "docs/how-to/acl.md": "tests/test_acl_page.py",
    "docs/how-to/trust.md": "tests/trust/test_trust_page.py",
    **dict.fromkeys(
        [f"docs/integrations/{name}.md" for name in QUEUES],
        "tests/integrations/test_queue_pages.py",
    ),
    "docs/integrations/*.md": "tests/integrations/test_web_docs.py",
}
"""Pages whose blocks a test of their own runs; the first pattern that fits counts."""

NOT_RUN = {
    "the tutorial runs the same": 2,
    "it sets up a machine": 3,
    "a list of commands, each parsed": 6,
    "tried by tests/test_cli.py": 1,
    "tried by tests/test_mirror.py": 1,
    "tried by tests/test_systemd.py": 1,
    "tried by tests/integrations/test_run.py": 2,
}
"""Reason → how many blocks may give it. One more is a decision, and one less is too."""


def elsewhere(page: Path) -> str | None:
    """Return the test that runs a page; None if it is this one."""
    return next((t for name, t in ELSEWHERE.items() if fnmatch(name_of(page), name)), None)


def reason_of(block: Block) -> str | None:
    """Return why a block is not run; None if it is."""
    generated = name_of(block.page) in ("docs/reference/cli.md", "docs/reference/agent-cli.md")
    if generated and block.language == "console":
        return "help of a command"
    return block.note.partition("not run: ")[2] or None


def runs(block: Block) -> bool:
    return block.language in ("python", "console") and reason_of(block) is None


HERE = [page for page in PAGES if not elsewhere(page)]


# what is not run ---------------------------------------------------------------------------


def test_what_is_not_run_is_counted() -> None:
    found = [
        reason_of(b) for p in HERE for b in all_blocks(p) if b.language in ("python", "console")
    ]
    counted = Counter(reason for reason in found if reason not in (None, "help of a command"))

    assert counted == NOT_RUN


@pytest.mark.parametrize("reason", [r for r in NOT_RUN if r.startswith("tried by ")])
def test_a_test_that_is_named_as_a_reason_is_there(reason: str) -> None:
    assert (ROOT / reason.removeprefix("tried by ")).is_file()


@pytest.mark.parametrize("page", [p for p in PAGES if elsewhere(p)], ids=name_of)
def test_a_page_that_runs_elsewhere_is_named_there(page: Path) -> None:
    test = (ROOT / str(elsewhere(page))).read_text("utf-8")

    assert f'"{page.stem}"' in test or f'"{page.name}"' in test


def test_every_comment_before_a_block_is_one_that_means_something() -> None:
    for page in PAGES:
        for block in all_blocks(page):
            assert re.fullmatch(r"|file: \S+|stays|shown by \d|not run: .+", block.note), (
                block.place
            )


# what is run -------------------------------------------------------------------------------


class Shell:
    """One bash for a page: what is exported and where one is stays from block to block."""

    MARK = "--- done:"

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.runtime = Path(environment["XDG_RUNTIME_DIR"])
        self._bash = subprocess.Popen(
            ["bash"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._staying: dict[Path, int] = {}  # what it prints → how much of it was looked at

    def run(self, command: str) -> tuple[int, str]:
        """Return (exit status, output) of a command."""
        assert self._bash.stdin is not None
        assert self._bash.stdout is not None
        self._bash.stdin.write(f"{command}\necho '{self.MARK}' $?\n")
        self._bash.stdin.flush()
        shown: list[str] = []
        for line in self._bash.stdout:
            before, mark, status = line.partition(self.MARK)
            shown.append(before)
            if mark:
                return int(status), "".join(shown)
        raise AssertionError(f"the shell ended in `{command}`:\n{''.join(shown)}")

    def begin(self, block: Block, command: str, shown: list[str]) -> None:
        """Start what stays until the end of the page."""
        file = self.folder.parent / f"stays-{block.number}"
        file.touch()
        self.run(f"{command} >{file} 2>&1 </dev/null &")
        self._staying[file] = 0
        self._wait(block, [file], 1, shown)

    def wait(self, block: Block) -> None:
        """Wait until as many of those that stay have shown something as the page says."""
        lines = block.text.splitlines()
        self._wait(block, list(self._staying), int(block.note.rpartition(" ")[2]), lines)

    def _wait(self, block: Block, files: list[Path], number: int, lines: list[str]) -> None:
        def found() -> list[Path]:
            return [f for f in files if shows(self._since(f), lines) is None]

        try:
            wait_until(lambda: len(found()) >= number, f"what {block.place} shows")
        except AssertionError as error:
            printed = "\n".join(f"{f.name}:\n{self._since(f)}" for f in files)
            raise AssertionError(f"{error}\n{block.text}\nprinted was\n{printed}") from error
        for file in found():
            self._staying[file] = file.stat().st_size

    def _since(self, file: Path) -> str:
        return file.read_bytes()[self._staying[file] :].decode("utf-8", "replace")

    def close(self) -> None:
        """End everything that the page began."""
        assert self._bash.stdin is not None
        assert self._bash.stdout is not None
        self._bash.stdin.close()
        os.killpg(self._bash.pid, signal.SIGTERM)
        self._bash.wait(timeout=20)
        self._bash.stdout.close()


def shows(output: str, lines: list[str]) -> str | None:
    """Return the first line that is not in an output, after those before it; None if all are."""
    rest = [" ".join(line.split()) for line in output.splitlines()]
    for line in filter(str.strip, lines):
        wanted = re.compile(pattern(line))
        while rest and not wanted.search(rest[0]):
            rest.pop(0)
        if not rest:
            return line
        rest.pop(0)
    return None


def pattern(line: str) -> str:
    """Return what a shown line may look like: other times, and anything for `…`."""
    text = re.escape(" ".join(line.split())).replace("…", ".*")
    return re.sub(r"\d+((,|\\\.)\d+)*(?=\\ (ms|s|B|KiB)\b)", r"\\d[\\d.,]*", text)


def steps(block: Block) -> list[tuple[str, list[str]]]:
    """Return (command, lines shown after it) of a console block."""
    text = block.text.replace("\\\n", " ")
    if not re.search(r"^\$ ", text, re.M):
        return [(line, []) for line in text.splitlines() if line.strip()]
    found: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            assert found, f"{block.place} begins with an output"
            found[-1][1].append(line)
    return found


def checked(text: str) -> str:
    """Make `expression  # 2` a check of what the page says."""
    return re.sub(r"^(\S.*?)  # (\d+)$", r"assert (\1) == \2, \1", text, flags=re.M)


def run_console(shell: Shell, block: Block) -> None:
    found = steps(block)
    if block.note == "stays":
        command, shown = found.pop()
        shell.begin(block, command, shown)
    for command, shown in found:
        status, output = shell.run(command)
        match = re.search(r"# exits (\d+)$", command)
        assert status == int(match[1] if match else 0), f"{block.place}: {command}\n{output}"
        missing = shows(output, shown)
        assert missing is None, f"{block.place}: {command}\nshows no {missing!r}:\n{output}"


def run_python(shell: Shell, block: Block) -> None:
    match = re.match(r"# (\w+\.py)\b", block.text)
    file = shell.folder / (match[1] if match else f"block_{block.number}.py")
    file.write_text(checked(block.text), "utf-8")
    status, output = shell.run(f"{sys.executable} -W error {file.name}")
    assert status == 0, f"{block.place}:\n{block.text}\n{output}"


@pytest.fixture
def shell(tmp_path: Path, namespace: str, redis_server: EmbeddedServer) -> Iterator[Shell]:
    """A project folder, an own home, and a server that a page finds without a word."""
    programs, folder = tmp_path / "bin", tmp_path / "project"
    folder.mkdir()
    programs.mkdir()
    called = {"scatter": "-m scatter", "scatter-agent": "-m scatter_agent", "python": ""}
    for name, arguments in called.items():
        (programs / name).write_text(f'#!/bin/sh\nexec {sys.executable} {arguments} "$@"\n')
        (programs / name).chmod(0o755)
    with tempfile.TemporaryDirectory(prefix="sp-") as runtime:
        made = Shell(
            folder,
            os.environ
            | {
                "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
                "PYTHONPATH": str(folder),
                "XDG_RUNTIME_DIR": runtime,
                "XDG_DATA_HOME": str(tmp_path / "data"),
                "SCATTER_REDIS_URL": redis_server.url,
                "SCATTER_NAMESPACE": namespace,
                "GIT_CONFIG_GLOBAL": os.devnull,
                "GIT_AUTHOR_NAME": "Ann",
                "GIT_AUTHOR_EMAIL": "ann@example.org",
                "GIT_COMMITTER_NAME": "Ann",
                "GIT_COMMITTER_EMAIL": "ann@example.org",
            },
        )
        try:
            yield made
        finally:
            made.close()


@pytest.mark.parametrize(
    "page", [p for p in HERE if any(runs(b) for b in all_blocks(p))], ids=name_of
)
def test_what_a_page_shows_happens(page: Path, shell: Shell) -> None:
    text = page.read_text("utf-8")
    if "local://" in text and "$ scatter server\n" not in text:
        shell.run("scatter server >/dev/null 2>&1 &")  # one that was started by itself would stay
        wait_until(lambda: ping(shell.runtime / "scatter" / "server.sock"), "the server")
    for block in all_blocks(page):
        if block.note.startswith("file: "):
            file = shell.folder / block.note.removeprefix("file: ")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.text, "utf-8")
        elif runs(block):
            (run_python if block.language == "python" else run_console)(shell, block)
        elif block.note.startswith("shown by "):
            shell.wait(block)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_settings_on_a_page_can_be_read(page: Path) -> None:
    readers = {"toml": tomllib.loads, "yaml": yaml.safe_load, "json": json.loads}
    for block in all_blocks(page):
        if block.language in readers:
            readers[block.language](block.text)
