"""The page on trust: its shell blocks run, in the order of the page, with plain OpenSSH."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from support import ROOT, needs_program
from trust.people import Files

from scatter.server import EmbeddedServer
from scatter.trust import allowed_signers, policy

PAGE = ROOT / "docs" / "how-to" / "trust.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text("utf-8"), re.S)


def test_the_shell_of_the_page_runs_in_its_order(
    tmp_path: Path, redis_server: EmbeddedServer
) -> None:
    needs_program("ssh-keygen", "openssh-client")
    needs_program("bash", "bash")
    (tmp_path / "pricing.py").write_text(
        "import scatter\n\n\n@scatter.track\ndef price(item):\n    return item\n"
    )
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("SCATTER_", "XDG_"))},
        "HOME": str(tmp_path),
        "SCATTER_REDIS_URL": f"{redis_server.url.partition('?')[0]}?db=7",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    script = "\n".join(["set -eu", "set -o pipefail", *blocks("sh")])
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout
    assert "Made a key to sign releases with" in done.stdout
    assert 'Good "scatter-release-v1:default" signature for' in done.stdout
    assert "refused: one signature is too few" in done.stdout
    assert "1 more is missing" in done.stdout
    assert "Enough have signed" in done.stdout
    assert "Release 1: pricing:price v1" in done.stdout
    assert "begins epoch 1 of the log" in done.stdout


def test_the_files_on_the_page_are_such_files() -> None:
    (signers,) = [b for b in blocks("text") if "namespaces=" in b]
    lines = allowed_signers.parse(signers, "page").lines
    assert [line.is_authority for line in lines] == [False, False, True]
    (text,) = blocks("toml")
    found = policy.parse(text, "page")
    assert found.rules[0].threshold == 2
    assert found.stale_after_s == 30 * 86400
    assert tomllib.loads(text)["admins"] == ["ann@*"]


@pytest.mark.parametrize("command", ["trust", "revoke"])
def test_a_command_that_the_page_shows_has_such_an_argument(command: str, files: Files) -> None:
    text = PAGE.read_text("utf-8")
    assert f"scatter keys {command} " in text
