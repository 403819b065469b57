"""The administrator's file: one for all of `scatter-agent`, with flags and variables over it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from scatter_agent.commands.app import cli
from scatter_agent.commands.options import _FLAGS
from scatter_agent.settings import CREDENTIALS, FILE, KEYS, VARIABLES, resolve_agent
from support import ROOT

from scatter.config import _ENVIRONMENT
from scatter.errors import UsageError


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


@pytest.fixture
def check(tmp_path: Path) -> Callable[..., Done]:
    """Run `scatter-agent check` with this text as its file."""

    def run(text: str, *flags: str, mode: int = 0o600, **environment: str) -> Done:
        file = tmp_path / "agent.toml"
        file.write_text(text)
        file.chmod(mode)
        done = subprocess.run(
            [sys.executable, "-m", "scatter_agent", "check", "--config", str(file), *flags],
            cwd=tmp_path,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr.replace(str(file), "FILE"))

    return run


def shown(done: Done) -> dict[str, tuple[str, str]]:
    assert done.code == 0, done.err
    return {row["name"]: (row["value"], row["from"]) for row in json.loads(done.out)["settings"]}


# layers -----------------------------------------------------------------------------------


def test_a_flag_goes_over_the_environment_that_over_the_file_that_over_the_project(
    check: Callable[..., Done], tmp_path: Path
) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[tool.scatter]\nnamespace = "project"\ntrack = ["p"]\ncache = "p"\nlabels = ["p=1"]\n'
    )
    text = 'namespace = "file"\n\ntrack = ["f.*", "g"]\ncache = "f"\n'
    done = check(text, "-n", "flag", "--json", SCATTER_NAMESPACE="e", SCATTER_TRACK="e")
    found = shown(done)
    file = tmp_path / "agent.toml"
    assert found["namespace"] == ("flag", "argument")
    assert found["track"] == ("e", "environment SCATTER_TRACK")
    assert found["cache"] == ("f", f"{file}:4")
    assert found["labels"] == ("p=1", str(tmp_path / "pyproject.toml"))
    assert found["application"] == ("", "default")
    assert found["directory"] == ("/var/lib/scatter", "default")


VALUES = {"redis_url": "redis://h", "labels": "a=b"}


@pytest.mark.parametrize("key", KEYS)
def test_every_key_is_a_line_of_the_file_a_flag_and_a_variable(
    key: str, check: Callable[..., Done], tmp_path: Path
) -> None:
    value = VALUES.get(key, "x")
    given = tmp_path / "x"
    given.write_text("x\n")
    if key in ("redis_password_file", "allowed_signers", "revoked_keys", "policy"):
        value = str(given)
    line = f'# a comment\n{key} = "{value}"\n'
    flag = next(name for name in _FLAGS[key][0] if name.startswith("--"))
    variable = (VARIABLES | _ENVIRONMENT)[key][0]
    assert shown(check(line, "--json"))[key] == (value, f"{tmp_path / 'agent.toml'}:2")
    assert shown(check("", flag, value, "--json"))[key] == (value, "argument")
    assert shown(check("", "--json", **{variable: value}))[key] == (
        value,
        f"environment {variable}",
    )


def test_every_key_has_a_flag_and_run_has_all_that_are_no_mirrors() -> None:
    assert set(_FLAGS) == set(KEYS)
    run = cli.get_command(click.Context(cli), "run")
    assert run is not None
    names = {parameter.name for parameter in run.params} - {"command", "config"}
    assert names == set(KEYS) - {"namespaces", "directory"}


def test_every_key_of_this_side_is_on_the_page_with_its_variables() -> None:
    page = (ROOT / "docs" / "reference" / "settings.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \| ([^|]*) \| [^|]* \|$", page, re.M)
    listed = {key: tuple(re.findall(r"`(\w+)`", cell)) for key, cell in rows}
    assert listed == VARIABLES


def test_the_file_on_the_page_is_a_good_one(check: Callable[..., Done], tmp_path: Path) -> None:
    page = (ROOT / "docs" / "reference" / "settings.md").read_text("utf-8")
    (text,) = re.findall(r"^```toml\n(redis_url.*?)^```", page, re.M | re.S)
    (tmp_path / "scatter").mkdir()
    for name in ("redis-password", "allowed_signers"):
        (tmp_path / "scatter" / name).write_text("x\n")
    found = shown(check(text.replace("/etc", str(tmp_path)), "--json"))
    assert found["namespaces"][0] == "shop, billing"
    assert {name for name, (_, origin) in found.items() if "agent.toml" in origin} == {
        *("redis_url", "redis_password_file", "namespaces", "track", "allowed_signers", "labels")
    }


def test_credentials_of_the_unit_go_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in CREDENTIALS.values():
        (tmp_path / name).write_text("x\n")
    (tmp_path / "agent.toml").write_text('redis_password_file = "/elsewhere"\n')
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    found = resolve_agent(config=tmp_path / "agent.toml")
    assert found.common.redis_password_file == str(tmp_path / "scatter.redis-password")
    assert found.common.origins["redis_password_file"] == "credential scatter.redis-password"
    assert found.allowed_signers == (str(tmp_path / "scatter.allowed-signers"),)
    assert found.environment() == {
        "SCATTER_REDIS_PASSWORD_FILE": str(tmp_path / "scatter.redis-password"),
        "SCATTER_ALLOWED_SIGNERS": str(tmp_path / "scatter.allowed-signers"),
        "SCATTER_REVOKED_KEYS": str(tmp_path / "scatter.revoked-keys"),
    }


def test_the_variable_names_the_file_and_the_usual_one_may_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert resolve_agent().file == (FILE if FILE.exists() else None)
    monkeypatch.setenv("SCATTER_CONFIG", str(tmp_path / "none.toml"))
    with pytest.raises(UsageError, match=r"none\.toml: expected the settings of scatter-agent, fo"):
        resolve_agent()


# people read it ---------------------------------------------------------------------------


def test_passwords_are_hidden(check: Callable[..., Done]) -> None:
    done = check('redis_url = "redis://ann:hush@h:6379/0"\n')
    assert "hush" not in done.out + done.err
    assert re.search(r"^redis_url +redis://ann:\*\*\*@h:6379/0 +\S+agent\.toml:1$", done.out, re.M)


WRONG = {
    "no-toml": ('namespace = "a"\ntrack = [\n', "FILE:3: expected TOML: "),
    "misspelt": (
        '\nnamespcae = "a"\n',
        "namespcae (FILE:2): there is no such key. Did you mean namespace?",
    ),
    "unknown": (
        "colour = 1\n",
        "colour (FILE:1): there is no such key; expected one of redis_url, ",
    ),
    "not-here": (
        'trust = "off"\n',
        "trust (FILE:1): expected no such key in this file: it is set by flag or environment.",
    ),
    "labels": (
        'labels = ["a"]\n',
        "labels (FILE:1): expected a list of `key=value`, found ['a'].",
    ),
    "type": (
        "# no\ntrack = 3\n",
        "track (FILE:2): expected a list of patterns, found 3.",
    ),
    "own-type": ("policy = 3\n", "policy (FILE:1): expected a path, found 3."),
    "namespace": (
        'namespaces = ["a", "b c"]\n',
        "namespace (namespaces, FILE:1): expected 1 to 100 letters, digits, dots, dashes or "
        "underscores, found 'b c'.",
    ),
    "url": ('redis_url = "h:6379"\n', "redis_url (FILE:1): expected an address that begins with"),
    "table": ('\n[labels]\n"a b" = 1\n', "labels (FILE:2): expected a list of `key=value`"),
    "password-file": (
        'redis_password_file = "/nowhere"\n',
        "redis_password_file (FILE:1): The password file /nowhere cannot be read",
    ),
    "signers": (
        'allowed_signers = ["/nowhere"]\n',
        "allowed_signers (FILE:1): expected a file, found none at /nowhere.",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_errors_say_file_line_key_what_was_expected_and_what_was_found(
    case: str, check: Callable[..., Done]
) -> None:
    text, expected = WRONG[case]
    done = check(text)
    assert done.code == 2
    assert expected in done.err


def test_all_errors_are_said_at_once(check: Callable[..., Done]) -> None:
    done = check('track = 3\nnamespace = "a b"\nredis_pasword_file = "x"\npolicy = 7\n')
    assert (done.code, done.out) == (2, "")
    assert [line.rpartition("(FILE:")[2][:1] for line in done.err.splitlines()] == [*"1234"]


def test_a_password_in_a_file_that_everybody_can_read_is_a_warning(
    check: Callable[..., Done], tmp_path: Path
) -> None:
    text = 'redis_url = "redis://ann:hush@h:6379/0"\n'
    done = check(text, mode=0o644)
    assert done.code == 0
    assert "Warning: redis_url (FILE:1) has a password, and everybody can read FILE." in done.err
    assert "chmod 600 FILE" in done.err
    assert "hush" not in done.out + done.err
    assert check(text, mode=0o640).err == ""
    assert check("", mode=0o644, SCATTER_REDIS_URL="redis://ann:hush@h:6379/0").err == ""

    password = tmp_path / "password"
    password.write_text("hush\n")
    password.chmod(0o644)
    text = f'redis_password_file = "{password}"\n'
    done = check(text, mode=0o644)
    assert done.code == 0
    assert f"redis_password_file (FILE:1): everybody can read {password}." in done.err
    assert f"chmod o-rwx {password}" in done.err
    password.chmod(0o640)
    assert check(text, mode=0o644).err == ""


def test_run_says_so_too_and_runs_the_program(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text('redis_url = "redis://ann:hush@h:6379/0"\n')
    file.chmod(0o644)
    command = [sys.executable, "-m", "scatter_agent", "run", "--config", str(file), "--"]
    done = subprocess.run(
        [*command, "echo", "it runs"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "it runs\n")
    assert f"chmod 600 {file}" in done.stderr
    assert "hush" not in done.stderr


def test_a_file_that_others_can_write_is_refused(check: Callable[..., Done]) -> None:
    done = check("", mode=0o666)
    assert done.code == 2
    assert "decides whose code runs here, and others can write to it (mode 666)" in done.err
