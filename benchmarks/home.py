"""A home of a benchmark's own: what it signs with, and whom its processes trust."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def own_home(folder: Path, policy: str = "") -> Iterator[None]:
    """Keep away from the keys, policies and positions of whoever runs this.

    Args:
        folder: Where they are kept in place of this user's home.
        policy: Text of the policy file.

    """
    variables = {"XDG_CONFIG_HOME": folder / "config", "XDG_STATE_HOME": folder / "state"}
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update({name: str(path) for name, path in variables.items()})
    if policy:
        file = folder / "config" / "scatter" / "policy.toml"
        file.parent.mkdir(mode=0o700, parents=True)
        file.write_text(policy, "utf-8")
        file.chmod(0o600)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value
