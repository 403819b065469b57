"""`scatter-agent run`: programs of all kinds get an agent, and know nothing of it otherwise."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from integrations.queues import PRICES, TRACKED, Program, Yard
from support import ROOT, free_port, wait_until

from scatter.server import EmbeddedServer


@pytest.fixture
def yard(tmp_path: Path, redis_server: EmbeddedServer, namespace: str) -> Iterator[Yard]:
    made = Yard(tmp_path, redis_server, namespace)
    made.write("tasks.py", PRICES)
    yield made
    made.close()


@pytest.fixture
def run(yard: Yard) -> Callable[..., Program]:
    """Run a command under the launcher, with `tasks` tracked."""

    here = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

    def start(*command: str, track: str = "tasks", **environment: str) -> Program:
        given = ("--track", track) if track else ()
        environment = {"PATH": here, **environment}
        return yard.run("scatter-agent", "run", *given, "--", *command, **environment)

    return start


def script(yard: Yard, text: str, name: str = "app.py") -> str:
    yard.write(name, text)
    return name


# a program as it is -----------------------------------------------------------------------


def test_a_script_follows_though_its_source_knows_nothing_of_scatter(
    yard: Yard, run: Callable[..., Program]
) -> None:
    app = script(yard, "import tasks\nwhile True: tasks.job()\n")
    program = run("python", app)
    assert yard.follow(1) == {program.pid}, "it is the launcher's own process that became it"
    assert yard.connections() == {program.pid: 1}
    assert program.stop(signal.SIGKILL) == -signal.SIGKILL
    assert program.output() == ""


def test_a_module_run_by_name_and_its_own_functions_follow(
    yard: Yard, run: Callable[..., Program]
) -> None:
    main = PRICES + "\nif __name__ == '__main__':\n    while True:\n        job()\n"
    script(yard, main, "shop.py")
    program = run("python", "-m", "shop", track="shop")
    yard.until(lambda: len(yard.said()) > 0, "the first task")
    yard.until(lambda: program.pid in yard.connections(), "the agent")
    yard.push(1, module="shop")
    yard.until(lambda: program.pid in yard.pids(1), "the main module's function to follow")


def test_a_script_whose_own_functions_are_tracked_follows(
    yard: Yard, run: Callable[..., Program]
) -> None:
    script(yard, PRICES + "\nif __name__ == '__main__':\n    while True:\n        job()\n")
    program = run("python", "app.py", track="app")
    yard.until(lambda: program.pid in yard.connections(), "the agent")
    yard.push(1, module="app")
    yard.until(lambda: program.pid in yard.pids(1), "the script's function to follow")


def test_the_programs_own_decorators_are_enough(yard: Yard, run: Callable[..., Program]) -> None:
    yard.write("tasks.py", TRACKED)
    run("python", script(yard, "import tasks\nwhile True: tasks.job()\n"), track="")
    yard.follow(1)


def test_the_programs_own_start_has_the_last_word_and_there_is_one_agent(
    yard: Yard, run: Callable[..., Program]
) -> None:
    program = run(
        "python",
        script(
            yard,
            """
            import tasks, threading, scatter_agent
            from said import say
            agent = scatter_agent.start(labels={"region": "eu"}, on_switch=lambda s: say("switch"))
            assert scatter_agent.start() is agent
            assert agent.wait(20)
            say("threads", [t.name for t in threading.enumerate()].count("scatter-agent"))
            while True: tasks.job()
            """,
        ),
    )
    yard.follow(1)
    yard.until_said("switch")
    assert yard.said("threads")[0]["value"] == 1
    assert yard.connections() == {program.pid: 1}
    assert yard.reports()[program.pid].labels == {"region": "eu"}


@pytest.mark.parametrize("path", ["", "/x", ":/x", "/x:"])
def test_what_the_program_sees_of_the_launcher_is_its_environment_alone(
    yard: Yard, run: Callable[..., Program], path: str
) -> None:
    text = """
        import __future__, json, os, signal, sys
        seen = {
            "path": sys.path, "modules": sorted(sys.modules), "argv": sys.argv,
            "finders": [getattr(f, "__name__", type(f).__name__) for f in sys.meta_path],
            "pipe": str(signal.getsignal(signal.SIGPIPE)), "cwd": os.getcwd(),
        }
        print(json.dumps(seen))
        """
    app = script(yard, text)
    plain = yard.run("python", app, "a", "-b", PYTHONPATH=path)
    launched = run("python", app, "a", "-b", PYTHONPATH=path)
    assert (plain.wait(), launched.wait()) == (0, 0)
    before, after = json.loads(plain.output()), json.loads(launched.output())
    assert after["finders"].pop(0) == "_Cue", "it waits for a module that is tracked"
    assert after == before


def test_the_sitecustomize_that_was_there_runs_and_is_the_one_that_is_seen(
    yard: Yard, run: Callable[..., Program]
) -> None:
    yard.write("sitecustomize.py", "import said\nsaid.say('site')\nOWN = 1\n")
    text = "import sitecustomize, tasks\nassert sitecustomize.OWN\nwhile True: tasks.job()\n"
    program = run("python", script(yard, text))
    yard.follow(1)
    assert {line["pid"] for line in yard.said("site")} == {program.pid}
    assert len(yard.said("site")) == 2, "once in the launcher, once in what it became"
    yard.write("sitecustomize.py", "1 / 0\n")
    other = run("python", "-c", "import tasks; print(tasks.until(1))")
    assert other.wait() == 0
    assert other.output().startswith("Error in sitecustomize")
    assert other.output().endswith("\n1\n")


def test_of_a_zip_file_only_what_matches_is_tracked(
    yard: Yard, run: Callable[..., Program]
) -> None:
    with zipfile.ZipFile(yard.folder / "lib.zip", "w") as archive:
        archive.writestr("zipped.py", "def price():\n    return 0\n")
        archive.writestr("other.py", "def other():\n    return 0\n")
    text = """
        import sys
        sys.path.insert(0, "lib.zip")
        import zipped, other
        from scatter.registry import REGISTRY
        print(*REGISTRY.slots())
        """
    program = run("python", script(yard, text), track="zipped")
    assert (program.wait(), program.output()) == (0, "zipped:price\n")


def test_threads_that_import_at_once_do_not_wait_for_each_other(
    yard: Yard, run: Callable[..., Program]
) -> None:
    names = ("decimal", "json", "sqlite3", "email", "http.client", "xml.dom", "csv", "unittest")
    text = f"""
        import importlib, threading
        threads = [threading.Thread(target=importlib.import_module, args=(name,))
                   for name in ("tasks", *{names!r}, "logging", "redis", "scatter")]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        import tasks
        while True: tasks.job()
        """
    run("python", script(yard, text))
    yard.follow(1)


def test_the_exit_status_and_signals_are_the_programs_own(
    yard: Yard, run: Callable[..., Program]
) -> None:
    assert run("python", "-c", "import tasks, sys; sys.exit(7)").wait() == 7
    program = run(
        "python",
        "-c",
        "import tasks, signal, said, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(9))\n"
        "said.say('ready'); time.sleep(30)",
    )
    yard.until_said("ready")
    assert program.stop(signal.SIGTERM) == 9
    assert run("sh", "-c", "kill -PIPE $$; echo lived").wait() == -signal.SIGPIPE
    missing = run("no-such-program")
    assert missing.wait() == 127
    assert missing.output().startswith(
        "Error: no-such-program is not found: expected a program in PATH"
    )
    yard.write("plain.txt", "")
    assert run("./plain.txt").wait() == 126


# processes of a program -------------------------------------------------------------------

CHILDREN = {
    "fork": "multiprocessing.get_context('fork').Process(target=tasks.job)",
    "spawn": "multiprocessing.get_context('spawn').Process(target=tasks.job)",
    "forkserver": "multiprocessing.get_context('forkserver').Process(target=tasks.job)",
}


@pytest.mark.parametrize("how", ["app.py", "-m app"])
def test_a_spawned_process_follows_the_decorated_functions_of_its_script(
    how: str, yard: Yard, run: Callable[..., Program]
) -> None:
    text = """
    import multiprocessing, os, time
    import scatter
    from said import say


    @scatter.track
    def report():
        price = 0
        return price


    def job():
        while True:
            time.sleep(0.01)
            say("task", report())


    if __name__ == "__main__":
        child = multiprocessing.get_context("spawn").Process(target=job)
        child.start()
        say("child", child.pid)
        child.join()
    """
    script(yard, text)
    program = run("python", *how.split(), track="")
    yard.until_said("child")
    child = yard.said("child")[0]["value"]
    yard.until(lambda: {program.pid, child} <= {*yard.reports()}, "parent and child")
    yard.push(1, module="app")
    yard.until(lambda: child in yard.pids(1), "the script's function to follow in the child")


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_processes_of_multiprocessing_follow(
    yard: Yard, run: Callable[..., Program], method: str
) -> None:
    text = f"""
        import multiprocessing, tasks
        def main():
            pool = multiprocessing.get_context({method!r}).Pool(2)
            while True:
                pool.map(tasks.job, range(4), 1)
        if __name__ == "__main__":
            main()
        """
    program = run("python", script(yard, text))
    workers = yard.follow(2)
    assert program.pid not in workers
    assert set(yard.connections().values()) == {1}


def test_exec_and_subprocesses_that_import_what_is_tracked_follow(
    yard: Yard, run: Callable[..., Program]
) -> None:
    script(yard, "import tasks\nwhile True: tasks.job()\n", "worker.py")
    text = """
        import os, subprocess, sys
        subprocess.Popen([sys.executable, "worker.py"])
        os.execv(sys.executable, [sys.executable, "worker.py"])
        """
    program = run("python", script(yard, text))
    assert program.pid in yard.follow(2)


def test_interpreters_that_import_nothing_tracked_have_no_agent_and_load_nothing_of_it(
    yard: Yard, run: Callable[..., Program]
) -> None:
    text = "import sys, json; print([m for m in sys.modules if m.startswith('scatter')])"
    for words in (("-c", text), ("-m", "pip", "--version")):
        program = run("python", *words)
        assert program.wait() == 0
        if words[0] == "-c":
            assert program.output() == "[]\n"
    assert not yard.reports()


@pytest.mark.parametrize("option", ["-S", "-E", "-I"])
def test_interpreters_that_are_told_to_keep_to_themselves_have_no_agent(
    yard: Yard, run: Callable[..., Program], option: str
) -> None:
    text = "import sys; sys.path[:0] = ['.']; import tasks; print('scatter' in sys.modules)"
    program = run("python", option, "-c", text)
    assert (program.wait(), program.output()) == (0, "False\n")


@pytest.mark.parametrize("method", ["script", "fork", "spawn"])
@pytest.mark.parametrize("version", ["3.12", "3.13"])
def test_other_pythons_follow(
    yard: Yard, run: Callable[..., Program], version: str, method: str
) -> None:
    python = other_python(version)
    text = f"""
        import multiprocessing, tasks
        def main():
            if {method!r} == "script":
                while True: tasks.job()
            pool = multiprocessing.get_context({method!r}).Pool(2)
            while True:
                pool.map(tasks.job, range(4), 1)
        if __name__ == "__main__":
            main()
        """
    packages = str(Path(structlog.__file__).parent.parent)
    path = os.pathsep.join([str(yard.folder), str(ROOT), str(ROOT / "agent"), packages])
    # cryptography is compiled for the Python of this run
    program = run(python, script(yard, text), PYTHONPATH=path, SCATTER_TRUST="off")
    workers = 1 if method == "script" else 2
    yard.until(lambda: len(yard.connections()) >= workers, "agents: all is compiled first")
    yard.follow(workers)
    assert program.output() == ""


@pytest.mark.parametrize("version", ["2.7", "3.6", "3.8", "3.10"])
def test_pythons_without_scatter_run_as_ever_with_their_own_sitecustomize(
    yard: Yard, run: Callable[..., Program], version: str
) -> None:
    python = other_python(version)
    yard.write("sitecustomize.py", "OWN = 1\n")
    program = run(python, "-c", "import sitecustomize, tasks; print(sitecustomize.OWN)", track="x")
    assert (program.wait(), program.output()) == (0, "1\n")


def other_python(version: str) -> str:
    """Return an interpreter of another version; a shim that leads to none does not count."""
    pyenv = Path(os.environ.get("PYENV_ROOT", "/root/.pyenv")) / "versions"
    there = [str(path / "bin" / f"python{version}") for path in pyenv.glob(f"{version}.*")]
    for python in filter(None, [shutil.which(f"python{version}"), *there]):
        if not subprocess.run([python, "-c", ""], check=False, capture_output=True).returncode:
            return python
    pytest.skip(f"there is no Python {version} here")


# servers ----------------------------------------------------------------------------------

WSGI = """
import tasks


def app(environ, start_response):
    tasks.job()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"ok"]


application = app
"""
ASGI = """
import tasks


async def app(scope, receive, send):
    if scope["type"] == "http":
        tasks.job()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})
"""
SERVERS = {
    "gunicorn": ("gunicorn -b 127.0.0.1:PORT -w 2 wsgi:app", 2),
    "gunicorn-preload": ("gunicorn -b 127.0.0.1:PORT -w 2 --preload wsgi:app", 2),
    "gunicorn-gevent": ("gunicorn -b 127.0.0.1:PORT -w 2 -k gevent wsgi:app", 2),
    "uvicorn": ("uvicorn --port PORT asgi:app", 1),
    "uvicorn-workers": ("uvicorn --port PORT --workers 2 asgi:app", 2),
    "uwsgi": (
        "uwsgi --http-socket 127.0.0.1:PORT --module wsgi:application --master -p 2 "
        "--enable-threads --die-on-term --need-app",
        2,
    ),
    "flask-run": ("flask --app flaskapp run --port PORT", 1),
}
FLASK = """
import tasks
from flask import Flask

app = Flask(__name__)


@app.get("/")
def index():
    tasks.job()
    return "ok"
"""


@pytest.mark.parametrize("server", SERVERS)
def test_workers_of_web_servers_follow_and_masters_have_no_connection(
    yard: Yard, run: Callable[..., Program], server: str
) -> None:
    command, workers = SERVERS[server]
    for name, text in {"wsgi.py": WSGI, "asgi.py": ASGI, "flaskapp.py": FLASK}.items():
        yard.write(name, text)
    port = str(free_port())
    words = command.replace("PORT", port).split()
    if not shutil.which(words[0], path=str(Path(sys.executable).parent)):
        pytest.skip(f"{words[0]} is not installed")
    program = run(*words)
    yard.write(
        "client.py",
        f"""
        import time, urllib.request
        from concurrent.futures import ThreadPoolExecutor
        def ask(_):
            try:
                urllib.request.urlopen("http://127.0.0.1:{port}/", timeout=5).read()
            except OSError:
                time.sleep(0.05)
        while True:
            list(ThreadPoolExecutor(4).map(ask, range(8)))
        """,
    )
    yard.run("python", "client.py")
    served = yard.follow(workers)
    if workers > 1:
        assert program.pid not in served
    wait_until(lambda: set(yard.connections()) == served, "one connection for each worker")


def test_workers_of_celery_follow(yard: Yard, run: Callable[..., Program]) -> None:
    pytest.importorskip("celery")
    yard.write(
        "queue_app.py",
        """
        import os
        import tasks
        from celery import Celery

        app = Celery("queue_app", broker=os.environ["BROKER"])


        @app.task
        def work():
            tasks.job()
        """,
    )
    run("celery", "-A", "queue_app", "worker", "-c", "2", "-P", "prefork", "-l", "warning")
    yard.python("import said, queue_app\nsaid.keep_sending(queue_app.work.delay)\n")
    yard.follow(2)


def test_what_the_administrators_file_says_is_what_the_program_gets(
    yard: Yard, run: Callable[..., Program]
) -> None:
    file = yard.folder / "agent.toml"
    yard.write("agent.toml", 'track = ["tasks"]\napplication = "till"\nlabels = ["region=eu"]\n')
    file.chmod(0o600)
    app = script(yard, "import tasks\nwhile True: tasks.job()\n")
    program = run("python", app, track="", SCATTER_CONFIG=str(file))
    yard.follow(1)
    report = yard.reports()[program.pid]
    assert (report.application, report.labels) == ("till", {"region": "eu"})


# what goes wrong --------------------------------------------------------------------------


def test_disabled_it_is_as_if_it_were_not_there(yard: Yard, run: Callable[..., Program]) -> None:
    text = (
        "import os, sys, tasks\nprint(os.environ['PYTHONPATH'])\nprint('scatter' in sys.modules)\n"
    )
    program = run("python", "-c", text, SCATTER_DISABLED="1", SCATTER_NAMESPACE="no such name")
    assert program.wait() == 0
    assert program.output() == f"{yard.environment()['PYTHONPATH']}\nFalse\n"


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"SCATTER_NAMESPACE": "no such name"}, "namespace (environment SCATTER_NAMESPACE)"),
        ({"SCATTER_REDIS_URL": "http://x"}, "redis_url (environment SCATTER_REDIS_URL)"),
    ],
)
def test_bad_settings_are_one_line_and_the_program_runs(
    yard: Yard, run: Callable[..., Program], environment: dict[str, str], said: str
) -> None:
    program = run("python", "-c", "import tasks; print(tasks.report())", **environment)
    assert program.wait() == 0
    first, second = program.output().splitlines()
    assert first.startswith(f"scatter-agent run: no agent in this program: {said}: expected")
    assert second == "0"


def test_a_broken_trust_file_stops_no_program(yard: Yard, run: Callable[..., Program]) -> None:
    broken = yard.folder / "signers"
    broken.write_text("no signers\n")
    text = "import tasks, time; time.sleep(0.3); print(tasks.report())"
    program = run("python", "-c", text, SCATTER_ALLOWED_SIGNERS=str(broken))
    assert (program.wait(), program.output()) == (0, "0\n")


def test_an_interpreter_that_cannot_import_scatter_says_so_once_and_runs(
    yard: Yard, run: Callable[..., Program]
) -> None:
    other = yard.folder / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(other)], check=True)
    python = str(other / "bin" / "python")
    text = f"import tasks, subprocess; subprocess.run([{python!r}, '-c', 'import tasks']); print(1)"
    program = run(python, "-c", text)
    assert program.wait() == 0
    assert program.output().splitlines() == [
        f"scatter-agent run: no agent in {python}: No module named 'scatter_agent'",
        "1",
    ]


def test_a_command_is_needed(yard: Yard) -> None:
    program = yard.run("scatter-agent", "run", "--track", "tasks")
    assert program.wait() == 2
    assert "Missing argument 'COMMAND...'" in program.output()
