"""What the doctor's checks are made of, and what they share."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from scatter.config import Settings
from scatter.errors import ScatterError, StoreRefused
from scatter.store.acl import Role
from scatter.store.directory import DirectoryStore
from scatter.store.link import Link
from scatter.store.port import Store

State = Literal["ok", "warning", "problem", "unchecked"]
Needs = Literal["nothing", "store", "server", "directory"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a check found.

    Attributes:
        check: Name of the check.
        state: `ok`; `warning`: it works, and should be otherwise; `problem`: something does not
            work or is not safe; `unchecked`: it could not be found out.
        found: What was found, one sentence without its full stop.
        advice: What to do; empty if nothing.

    """

    check: str
    state: State
    found: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Attributes:
        name: What it is called, in the list and in its findings.
        run: Makes it; what it raises of scatter's errors is a problem that was found.
        needs: What it cannot be made without: a store of any kind, a Redis server, the directory
            of a mirror, or nothing.

    """

    name: str
    run: Callable[[Visit], Iterable[Finding]]
    needs: Needs = "nothing"


class Visit:
    """One look at one place. Used by one thread.

    Attributes:
        settings: Where, and in whose name.
        role: What the account is meant for, if that was said.
        store: The store, when it was opened.
        is_away: It cannot be reached.
        hello: What the server said of itself when it was reached: `server`, `version`, `mode`,
            `role`.

    """

    def __init__(self, settings: Settings, role: Role | None) -> None:
        """Begin; nothing is connected."""
        self.settings = settings
        self.role: Role | None = role
        self.store: Store | None = None
        self.is_away = False
        self.hello: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"<Visit of {self.settings!r}>"

    @property
    def link(self) -> Link:
        """The connection, where the store is a server."""
        found: Link = self.store.link  # type: ignore[union-attr]
        return found

    def can(self, needs: Needs) -> bool:
        """Return whether a check with these needs can be made."""
        if self.is_away or self.store is None:
            return False
        if needs == "directory":
            return isinstance(self.store, DirectoryStore)
        return needs == "store" or hasattr(self.store, "link")

    def ask(self, *command: Any) -> Any:
        """Return the reply to a command; None where this account may not ask."""
        try:
            return self.link.run([command])[0]
        except StoreRefused as error:
            if error.code != "NOPERM" and "unknown command" not in str(error):
                raise
            return None

    def info(self, section: str) -> dict[str, str] | None:
        """Return a section of INFO; None where this account may not ask."""
        reply = self.ask("INFO", section)
        if reply is None:
            return None
        lines = reply.decode("utf-8", "replace").splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def key(self, kind: str) -> str:
        """Return a key of the namespace."""
        return f"scatter:{{{self.settings.namespace}}}:{kind}"

    def close(self) -> None:
        """Let go of the connection."""
        if self.store is not None:
            try:
                self.store.close()
            except ScatterError:
                pass  # it was closed by the other side


_ADVICE = re.compile(
    r"(?<=[.)]) (?=(?:Is|If|Check|Try|Use|Correct|Let|Make|Write|Install|Restore|Push|See)\b)"
)


def in_two(message: str) -> tuple[str, str]:
    """Return what an error says was found, and what it says to do."""
    found, *advice = _ADVICE.split(" ".join(message.split()), maxsplit=1)
    return found.removesuffix("."), "".join(advice)


def unchecked(name: str, what: str) -> Finding:
    """Return the finding that the account may not ask for something."""
    return Finding(check=name, state="unchecked", found=f"This account may not ask for {what}")
