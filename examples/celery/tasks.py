"""Orders that are charged, once a second. Edit `fee`, save, and look at the worker.

The broker is a folder, so that nothing needs to be installed; `BROKER_URL` names a real one.
"""

import os
from itertools import count
from pathlib import Path

from celery import Celery

import scatter
import scatter.ext.celery

FOLDER = Path(__file__).with_name(".broker")
FOLDER.mkdir(exist_ok=True)

app = Celery("tasks", broker=os.environ.get("BROKER_URL", "filesystem://"))
app.conf.update(
    beat_schedule={"charge": {"task": "tasks.charge", "schedule": 1.0, "args": [100.0]}},
    beat_schedule_filename=str(FOLDER / "beat"),
    worker_hijack_root_logger=False,
)
if app.conf.broker_url == "filesystem://":
    app.conf.broker_transport_options = {
        "data_folder_in": str(FOLDER),
        "data_folder_out": str(FOLDER),
        "control_folder": str(FOLDER / "control"),
    }

orders = count(1)  # state of each worker process: it goes on counting


@scatter.track
def fee(amount: float) -> float:
    """Return what is kept of an amount."""
    return amount * 0.02


@app.task
@scatter.track
def charge(amount: float) -> None:
    """Charge an order."""
    print(f"worker {os.getpid()}, order {next(orders)}: fee {fee(amount):.2f}", flush=True)


scatter.ext.celery.start()
