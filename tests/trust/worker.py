"""A worker whose every step is watched; `trust.hostile` starts it as a script and attacks it.

An audit hook sees what Python itself reports: code that is compiled or run, modules that are
imported, pickles that name something, files, sockets, processes. From a mark on, each such event is
kept. A thread of the application calls the functions all the time.

It reads a command a line (`mark`, `look`, `restart`, `tell`) and answers each with a line of JSON.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any

WATCHED = frozenset(
    """
    compile exec import pickle.find_class marshal.loads marshal.load code.__new__ open os.listdir
    socket.connect socket.bind socket.getaddrinfo subprocess.Popen os.system os.exec os.posix_spawn
    os.fork os.remove os.rename os.chmod ctypes.dlopen ctypes.dlsym shutil.rmtree
    """.split()
)


class Oracle:
    """What the audit hook saw since the mark; a hook can never be taken away."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.is_on = False
        sys.addaudithook(self._see)

    def _see(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.is_on and event in WATCHED:
            self.events.append(f"{event} {' '.join(str(one) for one in arguments)}"[:300])

    def mark(self) -> None:
        self.events.clear()
        self.is_on = True


class Caller:
    """A thread of the application: what its calls returned and raised."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.calls = 0
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        import shop

        while True:
            try:
                shop.f(), shop.g()
                self.calls += 1
            except BaseException as error:
                self.errors.append(f"{type(error).__name__}: {error}")
            time.sleep(0.001)


def told(oracle: Oracle, caller: Caller) -> dict[str, Any]:
    """Return all that there is to know of this process."""
    import scatter_agent
    import shop

    status = scatter_agent.status()
    return {
        "events": [*oracle.events],
        "values": [shop.f(), shop.g()],
        "errors": caller.errors,
        "calls": caller.calls,
        "state": status.state,
        "code": status.code,
        "reason": status.reason,
        "sequence": status.sequence,
        "contact": status.contact_at,
        "superseded": [*status.superseded],
        "refused": {r.function.partition(":")[2]: r.reason for r in status.refused},
    }


def main() -> None:
    import scatter_agent

    oracle = Oracle()
    caller = Caller()
    scatter_agent.start(wait=float(sys.argv[1]))
    print("{}", flush=True)
    for line in sys.stdin:
        command, answer = line.strip(), dict[str, Any]()
        if command == "mark":
            oracle.mark()
        elif command == "look":
            answer["looked"] = scatter_agent.look(5.0)
        elif command == "restart":
            scatter_agent.stop()
            scatter_agent.start()
        else:
            answer = told(oracle, caller)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
