"""The check of notifications: what the server is set to send, and whether it arrives."""

from __future__ import annotations

from collections.abc import Iterator

from scatter.doctor.visit import Finding, Visit
from scatter.store.redis import RedisStore

_SWITCH_ON = (
    "Have an administrator run `CONFIG SET notify-keyspace-events {flags}`, and set it in the "
    "server's configuration. Without, releases arrive within half a second."
)


def check_notifications(visit: Visit) -> Iterator[Finding]:
    """Read the server's setting where that is allowed, and have a ring of our own."""
    assert isinstance(visit.store, RedisStore)
    seen = visit.store.doorbell().examine()
    setting = "this account may not read the setting"
    if seen.flags is not None:
        setting = f"notify-keyspace-events is {seen.flags!r}"
    if seen.refusal:
        yield Finding(
            check="notifications",
            state="problem" if visit.role == "agent" else "warning",
            found=f"This account may not listen for them ({setting})",
            advice="Give it the channels that `scatter acl` prints; until then the log is polled.",
        )
    elif seen.missing or seen.heard is False:
        advice = _SWITCH_ON.format(flags=(seen.flags or "") + (seen.missing or "Kh"))
        found = f"The server sends none ({setting})"
        yield Finding(check="notifications", state="warning", found=found, advice=advice)
    elif seen.heard:
        found = f"A change was heard after {seen.heard_s * 1000:.1f} ms ({setting})"
        yield Finding(check="notifications", state="ok", found=found)
    elif seen.flags is not None:
        found = f"They are on ({setting}); this account may not try them"
        yield Finding(check="notifications", state="ok", found=found)
    else:
        yield Finding(
            check="notifications",
            state="unchecked",
            found="This account may listen, and may neither read the setting nor try",
            advice="Run `scatter doctor` with an agent's account, which may try.",
        )
