"""What operators count of a change: each step of a run once, and nothing of a change that did nothing."""

import pytest

from queue_service.core.run_steps import Step, run_steps
from queue_service.core.task import Change, Task, nothing
from tests.core.samples import task
from tests.core.states import STATES

RUNNING = STATES["running"]


@pytest.mark.parametrize(
    ("before", "after", "steps"),
    [
        (None, STATES["pending"], []),
        (STATES["pending"], RUNNING, [("running", "")]),
        (RUNNING, STATES["failed"], [("failed", "failed")]),
        (
            RUNNING,
            STATES["worker-shutdown, retry pending"],
            [("exception", "worker-shutdown")],
        ),
        (STATES["unscheduled"], task("scheduled exception canceled"), [("exception", "canceled")]),
        (
            STATES["pending"],
            task("scheduled exception canceled", "rerun pending", ever_resolved=True),
            [("exception", "canceled")],
        ),
        (STATES["failed"], STATES["failed, rerun running"], [("running", "")]),
    ],
    ids=[
        "created",
        "claimed",
        "failed",
        "retried",
        "cancelled before it had a run",
        "cancelled and rerun in one transaction",
        "rerun and claimed in one transaction",
    ],
)
def test_each_step_of_a_run_counts_once(before: Task | None, after: Task, steps: list[Step]) -> None:
    assert run_steps(Change(before, after)) == steps


def test_a_repeat_counts_nothing() -> None:
    assert run_steps(nothing(RUNNING)) == []
