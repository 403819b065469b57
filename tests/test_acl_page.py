"""The page on accounts is true: its commands run in their order, on a real server."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT, free_port

from scatter.server import EmbeddedServer
from scatter.store.acl import RIGHTS, ROLES
from scatter.store.redis import RedisStore

PAGE = (ROOT / "docs" / "how-to" / "acl.md").read_text("utf-8")
MARK = "--- scatter test ---"


def steps() -> list[tuple[str, list[str]]]:
    """Return (command, lines shown) of all console blocks."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"^```console\n(.*?)^```", PAGE, re.M | re.S):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return found


def test_the_table_has_every_role() -> None:
    assert re.findall(r"^\| `(\w+)` \|", PAGE, re.M) == list(ROLES) == list(RIGHTS)


def test_the_commands_of_the_page_do_what_it_says(tmp_path: Path, short_tmp: Path) -> None:
    if not (shutil.which("redis-cli") and shutil.which("openssl")):
        pytest.skip("redis-cli or openssl is not installed")
    port, programs = free_port(), tmp_path / "bin"
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "shop.py").write_text(
        "import scatter\n\n\n@scatter.track\ndef price(x):\n    return x\n"
    )
    (tmp_path / "admin.password").write_text("admin's")
    programs.mkdir()
    (programs / "scatter").write_text(f'#!/bin/sh\nexec {sys.executable} -m scatter "$@"\n')
    (programs / "scatter").chmod(0o755)
    with EmbeddedServer.start(
        short_tmp / "page", socket=short_tmp / "page.sock", port=port, append_only=False
    ) as server:
        found = run_all(tmp_path, programs, port)
        for (command, shown), output in zip(steps(), found, strict=True):
            for line in shown:
                assert as_here(line, port) in output, f"{command}\n{output}"
            assert shown or "Error" not in output, f"{command}\n{output}"
        admin = RedisStore(f"redis://admin:admin's@127.0.0.1:{port}/0", "shop")
        assert admin.read(0).tip == 2, "a push and a rollback; the deletion was refused"
        (accounts,) = admin.link.run([("ACL", "USERS")])
        assert set(accounts) == {
            b"admin",
            b"default",
            b"scatter-shop-agent",
            b"scatter-shop-pusher",
        }
        admin.close()
        assert server.running


def as_here(text: str, port: int) -> str:
    """Return a text of the page with the server of this test in place of the page's."""
    return text.replace("redis.internal:6379", f"127.0.0.1:{port}").replace(
        "-h redis.internal", f"-p {port}"
    )


def run_all(folder: Path, programs: Path, port: int) -> list[str]:
    """Run the page's commands in one shell; return what each printed."""
    script = "".join(f"{as_here(command, port)}\necho '{MARK}'\n" for command, _ in steps())
    done = subprocess.run(
        ["bash"],
        input=script,
        cwd=folder,
        env=os.environ | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=120,
    )
    return done.stdout.split(f"{MARK}\n")[:-1]
