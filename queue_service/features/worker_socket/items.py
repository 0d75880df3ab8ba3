"""Items of work as tasks: how one is written into a definition, and read from a task."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from queue_service.core.errors import InputError
from queue_service.core.task import Task
from queue_service.features.jobs.views import params_of
from queue_service.features.worker_socket.matching import folded
from schemas.queue import CreateTaskRequest
from schemas.task import JsonObject, TaskDefinition
from schemas.times import format_time
from schemas.work import DEFAULT_TIMEOUT, CreateWorkRequest

PROVISIONER: Final = "attached"
QUEUES: Final = f"{PROVISIONER}/"
QUEUES_END: Final = f"{PROVISIONER}0"
"""The first text behind all task queues of attached work: ``0`` comes after ``/``."""
SPILLOVER: Final = "work.spillover"
"""A tag of items that may go to a less specific worker."""
MARGIN: Final = timedelta(hours=1)
"""Of the deadline over all that may happen before: holds and timeouts of every retry."""
LONGEST_LIFE: Final = timedelta(days=5)
KEPT: Final = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a definition says about handing out its item."""

    data: Any
    name: str
    """As its creator wrote it."""
    timeout: timedelta
    hold: timedelta
    params: JsonObject
    """Of a typed job, without those that are secret."""


def queue_of(name: str) -> str:
    """The task queue of items of this name. Raises InputError for a name that gives none."""
    worker_type = folded(name)
    if not is_queue(worker_type):
        raise InputError(f"`/name`: `{name}` must end with a letter or a digit: it becomes a worker type.")
    return QUEUES + worker_type


def is_queue(folded_name: str) -> bool:
    """Whether there can be items of this name: it is a worker type."""
    return not folded_name.endswith("-")


def name_of(task: Task) -> str:
    """The folded name of a task's items."""
    return task.task_queue_id.removeprefix(QUEUES)


def attrs_of(tags: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in tags.items() if key != SPILLOVER}


def may_spill(task: Task) -> bool:
    return task.tags.get(SPILLOVER) == "true"


def task_of(work: CreateWorkRequest, now: datetime, max_deadline: timedelta) -> CreateTaskRequest:
    """The createTask body of an item. Raises InputError."""
    hold = work.hold_timeout or work.timeout
    life = min((work.timeout + hold) * (work.retries + 1) + MARGIN, LONGEST_LIFE, max_deadline)
    payload = {
        "name": work.name,
        "data": work.data,
        "timeout": work.timeout.total_seconds(),
        "holdTimeout": hold.total_seconds(),
    }
    spill = {SPILLOVER: "true"} if work.spillover else {}
    return CreateTaskRequest.model_validate(
        {
            "taskQueueId": queue_of(work.name),
            "created": format_time(now),
            "deadline": format_time(now + life),
            "expires": format_time(now + life + KEPT),
            "retries": work.retries,
            "priority": work.priority,
            "payload": payload,
            "tags": {**work.tags, **work.attrs, **spill},
            "metadata": {
                "name": work.name,
                "description": "Work for an attached worker.",
                "owner": "taskbus@example.com",
                "source": "https://example.com/attached-work",
            },
        }
    )


def terms_of(definition: TaskDefinition) -> Terms:
    """How to hand out a task; tasks that were created as any other have the defaults."""
    payload = definition.payload
    timeout = _duration(payload.get("timeout")) or DEFAULT_TIMEOUT
    name = payload.get("name")
    return Terms(
        data=payload.get("data", {}),
        name=name if isinstance(name, str) else definition.task_queue_id.removeprefix(QUEUES),
        timeout=timeout,
        hold=_duration(payload.get("holdTimeout")) or timeout,
        params=params_of(definition),
    )


def _duration(value: object) -> timedelta | None:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 10**6:
        return timedelta(seconds=value)
    return None
