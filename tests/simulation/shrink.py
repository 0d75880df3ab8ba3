"""The smallest history that still breaks the promise: actions are left out as long as it breaks."""

from dataclasses import replace
from typing import Final

from tests.simulation.plan import Action, Plan
from tests.simulation.world import Outcome, World

MOST_LIVES: Final = 300


def shrink(plan: Plan) -> tuple[Plan, Outcome]:
    """A plan without what it does not need to fail (delta debugging), and what came of it."""
    outcome = World(plan).live()
    lives, size = 1, max(len(plan.actions) // 2, 1)
    while size and lives < MOST_LIVES:
        start, left_out = 0, False
        while start < len(plan.actions) and lives < MOST_LIVES:
            smaller = replace(plan, actions=plan.actions[:start] + plan.actions[start + size :])
            lives += 1
            if (tried := World(smaller).live()).violations:
                plan, outcome, left_out = smaller, tried, True
            else:
                start += size
        if size > 1:
            size //= 2
        elif not left_out:
            break
    return plan, outcome


def story(plan: Plan, outcome: Outcome) -> str:
    """A failed life for people to read; the seed and these actions live it again."""
    lines = [
        f"seed {plan.seed}, {plan.processes} processes: {len(plan.actions)} actions are enough",
        *map(_line, plan.actions),
    ]
    return "\n".join([*lines, *(f"VIOLATION {text}" for text in outcome.violations)])


def _line(action: Action) -> str:
    return f"  {action}"
