"""A process that runs what the notebook pushed: for each quantity that it reads, a price."""

import sys

import scatter_agent

import scatter

price = scatter.get("price")
scatter_agent.start(application="worker")
asked = 0

for line in sys.stdin:
    scatter_agent.look(10)  # not needed; so that an answer here never is of a moment before
    asked += 1
    print(f"{price('coffee', int(line)):.2f}, answer {asked}", flush=True)
