"""A process in which jurigged watches a module, and tells when it has the next edit of a function.

    python save_jurigged.py FOLDER MODULE FUNCTION WAIT_S

Runs in an environment of its own, in which jurigged is and scatter is not. After each time that
jurigged has read the file anew it prints the moment, by the clock that all processes of a machine
share, and what the function returns. WAIT_S is how long jurigged waits for a file to settle.
"""

from __future__ import annotations

import importlib
import json
import sys
import time


def main(folder: str, name: str, function: str, wait_s: str) -> None:
    """Watch until stdin ends."""
    import jurigged

    sys.path.insert(0, folder)
    watcher = jurigged.watch(f"{folder}/*.py", logger=lambda _event: None, debounce=float(wait_s))
    module = importlib.import_module(name)

    def told(*_: object) -> None:
        now = time.perf_counter()
        try:
            value = float(getattr(module, function)("de"))
        except Exception:  # it read half a file, and took the function away
            value = -1.0
        print(json.dumps({"switched": now, "value": value}), flush=True)

    watcher.postrun.register(told)
    print("ready", flush=True)
    sys.stdin.read()
    watcher.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
