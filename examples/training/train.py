"""A training that takes hours, and whose code is changed between two of its steps.

It learns the line y = 3x + 1 from noisy points; `--steps` says when it ends.
"""

import argparse
import random
import sys
import time

import scatter_agent
import step

EVERY = 50
"""Steps between two lines."""


def batch(size: int = 16) -> list[tuple[float, float]]:
    """Return noisy points of the line."""
    xs = [random.uniform(-1, 1) for _ in range(size)]
    return [(x, 3 * x + 1 + random.gauss(0, 0.05)) for x in xs]


def train(steps: int, pause_s: float) -> list[float]:
    """Return the weights after so many steps; 0: it never ends."""
    agent = scatter_agent.start(apply="manual", application="training")
    weights = [0.0, 0.0]  # state: what was learnt is kept
    done = 0
    while done < steps or not steps:
        for name, version in agent.apply().items():  # here, and nowhere else, code changes
            print(f"step {done}: {name} is v{version}", flush=True)
        rate = step.learning_rate(done)
        loss = step.update(weights, batch(), rate)
        if done % EVERY == 0:
            slope, offset = weights
            print(f"step {done}: loss {loss:.4f} rate {rate:.5f} y = {slope:.2f}x + {offset:.2f}")
            sys.stdout.flush()
        done += 1
        time.sleep(pause_s)
    return weights


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=0, help="0: until Ctrl-C")
    parser.add_argument("--pause", type=float, default=0.02, help="seconds after each step")
    arguments = parser.parse_args()
    try:
        train(arguments.steps, arguments.pause)
    except KeyboardInterrupt:
        pass
