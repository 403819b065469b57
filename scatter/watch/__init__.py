"""The watcher: a saved file → the functions that changed → one release.

Not here: reading files (`scatter.workspace`), the log (`scatter.releases`), processes
(`scatter_agent`). `loop` is the only module of scatter that imports watchfiles.

Invariants
1. One save is at most one release: functions saved together are switched together.
2. A push names the version that this watcher last saw, so it never goes over a colleague unseen.
3. No edit is lost while the store is away: the newest state of each function is pushed when it is
   back.
4. Nothing is deleted because a file or function went away.
5. What somebody rolled back is pushed again only after somebody lifted that by hand.
"""

from scatter.watch.events import (
    Acknowledged,
    AlreadyLive,
    Conflicted,
    Drift,
    Ended,
    Event,
    Failed,
    Held,
    Mended,
    Polling,
    Pushed,
    PushedFunction,
    Reconnected,
    Reconnecting,
    Restored,
    Started,
    Survey,
)
from scatter.watch.text import Text
from scatter.watch.watcher import Manner, Watcher, watch

__all__ = [
    "Acknowledged",
    "AlreadyLive",
    "Conflicted",
    "Drift",
    "Ended",
    "Event",
    "Failed",
    "Held",
    "Manner",
    "Mended",
    "Polling",
    "Pushed",
    "PushedFunction",
    "Reconnected",
    "Reconnecting",
    "Restored",
    "Started",
    "Survey",
    "Text",
    "Watcher",
    "watch",
]
