"""What scatter costs, as ratios to what the machine can do at best, measured in the same run.

    python3 dev.py bench             all of them
    python3 dev.py bench call push   some

Nothing here is a test: figures depend on the machine, ratios much less. `harness` measures,
`table`, `plots` and `pages` show; `NAMES` are the benchmarks, each a module with a function
`run(progress)` that returns rows and curves.
"""

NAMES = (
    *("imports", "memory", "call", "link", "push", "trust", "size", "save", "web"),
    *("report", "idle", "mirror", "fanout", "scale", "costs"),
)
"""In the order in which they are run and shown."""
