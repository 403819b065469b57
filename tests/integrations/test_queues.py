"""Task queues: real workers, whose tasks are released anew while they run.

A module of tasks that calls `scatter_agent.start()` is enough, but for what the pages in
`docs/integrations/` name.
"""

from __future__ import annotations

import os
import signal
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from integrations.queues import Yard, install_arq
from support import needs

from scatter.server import EmbeddedServer


@pytest.fixture
def yard(tmp_path: Path, redis_server: EmbeddedServer, namespace: str) -> Iterator[Yard]:
    made = Yard(tmp_path, redis_server, namespace)
    yield made
    made.close()


def tasks(framework: str, decorator: str, start: str = "scatter_agent.start()") -> str:
    """Return a module of tasks with one task, whose price the tests change."""
    module = """
        import os, time
        import scatter, scatter_agent
        from said import say
        FRAMEWORK

        DECORATOR
        @scatter.track
        def report():
            time.sleep(0.02)
            price = 0
            say("task", price)


        START
        """
    module = textwrap.dedent(module).replace("FRAMEWORK", textwrap.dedent(framework))
    return module.replace("DECORATOR", decorator).replace("START", textwrap.dedent(start))


def one_each(yard: Yard, pids: set[int]) -> None:
    """Wait until these processes have one connection each, and no other one of the yard has any."""
    wanted = dict.fromkeys(pids, 1)
    yard.until(lambda: yard.connections() == wanted, f"connections {wanted}")


# Celery -----------------------------------------------------------------------------------

CELERY = """
from celery import Celery
app = Celery("tasks", broker=os.environ["BROKER"])
app.conf.update(task_ignore_result=True, worker_prefetch_multiplier=1)
"""
WORKER = ("celery", "-A", "tasks", "worker", "--without-gossip", "--without-mingle", "-l", "error")
START_IN_WORKERS = """
import scatter.ext.celery
scatter.ext.celery.start()
"""
POOLS = ("prefork", "threads", "solo", "gevent")


@pytest.mark.parametrize("pool", POOLS)
def test_celery_workers_follow(yard: Yard, pool: str) -> None:
    needs("celery")
    needs("gevent")
    yard.write("tasks.py", tasks(CELERY, "@app.task"))
    worker = yard.run(*WORKER, "-P", pool, "-c", "2")
    sender = yard.send("tasks.report.delay()")
    workers = yard.follow(2 if pool == "prefork" else 1)
    one_each(yard, workers | {worker.pid, sender.pid})
    assert worker.stop() == 0


@pytest.mark.parametrize("pool", POOLS)
def test_with_the_helper_only_those_celery_processes_have_an_agent_that_run_tasks(
    yard: Yard, pool: str
) -> None:
    needs("celery")
    needs("gevent")
    yard.write("tasks.py", tasks(CELERY, "@app.task", START_IN_WORKERS))
    worker = yard.run(*WORKER, "-P", pool, "-c", "2")
    yard.send("tasks.report.delay()")
    workers = yard.follow(2 if pool == "prefork" else 1)
    assert (worker.pid in workers) == (pool != "prefork")
    one_each(yard, workers)
    assert worker.stop() == 0
    one_each(yard, set())


@pytest.mark.slow
@pytest.mark.parametrize(
    "start", ["scatter_agent.start()", START_IN_WORKERS], ids=["plain", "helper"]
)
def test_new_celery_children_begin_on_the_newest_version(yard: Yard, start: str) -> None:
    needs("celery")
    yard.write("tasks.py", tasks(CELERY, "@app.task", start))
    yard.push(1)
    worker = yard.run(*WORKER, "-c", "1", "--max-tasks-per-child", "1")
    yard.until(lambda: "scatter_agent" not in start or worker.pid in yard.reports(), "its master")
    yard.send("tasks.report.delay()")
    yard.until(lambda: len(yard.pids(1)) >= 2, "2 children, each with one task")
    assert yard.pids(0) == set()
    assert worker.stop() == 0


# RQ ---------------------------------------------------------------------------------------

RQ = """
import redis, rq
queue = rq.Queue(connection=redis.Redis.from_url(os.environ["BROKER"]))
"""


@pytest.mark.parametrize("how", [("-c", "tasks"), ("-w", "scatter.ext.rq.Worker")], ids=" ".join)
def test_rq_jobs_run_the_newest_version_each_in_a_process_of_its_own(
    yard: Yard, how: tuple[str, str]
) -> None:
    needs("rq")
    yard.write("tasks.py", tasks(RQ, ""))
    worker = yard.run("rq", "worker", "--url", yard.broker, "-q", *how)
    sender = yard.send("tasks.queue.enqueue(tasks.report)")
    yard.until(lambda: len(yard.pids(0)) >= 3, "3 jobs")
    pushed_at = yard.push(1)
    yard.until(lambda: len(yard.pids(1)) >= 8, "8 jobs on version 1")
    assert yard.delay_s(pushed_at, 1) < 3
    one_each(yard, {worker.pid, sender.pid})
    assert worker.stop() == 0


def test_the_first_job_of_the_rq_helper_runs_the_newest_version(yard: Yard) -> None:
    needs("rq")
    yard.write("tasks.py", tasks(RQ, ""))
    yard.push(1)
    yard.run("rq", "worker", "--url", yard.broker, "-q", "-w", "scatter.ext.rq.Worker")
    yard.send("tasks.queue.enqueue(tasks.report)")
    yard.until(lambda: len(yard.pids(1)) >= 2, "2 jobs")
    assert yard.pids(0) == set()


def test_a_long_rq_job_follows_and_says_goodbye(yard: Yard) -> None:
    needs("rq")
    yard.write(
        "tasks.py",
        tasks(RQ, "")
        + "\n\ndef long():\n    while not os.path.exists('done'):\n        report()\n",
    )
    yard.run("rq", "worker", "--url", yard.broker, "-q", "-w", "scatter.ext.rq.Worker")
    yard.python("import tasks; tasks.queue.enqueue(tasks.long)")
    (job,) = yard.follow(1)
    yard.until(lambda: job in yard.reports(), "the job's report")
    assert yard.connections()[job] == 1
    yard.write("done", "")
    yard.until(lambda: job not in yard.reports(), "the job to say goodbye", 5.0)
    yard.until(lambda: job not in yard.connections(), "its connection to be closed", 5.0)


def test_rq_simple_workers_follow(yard: Yard) -> None:
    needs("rq")
    yard.write("tasks.py", tasks(RQ, ""))
    worker = yard.run("rq", "worker", "--url", yard.broker, "-q", "-w", "rq.SimpleWorker")
    yard.send("tasks.queue.enqueue(tasks.report)")
    assert yard.follow(1) == {worker.pid}


def test_rq_jobs_that_are_programs_begin_on_the_newest_version_as_the_page_says(yard: Yard) -> None:
    needs("rq")
    yard.write("tasks.py", tasks(RQ, "", ""))
    yard.push(1)
    yard.write(
        "jobs.py", "import tasks\ntasks.scatter_agent.start(wait=5)\nreport = tasks.report\n"
    )
    worker = yard.run("rq", "worker", "--url", yard.broker, "-q", "-w", "rq.worker.SpawnWorker")
    yard.send("tasks.queue.enqueue('jobs.report')")
    yard.until(lambda: len(yard.pids(1)) >= 2, "2 jobs")
    assert yard.pids(0) == set()
    assert worker.pid not in yard.pids(1)


# dramatiq ---------------------------------------------------------------------------------

DRAMATIQ = """
import dramatiq
from dramatiq.brokers.redis import RedisBroker
dramatiq.set_broker(RedisBroker(url=os.environ["BROKER"]))
"""


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_dramatiq_workers_follow_and_their_master_has_no_agent(yard: Yard, start: str) -> None:
    needs("dramatiq")
    yard.write("tasks.py", tasks(DRAMATIQ, "@dramatiq.actor"))
    options = ("--use-spawn",) * (start == "spawn")
    worker = yard.run("dramatiq", "tasks", "-p", "2", "-t", "2", *options)
    sender = yard.send("tasks.report.send()")
    workers = yard.follow(2)
    assert worker.pid not in workers
    one_each(yard, workers | {sender.pid})
    assert worker.stop() == 0


# huey -------------------------------------------------------------------------------------

HUEY = """
from huey import RedisHuey
huey = RedisHuey("tasks", url=os.environ["BROKER"])
"""


@pytest.mark.parametrize("kind", ["process", "thread", "greenlet"])
def test_huey_workers_follow(yard: Yard, kind: str) -> None:
    needs("huey")
    needs("gevent")
    patch = "from gevent import monkey; monkey.patch_all()\n" * (kind == "greenlet")
    yard.write("tasks.py", patch + tasks(HUEY, "@huey.task()"))
    worker = yard.run("huey_consumer", "tasks.huey", "-k", kind, "-w", "2", "-q")
    sender = yard.send("tasks.report()")
    workers = yard.follow(2 if kind == "process" else 1)
    (scheduler,) = (worker.family() - workers - {worker.pid}) or {worker.pid}
    one_each(yard, workers | {worker.pid, scheduler, sender.pid})
    assert worker.stop(signal.SIGINT) == 0


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_started_by_hueys_hook_only_its_workers_have_an_agent(yard: Yard, kind: str) -> None:
    needs("huey")
    hook = "huey.on_startup()(scatter_agent.start)"
    yard.write("tasks.py", tasks(HUEY, "@huey.task()", hook))
    worker = yard.run("huey_consumer", "tasks.huey", "-k", kind, "-w", "2", "-q")
    yard.send("tasks.report()")
    workers = yard.follow(2 if kind == "process" else 1)
    one_each(yard, workers)
    assert worker.stop(signal.SIGINT) == 0


# arq --------------------------------------------------------------------------------------

ARQ = """
import asyncio, os
import scatter, scatter_agent
from arq.connections import RedisSettings
from said import say


@scatter.track
async def report(ctx):
    await asyncio.sleep(0.02)
    price = 0
    say("task", price)


class WorkerSettings:
    functions = [report]
    redis_settings = RedisSettings.from_dsn(os.environ["BROKER"])
    poll_delay = 0.05


scatter_agent.start()
"""
ARQ_SENDER = """
import asyncio, os
import said
from arq import create_pool
from arq.connections import RedisSettings

loop = asyncio.new_event_loop()
pool = loop.run_until_complete(create_pool(RedisSettings.from_dsn(os.environ["BROKER"])))
said.keep_sending(lambda: loop.run_until_complete(pool.enqueue_job("report")))
"""


@pytest.fixture(scope="session")
def arq_packages(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install_arq(pytestconfig, tmp_path_factory)


@pytest.mark.slow
def test_arq_workers_follow_beside_the_redis_py_that_arq_asks_for(
    yard: Yard, arq_packages: Path
) -> None:
    path = {"PYTHONPATH": os.pathsep.join([str(arq_packages), str(yard.folder)])}
    yard.write("tasks.py", ARQ)
    cli = "import redis, said; said.say('redis', redis.__version__); from arq.cli import cli; cli()"
    worker = yard.run("python", "-c", cli, "tasks.WorkerSettings", **path)
    yard.python(ARQ_SENDER, **path)
    workers = yard.follow(1)
    assert yard.said("redis")[0]["value"].startswith("5.")
    one_each(yard, workers)
    assert workers == {worker.pid}
    worker.stop()
    one_each(yard, set())
