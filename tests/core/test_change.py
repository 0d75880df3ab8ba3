"""What a change means for the store: of one transition, and of several that are written as one."""

from dataclasses import replace

import pytest

from queue_service.core.task import Change, Task, nothing
from tests.core.samples import task
from tests.core.states import STATES

PENDING = STATES["pending"]
RERUN = task("scheduled exception canceled", "rerun pending", ever_resolved=True)


@pytest.mark.parametrize(
    ("before", "after", "queues"),
    [
        (None, PENDING, True),
        (None, STATES["unscheduled"], False),
        (STATES["unscheduled"], PENDING, True),
        (PENDING, replace(PENDING, priority="highest"), False),
        (PENDING, RERUN, True),
        (PENDING, STATES["running"], False),
        (STATES["running"], STATES["worker-shutdown, retry pending"], True),
        (STATES["failed"], STATES["failed, rerun running"], False),
    ],
    ids=[
        "created pending",
        "created unscheduled",
        "scheduled",
        "another priority keeps the place",
        "cancelled and rerun in one transaction",
        "claimed",
        "retried",
        "rerun and claimed in one transaction",
    ],
)
def test_a_run_takes_a_place_in_line_when_it_became_pending(
    before: Task | None, after: Task, queues: bool
) -> None:
    assert Change(before, after).queues == queues


def test_nothing_changes_nothing() -> None:
    change = nothing(STATES["completed"])
    assert (change.alters, change.resolves, change.queues, change.messages) == (False, False, False, ())
