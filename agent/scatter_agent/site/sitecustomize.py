"""What each Python interpreter below `scatter-agent run` runs before its program.

It waits for the cue to give the process an agent (`_scatter_cue`), and hands on to the
`sitecustomize` that would have been found without it. It is written for any Python: children of a
program may be old ones, which get no agent.

Invariants
1. Whatever goes wrong here is one line on stderr, and the program runs.
2. `sys.path` and `sys.modules` are as without it. PYTHONPATH is not: children find this there.
"""

import os
import sys

_FOLDER = os.path.dirname(os.path.abspath(__file__))
_SAID = "SCATTER_LAUNCH_SAID"


def _say(error):  # type: ignore[no-untyped-def]
    """Say why there is no agent, once in a family of processes."""
    if not os.environ.get(_SAID):
        os.environ[_SAID] = "1"
        text = " ".join(str(error).split()) or type(error).__name__
        sys.stderr.write("scatter-agent run: no agent in %s: %s\n" % (sys.executable, text))  # noqa: UP031


try:
    if sys.version_info >= (3, 11) and os.environ.get("SCATTER_DISABLED", "0") in ("", "0"):
        _cue = __import__("_scatter_cue")
        del sys.modules["_scatter_cue"]
        _cue.wait(_say)
except Exception as error:
    _say(error)  # type: ignore[no-untyped-call]
sys.path[:] = [part for part in sys.path if os.path.abspath(part) != _FOLDER]
sys.path_importer_cache.pop(_FOLDER, None)
_self = sys.modules.pop("sitecustomize")  # kept: the oldest Pythons empty a module that is let go
__import__("sitecustomize")  # the next one; or its absence, which `site` passes over
