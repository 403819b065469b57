"""The examples of CI, pre-commit, editors and containers: valid files, and commands that run.

The commands are taken from the files as they stand; only what the tool itself would fill in
(expressions, macros) is filled in here.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yaml
from integrations.queues import Program, Yard
from support import ROOT, needs, needs_program, wait_until

from scatter.server import EmbeddedServer

EXAMPLES = ROOT / "examples"
EDITORS = EXAMPLES / "editors"
PRICING = """\
import scatter


@scatter.track
def price(item):
    return 10
"""
WORKER = """\
import time

import pricing
import scatter_agent

scatter_agent.start()
while True:
    print(pricing.price("tea"), flush=True)
    time.sleep(0.02)
"""


class Project(Yard):
    """Somebody's project with settings, in a git repository, and a process that runs it."""

    def __init__(self, folder: Path, server: EmbeddedServer, namespace: str) -> None:
        super().__init__(folder, server, namespace)
        self.path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.write("pricing.py", PRICING)
        self.write("worker.py", WORKER)
        self.write("pyproject.toml", f'[tool.scatter]\nnamespace = "{namespace}"\n')
        self.git("init", "-q", "-b", "main")
        self.git("config", "user.email", "ann@example.org")
        self.git("config", "user.name", "Ann")
        self.commit("begin")

    def environment(self) -> dict[str, str]:
        return super().environment() | {"PATH": self.path}

    def git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=self.folder, capture_output=True, text=True, check=True
        )
        return done.stdout

    def commit(self, message: str) -> None:
        self.git("add", "pricing.py", "worker.py", "pyproject.toml")
        self.git("commit", "-q", "-m", message)

    def save(self, price: int) -> None:
        """Save `pricing.py` with another price, as an editor does."""
        self.write("pricing.py", PRICING.replace("return 10", f"return {price}"))

    def worker(self, **environment: str) -> Program:
        """Start the process, and wait until it runs what was deployed."""
        worker = self.run("python", "worker.py", **environment)
        self.until(lambda: "10\n" in worker.output(), "the worker")
        return worker

    def shell(self, command: str, **environment: str) -> Program:
        return self.run("bash", "-e", "-o", "pipefail", "-c", command, **environment)

    def reaches(self, worker: Program, price: int) -> None:
        self.until(lambda: f"{price}\n" in worker.output(), f"price {price} in the worker")


@pytest.fixture
def project(tmp_path: Path, redis_server: EmbeddedServer, namespace: str) -> Iterator[Project]:
    (tmp_path / "project").mkdir()
    made = Project(tmp_path / "project", redis_server, namespace)
    yield made
    made.close()


def valid(schema: str, *files: Path) -> None:
    """Check files against a schema that check-jsonschema brings along."""
    needs("check_jsonschema")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


# GitHub Actions ---------------------------------------------------------------------------

WORKFLOW = EXAMPLES / "ci" / "push-on-merge.yml"
JOBS: dict[str, Any] = yaml.safe_load(WORKFLOW.read_text("utf-8"))["jobs"]


class Runner:
    """Runs the steps of a job in a project, as GitHub's runner would."""

    def __init__(self, project: Project, memory: Path, **variables: str) -> None:
        self.project, self.memory, self.variables = project, memory, variables

    def value(self, text: str) -> str:
        """Fill in what GitHub fills in, and have what is kept in memory in the test's folder."""
        filled = re.sub(
            r"\$\{\{ (?:vars|secrets)\.(\w+) \}\}", lambda m: self.variables[m[1]], text
        )
        assert "${{" not in filled, f"an expression that the test does not know: {filled}"
        return filled.replace("/dev/shm/scatter", str(self.memory))

    def environment(self, *given: dict[str, str]) -> dict[str, str]:
        return {name: self.value(text) for one in given for name, text in one.items()}

    def run(self, job: str, *, install: bool = False) -> list[tuple[str, int, str]]:
        """Run a job's commands until one fails; return name, exit status and output of each."""
        done = []
        for step in JOBS[job]["steps"]:
            if "run" not in step or (step["name"] == "Install" and not install):
                continue
            environment = self.environment(JOBS[job].get("env", {}), step.get("env", {}))
            if done and done[-1][1] and "always()" not in step.get("if", ""):
                continue
            command = self.project.shell(step["run"], **environment)
            done.append((step["name"], command.wait(120), command.output()))
        return done


@pytest.fixture
def runner(project: Project, tmp_path: Path) -> Runner:
    """CI with a key of its own, which the project's processes trust, and nobody else's."""
    needs_program("ssh-keygen", "openssh-client")
    key = tmp_path / "ci"
    make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ci@example.org", "-f", str(key)]
    subprocess.run(make, check=True)
    kind, public, owner = key.with_suffix(".pub").read_text().split()
    trusted = f'{owner} namespaces="scatter-release-v1:{project.namespace}" {kind} {public}\n'
    (tmp_path / "allowed_signers").write_text(trusted)
    return Runner(
        project,
        tmp_path / "memory",
        SCATTER=str(ROOT),
        SCATTER_REDIS_URL=project.server.url,
        SCATTER_NAMESPACE=project.namespace,
        SCATTER_SIGNING_KEY=key.read_text(),
        SCATTER_REDIS_PASSWORD="unused",
    )


def test_the_workflow_is_one_to_github() -> None:
    valid("vendor.github-workflows", WORKFLOW)


def test_what_was_merged_is_pushed_with_the_key_of_ci(
    runner: Runner, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCATTER_ALLOWED_SIGNERS", str(tmp_path / "allowed_signers"))
    worker = project.worker()
    project.save(11)
    project.commit("cap the price")

    steps = runner.run("push")
    assert [code for _, code, _ in steps] == [0] * 3, steps
    assert "1/1 process" in steps[1][2]
    assert "price" in steps[2][2]
    project.reaches(worker, 11)
    (version,) = project.releases.history("pricing:price")
    assert version.author == "ci@example.org"
    assert version.message.endswith("cap the price")
    assert {file.stat().st_mode & 0o777 for file in runner.memory.iterdir()} == {0o600}


def test_a_merge_does_not_go_over_what_somebody_else_has_live(
    runner: Runner, project: Project
) -> None:
    project.save(12)
    assert project.shell("scatter push", SCATTER_AUTHOR="bea@example.org").wait() == 0
    project.save(11)
    project.commit("cap the price")

    keys, push, fleet = runner.run("push")
    assert (keys[1], push[1], fleet[1]) == (0, 5, 0), (push, fleet)
    assert "bea@example.org" in push[2]


def test_a_pull_request_is_told_what_could_not_be_pushed(runner: Runner, project: Project) -> None:
    project.save(11)
    assert [code for _, code, _ in runner.run("check")] == [0]
    project.write("pricing.py", PRICING.replace("10", '"AKIAIOSFODNN7EXAMPLE"'))
    ((_, code, output),) = runner.run("check")
    assert code
    assert "looks like a credential" in output
    assert not project.releases.functions()


@pytest.mark.slow
def test_the_workflow_installs_what_it_runs(
    runner: Runner, project: Project, tmp_path: Path
) -> None:
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    programs = tmp_path / "venv" / "bin"
    project.path = os.pathsep.join([str(programs), "/usr/bin", "/bin"])
    steps = runner.run("check", install=True)
    assert [code for _, code, _ in steps] == [0, 0], steps
    assert (programs / "scatter").exists()


# pre-commit -------------------------------------------------------------------------------

HOOKS = ROOT / ".pre-commit-hooks.yaml"
CONFIG = EXAMPLES / "pre-commit" / ".pre-commit-config.yaml"


def test_hooks_and_their_example_are_what_pre_commit_takes() -> None:
    needs("pre_commit")
    for kind, file in (("manifest", HOOKS), ("config", CONFIG)):
        command = [sys.executable, "-m", "pre_commit", f"validate-{kind}", str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, "")
    ours = {hook["id"] for hook in yaml.safe_load(HOOKS.read_text("utf-8"))}
    text = CONFIG.read_text("utf-8")
    assert set(re.findall(r"- id: ([\w-]+)", text)) == ours


def hook(name: str) -> str:
    """Return the command of a hook."""
    (found,) = [h for h in yaml.safe_load(HOOKS.read_text("utf-8")) if h["id"] == name]
    entry: str = found["entry"]
    return entry


def test_a_hook_names_what_could_not_be_pushed_without_a_server(project: Project) -> None:
    away = {"SCATTER_REDIS_URL": "redis://127.0.0.1:1"}
    assert project.shell(hook("scatter-check"), **away).wait() == 0
    project.write("pricing.py", PRICING + "\n\n" + PRICING.partition("\n\n\n")[2])
    twice = project.shell(hook("scatter-check"), **away)
    assert twice.wait() == 2
    assert "pricing.py:" in twice.output()


def test_a_hook_pushes_what_was_committed(project: Project) -> None:
    worker = project.worker()
    project.save(11)
    project.commit("cap")
    assert project.shell(hook("scatter-push")).wait() == 0
    project.reaches(worker, 11)


def copy_of_the_repository(folder: Path) -> str:
    """Make a repository of what is here now, committed or not; return its revision."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, files.split("\0")):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    git = ["git", "-C", str(folder), "-c", "user.email=ann@example.org", "-c", "user.name=Ann"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "now"]):
        subprocess.run([*git, *command], check=True)
    found = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    return found.stdout.strip()


@pytest.mark.slow
def test_pre_commit_installs_the_hooks_and_stops_a_commit(project: Project, tmp_path: Path) -> None:
    needs("pre_commit")
    clone = tmp_path / "scatter"
    revision = copy_of_the_repository(clone)
    text = CONFIG.read_text("utf-8").replace("# - id", "- id")
    text = re.sub(r"repo: \S+", f"repo: {clone}", text)
    text = re.sub(r"rev: \S+", f"rev: {revision}", text)
    project.write(".pre-commit-config.yaml", text)
    project.git("add", ".pre-commit-config.yaml")
    commands = {"PRE_COMMIT_HOME": str(tmp_path / "home")}
    worker = project.worker()
    install = "pre-commit install -t pre-commit -t post-commit"
    assert project.shell(install, **commands).wait(60) == 0

    project.write("pricing.py", PRICING.replace("10", '"AKIAIOSFODNN7EXAMPLE"'))
    stopped = project.shell("git commit -qam leak", **commands)
    assert stopped.wait(300) == 1
    assert "looks like a credential" in stopped.output()
    assert "leak" not in project.git("log", "--format=%s")

    project.save(11)
    passed = project.shell("git commit -qam cap", **commands)
    assert passed.wait(300) == 0, passed.output()
    assert "cap" in project.git("log", "--format=%s")
    project.reaches(worker, 11)


# editors ----------------------------------------------------------------------------------


def test_vscode_watches_a_folder_that_is_open(project: Project) -> None:
    (task,) = json.loads((EDITORS / "vscode" / "tasks.json").read_text("utf-8"))["tasks"]
    assert task["options"] == {"cwd": "${workspaceFolder}"}
    assert task["runOptions"]["runOn"] == "folderOpen"
    worker = project.worker()
    watcher = project.run(task["command"], *task["args"])
    project.until(lambda: "watching ." in watcher.output(), "the watcher")
    project.save(11)
    project.reaches(worker, 11)


def test_vscode_pushes_on_save(project: Project) -> None:
    settings = json.loads((EDITORS / "vscode" / "settings.json").read_text("utf-8"))
    (command,) = settings["emeraldwalk.runonsave"]["commands"]
    assert re.search(command["match"], str(project.folder / "pricing.py"))
    assert not re.search(command["match"], str(project.folder / "pricing.pyc"))
    worker = project.worker()
    project.save(11)
    push = project.shell(command["cmd"].replace("${workspaceFolder}", str(project.folder)))
    assert push.wait() == 0, push.output()
    project.reaches(worker, 11)


def test_pycharm_pushes_on_save(project: Project) -> None:
    tree = ET.parse(EDITORS / "pycharm" / "watcherTasks.xml")
    (task,) = tree.iterfind("component[@name='ProjectTasksOptions']/TaskOptions")
    assert task.get("isEnabled") == "true"
    options = {option.get("name"): option.get("value") for option in task.iterfind("option")}
    assert options["fileExtension"] == "py"
    assert options["workingDir"] == "$ProjectFileDir$"
    programs = str(Path(sys.executable).parent)
    program = (options["program"] or "").replace("$PyInterpreterDirectory$", programs)
    worker = project.worker()
    project.save(11)
    push = project.run(program, *(options["arguments"] or "").split())
    assert push.wait() == 0, push.output()
    project.reaches(worker, 11)


class Neovim:
    """A headless Neovim with nothing but our file, that writes down what it would show."""

    def __init__(self, project: Project, folder: Path) -> None:
        needs_program("nvim", "neovim")
        self.shown = folder / "shown"
        self.shown.touch()
        write = f"vim.fn.writefile({{level .. ' ' .. said}}, '{self.shown}', 'a')"
        notify = f"lua vim.notify = function(said, level) {write} end"
        self.socket = str(folder / "nvim")
        self.program = project.run(
            *("nvim", "--headless", "--clean", "--listen", self.socket),
            *("--cmd", notify, "-c", f"luafile {EDITORS / 'nvim' / 'scatter.lua'}"),
        )
        project.until(lambda: Path(self.socket).exists(), "Neovim")
        self.project = project

    def type(self, keys: str) -> None:
        """Type in the editor that runs."""
        command = ["nvim", "--server", self.socket, "--remote-send", keys]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=20)

    def shows(self, text: str) -> str:
        self.project.until(lambda: text in self.shown.read_text(), f"{text!r} in Neovim")
        return self.shown.read_text()


def test_neovim_pushes_on_save_and_shows_what_went_wrong(project: Project, tmp_path: Path) -> None:
    neovim = Neovim(project, tmp_path)
    worker = project.worker()
    neovim.type(":edit pricing.py<CR>:%s/10/11/<CR>:write<CR>")
    project.reaches(worker, 11)
    assert neovim.shows("price").startswith("2 ")  # vim.log.levels.INFO

    neovim.type(':%s/11/"AKIAIOSFODNN7EXAMPLE"/<CR>:write<CR>')
    assert "\n4 " in neovim.shows("looks like a credential")


def test_neovim_leaves_files_of_other_projects_alone(project: Project, tmp_path: Path) -> None:
    other = tmp_path / "other" / "pricing.py"
    other.parent.mkdir()
    other.write_text(PRICING)
    neovim = Neovim(project, tmp_path)
    neovim.type(f":edit {other}<CR>:%s/10/13/<CR>:write<CR>")
    wait_until(lambda: "13" in other.read_text(), "the save")
    neovim.type(":edit! pricing.py<CR>:%s/10/12/<CR>:write<CR>")
    neovim.shows("price")
    assert len(project.releases.history("pricing:price")) == 1
    assert neovim.shown.read_text().count("\n") <= 3


# containers -------------------------------------------------------------------------------


def test_the_compose_file_is_one_to_compose() -> None:
    valid("vendor.compose-spec", EXAMPLES / "containers" / "compose.yaml")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["daemonset.yaml", "sidecar.yaml"])
def test_the_manifests_are_what_kubernetes_takes(name: str) -> None:
    schemas = pytest.importorskip(
        "kubernetes_validate", reason="100 MB of schemas: .venv/bin/nox -s manifests"
    )
    documents = [*yaml.safe_load_all((EXAMPLES / "containers" / name).read_text("utf-8"))]
    for document in documents:
        schemas.validate(document, schemas.latest_version(), strict=True)
        document["spec"]["replica"] = document["spec"].pop("replicas", 1)
        with pytest.raises(schemas.ValidationError):
            schemas.validate(document, schemas.latest_version(), strict=True)
