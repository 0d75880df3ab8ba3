"""Values as a real queue sends them."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from schemas.ids import slugid
from schemas.queue import TaskClaimResponse, TaskReclaimResponse
from schemas.task import TaskDefinition, TaskStatus
from schemas.times import format_time

NOW: Final = datetime(2024, 5, 1, 12, 0, tzinfo=UTC)
CLAIM_SECONDS: Final = 1200.0
TASK_ID: Final = "VXcJ7lLRTuKhEcZBHVS7Zw"
OTHER_ID: Final = "AAAAAAAAQAiAAAAAAAAAAA"
GROUP_ID: Final = "fN1SbArXTPSVFNUvaOlinQ"


def status(task_id: str = TASK_ID, state: str = "pending", **run: Any) -> dict[str, Any]:
    """The status of a task whose only run is in this state."""
    return {
        "taskId": task_id,
        "provisionerId": "prov",
        "workerType": "type",
        "taskQueueId": "prov/type",
        "schedulerId": "-",
        "projectId": "none",
        "taskGroupId": GROUP_ID,
        "priority": "lowest",
        "deadline": format_time(NOW + timedelta(hours=1)),
        "expires": format_time(NOW + timedelta(days=366)),
        "retriesLeft": 5,
        "state": state,
        "runs": [
            {
                "runId": 0,
                "state": state,
                "reasonCreated": "scheduled",
                "scheduled": format_time(NOW - timedelta(minutes=5)),
                **run,
            }
        ],
    }


def definition(**members: Any) -> dict[str, Any]:
    """A task as the queue gives it out, with all defaults filled."""
    return {
        "provisionerId": "prov",
        "workerType": "type",
        "taskQueueId": "prov/type",
        "schedulerId": "-",
        "projectId": "none",
        "taskGroupId": GROUP_ID,
        "dependencies": [],
        "requires": "all-completed",
        "routes": [],
        "priority": "lowest",
        "retries": 5,
        "created": format_time(NOW),
        "deadline": format_time(NOW + timedelta(hours=1)),
        "expires": format_time(NOW + timedelta(days=366)),
        "scopes": [],
        "payload": {},
        "metadata": {
            "name": "build",
            "description": "",
            "owner": "ann@example.com",
            "source": "https://example.com",
        },
        "tags": {},
        "extra": {},
        **members,
    }


def reclaim(task_id: str = TASK_ID, *, taken_until: datetime, token: str = "secret") -> dict[str, Any]:
    running = {"workerGroup": "group", "workerId": "worker", "takenUntil": format_time(taken_until)}
    return {
        "status": status(task_id, "running", started=format_time(NOW), **running),
        "runId": 0,
        **running,
        "credentials": {"clientId": "task-client", "accessToken": token, "certificate": "{}"},
    }


def claim(task_id: str | None = None, payload: dict[str, Any] | None = None) -> dict[str, Any]:
    """A run claimed at :data:`NOW` for 1200 s."""
    held = reclaim(task_id or slugid(), taken_until=NOW + timedelta(seconds=CLAIM_SECONDS))
    return {**held, "task": definition(payload=payload or {})}


def claimed(task_id: str | None = None, payload: dict[str, Any] | None = None) -> TaskClaimResponse:
    return TaskClaimResponse.model_validate(claim(task_id, payload))


def reclaimed(task_id: str, *, seconds: float, token: str = "secret") -> TaskReclaimResponse:
    """The claim of a run, renewed until so many seconds after :data:`NOW`."""
    return TaskReclaimResponse.model_validate(
        reclaim(task_id, taken_until=NOW + timedelta(seconds=seconds), token=token)
    )


def task_status(task_id: str, state: str) -> TaskStatus:
    return TaskStatus.model_validate(status(task_id, state))


def task() -> TaskDefinition:
    return TaskDefinition.model_validate(definition())
