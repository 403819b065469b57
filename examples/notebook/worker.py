"""A process that runs what the notebook pushed: for each quantity that it reads, a price."""

import sys

import scatter_agent

import scatter

price = scatter.get("price")
scatter_agent.start(application="worker")

for asked, line in enumerate(sys.stdin, 1):
    scatter_agent.look(10)  # not needed; so that an answer here never is of a moment before
    print(f"{price('coffee', int(line)):.2f}, answer {asked}", flush=True)
