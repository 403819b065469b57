"""What scatter costs, as ratios to what the machine can do at best, measured in the same run.

    python3 dev.py bench             all of them
    python3 dev.py bench call push   some

Nothing here is a test: figures depend on the machine, ratios much less. `harness` measures and
prints; every other module is one benchmark, a function `run(progress)` that returns rows.
"""
