"""Lives by seed, judged by the model: no event lost, none out of order, no run done twice."""

import itertools
import os
import subprocess
import sys
from typing import Final

import pytest

from tests.simulation.plan import plan_of
from tests.simulation.run import simulate
from tests.simulation.world import World

SECONDS: Final = 60.0
"""Of simulation in a run of the tests; ``make simulate`` gives it more."""
FIRST_SEED: Final = 1


@pytest.mark.timeout(SECONDS * 10)
def test_no_life_breaks_the_promise() -> None:
    run = simulate(itertools.count(FIRST_SEED), seconds=SECONDS)
    print(run)
    assert not run.failures, "\n".join(run.failures)


def test_a_seed_decides_everything() -> None:
    assert World(plan_of(11)).live() == World(plan_of(11)).live()


def test_a_seed_decides_everything_in_any_process() -> None:
    """Also with other hashes of strings, which order sets."""
    script = "from tests.simulation.plan import plan_of; from tests.simulation.world import World;"
    script += "print([World(plan_of(seed)).live().trace for seed in range(3)])"
    traces = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(traces) == 1
