"""A fleet follows the log while everything around it fails: the short form of the fault run."""

from __future__ import annotations

import os
import secrets
import sys

import pytest
from support import ROOT

sys.path.insert(0, str(ROOT))
try:
    from benchmarks import faults, faults_kinds
finally:
    del sys.path[0]


@pytest.mark.slow
def test_a_fleet_gets_to_the_tip_after_every_fault_and_nothing_is_torn() -> None:
    seed = int(os.environ.get("FAULTS_SEED", "0")) or secrets.randbelow(1_000_000) + 1
    done = faults.run(seed, 0.55, quick=True)
    assert not done.broken, "\n".join(done.broken)
    summary = done.summary()
    assert summary["releases"] > 100
    assert summary["switches"] > 100
    assert len(summary["faults"]) > 5
    assert all(fault["took_s"] for fault in summary["faults"])


def test_the_plan_of_a_fault_run_follows_from_its_seed_and_has_every_kind() -> None:
    count = len(faults_kinds.KINDS)
    plans = [
        [kind for kind, _ in zip(faults.plan_of(seed, quick=False), range(count), strict=False)]
        for seed in (1, 1, 2)
    ]
    assert plans[0] == plans[1] != plans[2]
    assert set(plans[0]) == set(faults_kinds.KINDS)
