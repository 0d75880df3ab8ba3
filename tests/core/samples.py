"""Definitions as a client sends them, and tasks in every state.

The tasks are spelled out run by run: nothing here is made by the rules under test.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from queue_service.core import definition as definitions
from queue_service.core.task import Task
from schemas.ids import slugid
from schemas.queue import CreateTaskRequest
from schemas.task import PRIORITIES, Run, TaskDefinition
from schemas.times import format_time

NOW: Final = datetime(2024, 5, 1, 12, 0, 0, 123000, tzinfo=UTC)
CREATED: Final = NOW - timedelta(minutes=10)
DEADLINE: Final = NOW + timedelta(hours=4)
EXPIRES: Final = NOW + timedelta(days=30)
CLAIM_TIMEOUT: Final = timedelta(seconds=1200)

TASK_ID: Final = "fN1SbArXTPSVFNUvaOlinQ"
GROUP_ID: Final = "dSlITZ4yQgmvxxAi4A8fHQ"
WORKER: Final = {"workerGroup": "eu-1", "workerId": "w-1"}
HELD_BY: Final[dict[str, Any]] = {"worker_group": "eu-1", "worker_id": "w-1"}
TAGS: Final = {"kind": "build"}


def sent(**members: Any) -> dict[str, Any]:
    """The body of a createTask; members that are None are left out."""
    body = {
        "taskQueueId": "prov/type",
        "schedulerId": "sched",
        "created": format_time(CREATED),
        "deadline": format_time(DEADLINE),
        "expires": format_time(EXPIRES),
        "payload": {"command": ["true"]},
        "metadata": {
            "name": "n",
            "description": "d",
            "owner": "o@example.com",
            "source": "https://example.com",
        },
        "tags": TAGS,
    } | members
    return {key: value for key, value in body.items() if value is not None}


def request(**members: Any) -> CreateTaskRequest:
    return CreateTaskRequest.model_validate(sent(**members))


def definition(task_id: str = TASK_ID, **members: Any) -> TaskDefinition:
    """A complete definition; ``members`` by their names on the wire."""
    return definitions.complete(task_id, request(**members))


def new_ids(count: int) -> list[str]:
    """Fresh task ids, in order."""
    return sorted(slugid() for _ in range(count))


def runs(*history: str, last: dict[str, datetime] | None = None) -> tuple[Run, ...]:
    """Runs from one line each: why created, state, why resolved, and ``held`` when a worker had it.

    ``"scheduled exception worker-shutdown held"``, ``"retry pending"``. What is running, completed or failed
    was held. ``last`` replaces times of the last run.
    """
    made = [_run(number, line.split()) for number, line in enumerate(history)]
    if last:
        made[-1] = made[-1] | {key: format_time(value) for key, value in last.items()}
    return tuple(Run.model_validate(run) for run in made)


def _run(number: int, words: Sequence[str]) -> dict[str, Any]:
    reason_created, state = words[:2]
    scheduled = CREATED + timedelta(seconds=5 * number)
    run: dict[str, Any] = {
        "runId": number,
        "state": state,
        "reasonCreated": reason_created,
        "scheduled": format_time(scheduled),
    }
    if state in ("running", "completed", "failed") or "held" in words:
        started = scheduled + timedelta(seconds=1)
        run |= WORKER | {"started": format_time(started), "takenUntil": format_time(started + CLAIM_TIMEOUT)}
    if state not in ("pending", "running"):
        reason = state if state in ("completed", "failed") else words[2]
        run |= {"reasonResolved": reason, "resolved": format_time(scheduled + timedelta(seconds=4))}
    return run


def task(
    *history: str,
    task_id: str = TASK_ID,
    retries: int = 5,
    retries_left: int = 5,
    ever_resolved: bool = False,
    claimed_by_id: bool = False,
    last: dict[str, datetime] | None = None,
    **members: Any,
) -> Task:
    """A task with these runs (see :func:`runs`)."""
    facts: dict[str, Any] = {
        "task_id": task_id,
        "task_queue_id": "prov/type",
        "scheduler_id": "sched",
        "project_id": "none",
        "task_group_id": GROUP_ID,
        "deadline": DEADLINE,
        "expires": EXPIRES,
        "requires": "all-completed",
        "retries": retries,
        "routes": ("ci.try",),
        "tags": TAGS,
        "priority": PRIORITIES[3],
        "retries_left": retries_left,
        "runs": runs(*history, last=last),
        "ever_resolved": ever_resolved,
        "claimed_by_id": claimed_by_id,
    }
    return Task(**(facts | members))
