"""Fixtures of the tests of trust: OpenSSH in a directory, a home of one's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from openssh import OpenSSH
from support import needs_program
from trust.people import Files

from scatter.trust import home


@pytest.fixture
def ssh(tmp_path: Path) -> OpenSSH:
    """OpenSSH's tools, in a directory of their own."""
    needs_program("ssh-keygen", "openssh-client")
    return OpenSSH(tmp_path)


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This user's directory for scatter; the machine has none."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(home, "MACHINE", tmp_path / "etc" / "scatter")
    return tmp_path / "config" / "scatter"


@pytest.fixture
def files(own_home: Path) -> Files:
    """The files that say whom this user trusts."""
    return Files(own_home)
