"""Every state a task can be in, by name (``queue-behaviour.md`` 6.1, ``seed-systems.md`` C)."""

from datetime import timedelta
from typing import Any, Final

from queue_service.core.extras import Extras, Snoozed
from queue_service.core.task import Task
from schemas.extensions import Fixed
from tests.core.samples import NOW, task

RUN_OUT: Final = {"takenUntil": NOW}
"""The claim of the last run expires at this very moment."""

_SHUTDOWN = "scheduled exception worker-shutdown held"
_INTERMITTENT = "scheduled exception intermittent-task held"
_EXPIRED = "scheduled exception claim-expired held"
_RETRY = "task-retry pending"
_SNOOZED = (Snoozed(0, "eu-1/w-1"),)


def _rerun(count: int, *last: str) -> tuple[str, ...]:
    """``count`` runs that a rerun followed each, before the last ones."""
    first = ["scheduled completed", *["rerun completed"] * (count - 1)]
    return (*first[: count - len(last)], *last)


LATER: Final = NOW + timedelta(hours=1)
"""When what is delayed comes due."""
MILLISECOND: Final = timedelta(milliseconds=1)


def _extended(*history: str, **members: Any) -> Task:
    """A task with extensions; what is no member of a task is one of them."""
    given = {name: members.pop(name) for name in Extras.__slots__ if name in members}
    return task(*history, extras=Extras(**given), **members)


STATES: Final[dict[str, Task]] = {
    "unscheduled": task(),
    "pending": task("scheduled pending"),
    "pending, no retries": task("scheduled pending", retries=0, retries_left=0),
    "running": task("scheduled running"),
    "running, claimed by id": task("scheduled running", claimed_by_id=True),
    "running, no retries left": task("scheduled running", retries_left=0),
    "running, claim run out": task("scheduled running", last=RUN_OUT),
    "running, claim run out a millisecond later": task(
        "scheduled running", last={"takenUntil": NOW + timedelta(milliseconds=1)}
    ),
    "running, claim run out, no retries left": task("scheduled running", retries_left=0, last=RUN_OUT),
    "completed": task("scheduled completed", ever_resolved=True),
    "completed, claimed by id": task("scheduled completed", ever_resolved=True, claimed_by_id=True),
    "failed": task("scheduled failed", ever_resolved=True),
    "canceled, never scheduled": task("exception exception canceled", ever_resolved=True),
    "canceled while pending": task("scheduled exception canceled", ever_resolved=True),
    "canceled while running": task("scheduled exception canceled held", ever_resolved=True),
    "deadline-exceeded, never scheduled": task("exception exception deadline-exceeded", ever_resolved=True),
    "deadline-exceeded while running": task("scheduled exception deadline-exceeded held", ever_resolved=True),
    "malformed-payload": task("scheduled exception malformed-payload held", ever_resolved=True),
    "resource-unavailable": task("scheduled exception resource-unavailable held", ever_resolved=True),
    "internal-error": task("scheduled exception internal-error held", ever_resolved=True),
    "worker-shutdown, no retries left": task(_SHUTDOWN, retries_left=0, ever_resolved=True),
    "intermittent-task, no retries left": task(_INTERMITTENT, retries_left=0, ever_resolved=True),
    "claim-expired, no retries left": task(_EXPIRED, retries_left=0, ever_resolved=True),
    "worker-shutdown, retry pending": task(_SHUTDOWN, "retry pending", retries_left=4),
    "intermittent-task, retry pending": task(_INTERMITTENT, "task-retry pending", retries_left=4),
    "claim-expired, retry pending": task(_EXPIRED, "retry pending", retries_left=4),
    "worker-shutdown, retry running": task(_SHUTDOWN, "retry running", retries_left=4),
    "intermittent-task, last retry running": task(_INTERMITTENT, "task-retry running", retries_left=0),
    "worker-shutdown, retry canceled": task(
        _SHUTDOWN, "retry exception canceled", retries_left=4, ever_resolved=True
    ),
    "worker-shutdown twice, retry pending": task(
        _SHUTDOWN, "retry exception worker-shutdown held", "retry pending", retries_left=3
    ),
    "worker-shutdown, final, rerun pending": task(_SHUTDOWN, "rerun pending", ever_resolved=True),
    "malformed-payload, rerun pending": task(
        "scheduled exception malformed-payload held", "rerun pending", ever_resolved=True
    ),
    "completed, rerun pending": task("scheduled completed", "rerun pending", ever_resolved=True),
    "failed, rerun running": task("scheduled failed", "rerun running", ever_resolved=True),
    "failed, rerun completed": task("scheduled failed", "rerun completed", ever_resolved=True),
    "46 runs, failed": task(*_rerun(46, "rerun failed"), ever_resolved=True),
    "49 runs, completed": task(*_rerun(49), retries_left=1, ever_resolved=True),
    "49 runs, running": task(*_rerun(49, "rerun running"), retries_left=1, ever_resolved=True),
    "50 runs, pending": task(*_rerun(50, "rerun pending"), retries_left=0, ever_resolved=True),
    "50 runs, running": task(*_rerun(50, "rerun running"), retries_left=0, ever_resolved=True),
    "50 runs, completed": task(*_rerun(50), retries_left=0, ever_resolved=True),
    "held": _extended(held=True),
    "held, starts later": _extended(held=True, run_at=LATER),
    "starts later": _extended(run_at=LATER, available_at=LATER),
    "starts now": _extended(run_at=NOW, available_at=NOW),
    "starts later, unmet dependencies": _extended(run_at=LATER),
    "delayed": _extended(_INTERMITTENT, _RETRY, max_attempts=3, errors=1, available_at=LATER),
    "delayed until now": _extended(_INTERMITTENT, _RETRY, max_attempts=3, errors=1, available_at=NOW),
    "delayed a millisecond more": _extended(
        _INTERMITTENT, _RETRY, max_attempts=3, errors=1, available_at=NOW + MILLISECOND
    ),
    "retried at once": _extended(_INTERMITTENT, _RETRY, max_attempts=3, errors=1),
    "snoozed": _extended("scheduled pending", snoozes=1, snoozed_by=_SNOOZED, available_at=LATER),
    "snoozed, available again": _extended("scheduled pending", snoozes=1, snoozed_by=_SNOOZED),
    "running, attempts left": _extended("scheduled running", max_attempts=3),
    "running, snoozed before": _extended("scheduled running", snoozes=1, snoozed_by=_SNOOZED),
    "running, second of two attempts": _extended(
        _INTERMITTENT, "task-retry running", max_attempts=2, errors=1
    ),
    "running, attempts left, no retries left": _extended("scheduled running", max_attempts=3, retries_left=0),
    "running, next attempt behind the deadline": _extended(
        "scheduled running", max_attempts=3, retry_policy=Fixed(kind="fixed", delay=timedelta(hours=4))
    ),
    "50 runs, running, attempts left": _extended(
        *_rerun(50, "rerun running"), max_attempts=50, ever_resolved=True
    ),
    "failed, attempts used up": _extended(
        _INTERMITTENT, "task-retry failed", max_attempts=2, errors=2, ever_resolved=True
    ),
    "failed, attempts left": _extended("scheduled failed", max_attempts=3, errors=1, ever_resolved=True),
}
