"""A small web application as people write it, served by uvicorn, with and without scatter.

`shop.py` holds functions, `app.py` the application, `followed.py` that application with an agent
started beside it. The process tells its processor time at `/spent`.
"""

from __future__ import annotations

import importlib.util
import json
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from benchmarks.lines import Program
from benchmarks.stage import environment

NEEDS = ("fastapi", "uvicorn")
SHOP = '''"""Prices."""

from decimal import Decimal

PRICES = {"tea": 450, "coffee": 790, "mug": 1200, "kettle": 4900}
TAXES = {"de": Decimal("0.19"), "fr": Decimal("0.20"), "it": Decimal("0.22")}


def discount(quantity):
    """Return the share that is left to pay, in hundredths."""
    if quantity >= 100:
        return 85
    return 95 if quantity >= 10 else 100


def quote(country, lines):
    """Return what an order costs, line by line, in cents."""
    if country not in TAXES:
        raise ValueError(f"no such country: {country}")
    costs = [PRICES[sku] * quantity * discount(quantity) // 100 for sku, quantity in lines]
    net = sum(costs)
    return {"lines": costs, "net": net, "tax": int(net * TAXES[country]), "version": 0}
'''
APP = """import time

import shop
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()


class Line(BaseModel):
    sku: str
    quantity: int = 1


class Order(BaseModel):
    country: str
    lines: list[Line]


class Quote(BaseModel):
    lines: list[int]
    net: int
    tax: int
    version: int


@app.post("/quote")
async def quote(order: Order) -> Quote:
    return Quote(**shop.quote(order.country, [(line.sku, line.quantity) for line in order.lines]))


@app.get("/spent")
async def spent() -> float:
    return time.process_time()
"""
FOLLOWED = "from app import app\n\nimport scatter_agent\n\nscatter_agent.start(wait=10)\n"
ORDER = {
    "country": "de",
    "lines": [{"sku": "tea", "quantity": 12}, {"sku": "mug", "quantity": 3}, {"sku": "coffee"}],
}
STARTS_S = 20


def missing() -> str:
    """Return what is not installed here that the application needs; empty if nothing is."""
    return ", ".join(name for name in NEEDS if importlib.util.find_spec(name) is None)


def shop(version: int) -> str:
    """Return the functions as of a version, which both of them name."""
    text = SHOP.replace('"version": 0', f'"version": {version}')
    return text.replace("return 85", f"return 85 - {version} * 0")


def write(folder: Path) -> Path:
    """Write the application; return the file of its functions."""
    folder.mkdir(exist_ok=True)
    (folder / "app.py").write_text(APP, "utf-8")
    (folder / "followed.py").write_text(FOLLOWED, "utf-8")
    file = folder / "shop.py"
    file.write_text(shop(0), "utf-8")
    return file


class Served:
    """The application, served by one process of uvicorn's; or by one that it restarts."""

    def __init__(
        self, folder: Path, app: str, *options: str, env: Mapping[str, str] | None = None
    ) -> None:
        """Start it and wait until it answers."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        command = [sys.executable, "-m", "uvicorn", f"{app}:app", "--port", str(self.port)]
        self.program = Program(
            [*command, "--no-access-log", "--log-level", "warning", *options],
            cwd=folder,
            env=environment(folder) | dict(env or {}),
        )
        self._wait()

    def _wait(self) -> None:
        until = time.monotonic() + STARTS_S
        while True:
            try:
                self.spent_s()
            except (OSError, urllib.error.URLError):
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)
            else:
                return

    def spent_s(self) -> float:
        """Return the processor time of the process so far, in seconds."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/spent", timeout=2) as answer:
            return float(json.load(answer))

    def close(self) -> None:
        """End it."""
        self.program.close()
