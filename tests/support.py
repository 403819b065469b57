"""What tests share: waiting for conditions, and modules that are edited while they run."""

from __future__ import annotations

import importlib
import itertools
import os
import shutil
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import pytest

from scatter import apply
from scatter.analysis import ModuleSource
from scatter.apply import Prepared, Wanted
from scatter.bundle import digest_of, encode
from scatter.bundle.build import build
from scatter.config import Settings
from scatter.errors import Refused
from scatter.log import Journal, LazySigner, open_journal
from scatter.model import Change
from scatter.registry import REGISTRY
from scatter.store.port import Store

T = TypeVar("T")
ROOT = Path(__file__).parent.parent


def wait_until(done: Callable[[], T], what: str, timeout_s: float = 20.0) -> T:
    """Return what `done` returns as soon as it is true; fail with `what` when it never is."""
    deadline = time.monotonic() + timeout_s
    while not (found := done()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s} s in vain for {what}; last: {found!r}")
        time.sleep(0.002)
    return found


def free_port() -> int:
    """Return a TCP port on loopback that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Edited:
    """A module on disk, imported, of which edited texts are pushed into this process.

    Every module gets a name of its own, since a process imports and tracks it for good.
    """

    _numbers = itertools.count(1)

    def __init__(self, folder: Path, text: str) -> None:
        self.name = f"edited_{os.getpid()}_{next(self._numbers)}"
        self.text = textwrap.dedent(text)
        self.versions: dict[str, int] = {}
        (folder / f"{self.name}.py").write_text(self.text)
        sys.path.insert(0, str(folder))
        importlib.invalidate_caches()
        try:
            self.module: ModuleType = importlib.import_module(self.name)
        finally:
            sys.path.remove(str(folder))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.module, name)

    def full(self, qualname: str) -> str:
        return f"{self.name}:{qualname}"

    def wanted(self, text: str, *qualnames: str) -> list[Wanted]:
        """Return versions of functions as they stand in an edited text."""
        source = ModuleSource(textwrap.dedent(text), name=self.name, file=f"{self.name}.py")
        made = []
        for qualname in qualnames or tuple(source.tracked):
            built = build(source, qualname)
            data = encode(built.bundle)
            number = self.versions[qualname] = self.versions.get(qualname, 0) + 1
            change = Change(
                function=built.bundle.function,
                version=number,
                bundle=digest_of(data),
                size=len(data),
                lines=built.lines,
            )
            made.append(Wanted(change=change, data=data))
        return made

    def prepare(self, text: str, *qualnames: str) -> Prepared:
        return apply.prepare(REGISTRY, self.wanted(text, *qualnames))

    def push(self, text: str, *qualnames: str) -> Prepared:
        """Switch to functions of an edited text; all that is tracked, if none is named."""
        prepared = self.prepare(text, *qualnames)
        if prepared.refusals:
            refusal = prepared.refusals[0]
            raise Refused(refusal.reason, refusal.message, function=refusal.function)
        apply.switch(REGISTRY, prepared)
        return prepared

    def edit(self, *replacements: tuple[str, str]) -> Prepared:
        """Push the text with replacements made, every tracked function of it."""
        return self.push(self.edited(*replacements))

    def edited(self, *replacements: tuple[str, str]) -> str:
        text = self.text
        for old, new in replacements:
            assert old in text, old
            text = text.replace(old, new)
        return text

    def deploy_again(self) -> None:
        """Go back to the deployed code of every function."""
        slots = {n: s for n, s in REGISTRY.slots().items() if n.startswith(f"{self.name}:")}
        REGISTRY.switch({name: slot.shipped for name, slot in slots.items()})


def start_python(code: str, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    """Start a Python process with piped input and output."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=options.pop("stderr", None),
        text=True,
        **options,
    )


def needs_program(name: str, package: str) -> None:
    """Skip the test where a program is missing that no Python package brings."""
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed: apt-get install {package}")


def needs(*packages: str) -> None:
    """Skip the test where a package is missing. None is imported: gevent changes threads."""
    for package in packages:
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed: pip install 'scatter[integrations]'")


def signed(store: Store) -> Journal:
    """Return a store's journal as the settings have it: releases are signed, and checked."""
    return open_journal(Settings(), store, signer=LazySigner())
