"""The documents tell the truth: generated pages, complete lists, commands and code that run."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import json
import os
import re
import shlex
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import click
import pytest
from pages import BESIDE, PAGES, REFERENCE, blocks, rows
from scatter_agent.commands.app import cli as agent_cli
from scatter_agent.plan import MAX_RETRY_S, RETRIED, RETRY_S
from scatter_agent.tell import tell
from support import ROOT

from scatter.cli.app import cli
from scatter.config import _ENVIRONMENT, SETTINGS
from scatter.doctor import CHECKS
from scatter.errors import ScatterError

SOURCES = sorted([*(ROOT / "scatter").rglob("*.py"), *(ROOT / "agent").rglob("*.py")])
CODE = re.compile(r"[a-z]+(-[a-z]+)*")


def load(file: Path) -> ModuleType:
    """Import a script that is no part of the package."""
    spec = importlib.util.spec_from_file_location(f"script_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def nodes() -> Iterator[tuple[Path, ast.AST]]:
    """Yield every node of the product's source."""
    for file in SOURCES:
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            yield file, node


def callee(node: ast.Call) -> str:
    """Return the last name of what is called."""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def constants(node: ast.AST | None) -> list[str]:
    """Return the texts that an expression can be, as far as it says."""
    if isinstance(node, ast.IfExp):
        return constants(node.body) + constants(node.orelse)
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    return []


def names_in(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


# pages that are made from the code --------------------------------------------------------


PROGRAMS = {"scatter": (cli, "cli.md"), "scatter-agent": (agent_cli, "agent-cli.md")}


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_command_line_reference_is_what_its_generator_gives(program: str) -> None:
    file = PROGRAMS[program][1]
    # in a process of its own: click keeps what the first caller of a command asked for
    script = "import json, generate_cli; print(json.dumps(generate_cli.pages()))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT / "docs",
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    page = json.loads(done.stdout)[file]

    assert (REFERENCE / file).read_text("utf-8") == page, "run: python docs/generate_cli.py"
    assert "\\b\n" not in page, "click's mark for examples, in a docstring that is raw"


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_command_line_reference_has_every_command_and_option(program: str) -> None:
    group, file = PROGRAMS[program]
    page = (REFERENCE / file).read_text("utf-8")
    top = click.Context(group)

    for name in group.list_commands(top):
        section = page.partition(f"## {program} {name}\n")[2].partition("\n## ")[0]
        command = group.get_command(top, name)
        assert command is not None
        for parameter in command.params:
            for option in parameter.opts if isinstance(parameter, click.Option) else ():
                assert option in section, f"{option} of {name}"


def test_every_exit_code_of_an_error_is_in_the_reference() -> None:
    codes = {
        int(names) for names in re.findall(r"^\| (\d) \|", (REFERENCE / "cli.md").read_text(), re.M)
    }
    raised, todo = set(), [ScatterError]
    while todo:
        error = todo.pop()
        raised.add(error.exit_code)
        todo += error.__subclasses__()

    assert codes == raised | {0}


# lists that are complete ------------------------------------------------------------------


def reasons_in_source() -> dict[str, list[str]]:
    """Return reason code → places that give it."""
    found: dict[str, list[str]] = defaultdict(list)
    for file, node in nodes():
        given: list[str] = []
        if isinstance(node, ast.Call) and callee(node) in ("Refused", "Untrusted"):
            given = constants(node.args[0] if node.args else None)
        elif isinstance(node, ast.Call) and callee(node) == "Refusal":
            given = [c for k in node.keywords if k.arg == "reason" for c in constants(k.value)]
        elif isinstance(node, ast.Call) and callee(node) == "_refuse":
            given = [c for argument in node.args for c in constants(argument)]
        elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "reason":
            given = constants(node.value)
        for reason in filter(CODE.fullmatch, given):
            found[reason].append(f"{file.relative_to(ROOT)}:{node.lineno}")  # type: ignore[attr-defined]
    return found


def test_every_reason_code_of_the_source_is_explained() -> None:
    explained = {name for row in rows(REFERENCE / "reasons.md") for name in names_in(row[0])}

    missing = {
        reason: where for reason, where in reasons_in_source().items() if reason not in explained
    }
    assert not missing, f"not in docs/reference/reasons.md: {missing}"


def test_every_explained_reason_code_is_given_somewhere() -> None:
    texts = {node.value for _, node in nodes() if isinstance(node, ast.Constant)}

    for row in rows(REFERENCE / "reasons.md"):
        for name in names_in(row[0]):
            assert name in texts, f"docs/reference/reasons.md explains {name}, which nothing gives"
        assert all(cell.strip() for cell in row), row


def test_the_reasons_that_are_tried_again_are_those_that_the_page_names() -> None:
    page = (REFERENCE / "reasons.md").read_text("utf-8")
    named, _, rest = page.partition("are tried again by themselves")
    pauses = [int(number) for number in re.findall(r"(\d+) s\b", rest.partition("\n\n")[0])]

    assert set(names_in(named.rpartition(" so ")[2])) == RETRIED
    assert pauses == [RETRY_S, 2 * RETRY_S, 4 * RETRY_S, MAX_RETRY_S]


def test_every_setting_is_in_the_table_with_its_variables() -> None:
    listed = {
        names_in(row[0])[0]: tuple(names_in(re.sub(r"\(.*?\)", "", row[1])))
        for row in rows(REFERENCE / "settings.md")
        if len(row) == 4
    }

    assert listed == _ENVIRONMENT
    assert set(listed) == set(SETTINGS)


def test_every_check_of_the_doctor_is_on_its_page_in_its_order() -> None:
    listed = [names_in(row[0])[0] for row in rows(REFERENCE / "doctor.md")]

    assert listed == [check.name for check in CHECKS]


LOGGING = {"debug", "info", "warning", "error", "exception", "level"}


def states() -> list[str]:
    """Return the states that an agent comes into; it begins in the first one, without an event."""
    for _, node in nodes():
        if isinstance(node, ast.Assign) and ast.unparse(node).startswith("State = Literal["):
            return [c for part in ast.walk(node.value) for c in constants(part)][1:]
    raise AssertionError("the agent's states are not where they were")


def fields_of(call: ast.Call, file: Path) -> set[str]:
    """Return the fields that a call gives an event, also those in a dictionary that it spreads."""
    fields = {k.arg for k in call.keywords if k.arg} - set(inspect.signature(tell).parameters)
    spread = {ast.unparse(k.value) for k in call.keywords if not k.arg}
    for node in ast.walk(ast.parse(file.read_text("utf-8"))) if spread else ():
        if isinstance(node, ast.AnnAssign) and node.value:
            node = ast.Assign([node.target], node.value)
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in spread:
            dicts = [part for part in ast.walk(node.value) if isinstance(part, ast.Dict)]
            fields |= {c for each in dicts for key in each.keys for c in constants(key)}
    return fields


def events_in_source() -> dict[str, tuple[set[str], set[str]]]:
    """Return event → (levels, fields)."""
    found: dict[str, tuple[set[str], set[str]]] = {}
    for file, node in nodes():
        if not isinstance(node, ast.Call) or callee(node) not in {"tell", *LOGGING}:
            continue
        level, arguments = callee(node), node.args
        if level == "tell":
            level, arguments = "".join(constants(arguments[0])) if arguments else "", arguments[1:]
        if not arguments:
            continue
        if ast.unparse(arguments[0]) == "f'scatter.{state}'":
            for state in states():
                quiet = "info" if state in ("ready", "stopped") else "warning"
                found[f"scatter.{state}"] = ({quiet}, fields_of(node, file))
        for event in filter(re.compile(r"scatter\.[a-z_]+").fullmatch, constants(arguments[0])):
            levels, fields = found.setdefault(event, (set(), set()))
            levels.add("error" if level == "exception" else level)
            fields |= fields_of(node, file)
    return found


def test_every_log_event_is_listed_with_its_level_and_fields() -> None:
    listed = {
        names_in(event)[0]: ({level}, set(names_in(fields)))
        for event, level, fields, _ in rows(REFERENCE / "events.md")
    }

    assert listed == events_in_source()


# links and commands -----------------------------------------------------------------------


@pytest.mark.parametrize("page", [*PAGES, *BESIDE], ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_points_at_a_file(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
    relative = [link for link in links if "://" not in link and not link.startswith("mailto:")]

    missing = [link for link in relative if not (page.parent / link).exists()]
    assert not missing, f"{page.relative_to(ROOT)} links to what does not exist: {missing}"


def parse(words: list[str], folder: Path, program: str = "scatter") -> None:
    """Have click parse a command line, every file that it names being there; run nothing."""
    group = PROGRAMS[program][0]
    context = click.Context(group, info_name=program, **group.context_settings)
    _, rest, _ = group.make_parser(context).parse_args(list(words))
    if rest:
        command = group.get_command(context, rest[0])
        assert command is not None
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            command.make_context(rest[0], rest[1:], parent=context)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The files that documents and messages speak of."""
    (tmp_path / "src").mkdir()
    for name in ("src/pricing.py", "pricing.py", "tasks.py", "work.py", "PATH", "FILE"):
        (tmp_path / name).touch()
    return tmp_path


def commands_of(block: str) -> Iterator[tuple[str, list[str]]]:
    """Yield our commands of a console block, without prompts, comments and results."""
    for line in block.replace("\\\n", " ").splitlines():
        command = re.sub(r"^\$ ", "", line)
        command = re.sub(r"^(\w+=\S+ )+", "", command)
        command = re.split(r"\s{2,}|\s#|\s\|\s", command)[0]
        match = re.match(r"(?:uv run |python -m )?(scatter(?:-agent)?) (.*)", command)
        if match:
            yield match[1], shlex.split(match[2])


@pytest.mark.parametrize("page", [*PAGES, *BESIDE], ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_on_a_page_parses(page: Path, project: Path) -> None:
    found = [found for block in blocks(page, "console") for found in commands_of(block)]

    assert found or "scatter " not in "".join(blocks(page, "console"))
    for program, words in found:
        try:
            parse(words, project, program)
        except click.exceptions.Exit:
            pass  # --help, --version
        except click.ClickException as error:
            pytest.fail(f"{page.name}: `{program} {shlex.join(words)}`: {error.format_message()}")


def advised() -> dict[str, str]:
    """Return command line → place, for each that a message of the product puts in backticks."""
    found: dict[str, str] = {}
    for file, node in nodes():
        if isinstance(node, ast.JoinedStr):
            text = "".join(
                part.value if isinstance(part, ast.Constant) else "score" for part in node.values
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
        else:
            continue
        for command in re.findall(r"`scatter ([^`]+)`", text):
            found[command.strip()] = f"{file.relative_to(ROOT)}:{node.lineno}"
    return found


def test_every_command_that_a_message_advises_can_be_typed(project: Path) -> None:
    wrong = {}
    found = advised()

    assert "status" in found
    for command, place in found.items():
        try:
            parse(shlex.split(command.replace("...", "")), project)
        except click.exceptions.Exit:
            pass
        except click.ClickException as error:
            wrong[f"scatter {command}"] = f"{place}: {error.format_message()}"
    assert not wrong, wrong


def test_dev_py_lists_its_commands() -> None:
    commands = load(ROOT / "dev.py").COMMANDS
    done = subprocess.run(
        [sys.executable, str(ROOT / "dev.py"), "--help"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0
    assert done.stderr == ""
    assert set(re.findall(r"dev\.py (\w+)", done.stdout)) == set(commands)


def test_dev_py_refuses_a_command_that_it_does_not_have() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "dev.py"), "deom"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 2
    assert "dev.py demo" in done.stdout


@pytest.mark.parametrize("page", [*PAGES, *BESIDE], ids=lambda page: str(page.relative_to(ROOT)))
def test_every_dev_py_command_on_a_page_exists(page: Path) -> None:
    found = re.findall(r"dev\.py (\w+)", page.read_text("utf-8"))

    assert set(found) <= set(load(ROOT / "dev.py").COMMANDS)
