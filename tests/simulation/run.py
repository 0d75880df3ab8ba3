"""Many lives after another, with what they add up to."""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tests.simulation.plan import Plan, plan_of
from tests.simulation.shrink import shrink, story
from tests.simulation.world import World


@dataclass
class Run:
    """``steps``: callbacks of event loops and events of the world around them."""

    lives: int = 0
    steps: int = 0
    seconds: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        rate = self.steps / max(self.seconds, 0.001)
        faults = ", ".join(f"{name} {count}" for name, count in sorted(self.faults.items()))
        return (
            f"{self.lives} lives, {self.steps} steps in {self.seconds:.1f} s ({rate:.0f} steps/s), "
            f"{len(self.failures)} violations\nfaults: {faults or 'none'}"
        )


def simulate(
    seeds: Iterable[int],
    *,
    steps: int | None = None,
    seconds: float | None = None,
    failures: int = 1,
    shrunk: bool = True,
    plans: Callable[[int], Plan] = plan_of,
) -> Run:
    """Live these seeds until one of the bounds is reached; a life that fails is shrunk, or told as it was."""
    run = Run()
    began = time.monotonic()
    for seed in seeds:
        plan = plans(seed)
        outcome = World(plan).live()
        run.lives += 1
        run.steps += outcome.steps
        run.faults += outcome.faults
        run.seconds = time.monotonic() - began
        if outcome.violations:
            run.failures.append(story(*(shrink(plan) if shrunk else (plan, outcome))))
            if len(run.failures) >= failures:
                break
        if (steps is not None and run.steps >= steps) or (seconds is not None and run.seconds >= seconds):
            break
    return run
