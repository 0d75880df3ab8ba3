"""What is told of a task: the messages of the state machine (``queue-behaviour.md`` 10)."""

from dataclasses import replace
from datetime import datetime
from typing import Literal, assert_never

from queue_service.core.task import Task
from schemas.messages import (
    TaskCompletedMessage,
    TaskDefinedMessage,
    TaskExceptionMessage,
    TaskFailedMessage,
    TaskPendingMessage,
    TaskPriorityChangedMessage,
    TaskRunningMessage,
    TaskTags,
)
from schemas.task import Priority, Run

Outcome = Literal["completed", "failed"]


def defined(task: Task) -> TaskDefinedMessage:
    """Always the status before scheduling: no runs, all retries left (3.3)."""
    new = not task.runs and task.retries_left == task.retries
    status = (task if new else replace(task, runs=(), retries_left=task.retries)).status()
    return TaskDefinedMessage.trusted(status=status, task=_tags(task))


def pending(task: Task) -> TaskPendingMessage:
    return TaskPendingMessage.trusted(status=task.status(), task=_tags(task), run_id=task.runs[-1].run_id)


def running(task: Task) -> TaskRunningMessage:
    run = task.runs[-1]
    worker_group, worker_id, taken_until = held(run)
    return TaskRunningMessage.trusted(
        status=task.status(),
        task=_tags(task),
        run_id=run.run_id,
        worker_group=worker_group,
        worker_id=worker_id,
        taken_until=taken_until,
    )


def reported(task: Task, outcome: Outcome) -> TaskCompletedMessage | TaskFailedMessage:
    run = task.runs[-1]
    kind: type[TaskCompletedMessage | TaskFailedMessage]
    match outcome:
        case "completed":
            kind = TaskCompletedMessage
        case "failed":
            kind = TaskFailedMessage
        case _:
            assert_never(outcome)
    worker_group, worker_id, _ = held(run)
    return kind.trusted(
        status=task.status(),
        task=_tags(task),
        run_id=run.run_id,
        worker_group=worker_group,
        worker_id=worker_id,
    )


def exception(task: Task, run: Run) -> TaskExceptionMessage:
    return TaskExceptionMessage.trusted(
        status=task.status(),
        task=_tags(task),
        run_id=run.run_id,
        worker_group=run.worker_group,
        worker_id=run.worker_id,
    )


def past_deadline(task: Task) -> TaskExceptionMessage:
    """The worker is not told of, even if one had the run (6.6)."""
    return TaskExceptionMessage.trusted(status=task.status(), task=_tags(task), run_id=task.runs[-1].run_id)


def priority_changed(task: Task, old: Priority) -> TaskPriorityChangedMessage:
    return TaskPriorityChangedMessage.trusted(
        status=task.status(), old_priority=old, new_priority=task.priority
    )


def held(run: Run) -> tuple[str, str, datetime]:
    """Worker group, worker id and ``takenUntil`` of a run that a worker has, or had."""
    if run.worker_group is None or run.worker_id is None or run.taken_until is None:
        raise ValueError(f"run {run.run_id} is {run.state} and was never claimed")
    return run.worker_group, run.worker_id, run.taken_until


def _tags(task: Task) -> TaskTags:
    return TaskTags.trusted(tags=dict(task.tags))
