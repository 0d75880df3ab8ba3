"""The steps that transitions are made of: a run more, the last run changed, the end of a task."""

from dataclasses import replace
from datetime import datetime

from queue_service.core.extras import Extras
from queue_service.core.task import Task
from schemas.task import MAX_RUNS, ReasonCreated, ReasonResolved, Run, RunState


def with_last_run(task: Task, run: Run) -> Task:
    return replace(task, runs=(*task.runs[:-1], run))


def with_new_run(task: Task, reason: ReasonCreated, now: datetime) -> Task:
    """A pending run that nothing delays."""
    run = Run.trusted(run_id=len(task.runs), state="pending", reason_created=reason, scheduled=now)
    return replace(task, runs=(*task.runs, run), claimed_by_id=False, available_at=None)


def with_run_ended(task: Task, state: RunState, reason: ReasonResolved, now: datetime) -> Task:
    """The last run is over; whether the task is, too, is not said yet."""
    run = task.runs[-1].model_copy(update={"state": state, "reason_resolved": reason, "resolved": now})
    return with_last_run(task, run)


def resolved(task: Task, state: RunState, reason: ReasonResolved, now: datetime) -> Task:
    """The task ended with its last run; one without a run gets one that only carries the end."""
    if task.runs:
        ended = with_run_ended(task, state, reason, now)
    else:
        carrier = Run.trusted(
            run_id=0,
            state=state,
            reason_created="exception",
            reason_resolved=reason,
            scheduled=now,
            resolved=now,
        )
        ended = replace(task, runs=(carrier,))
    expires = ended.expires if task.extras is None else _kept_until(ended, task.extras, now)
    return replace(ended, ever_resolved=True, available_at=None, expires=expires)


def may_have_another_run(task: Task) -> bool:
    return len(task.runs) < MAX_RUNS


def _kept_until(ended: Task, extras: Extras, now: datetime) -> datetime:
    """When the task may be forgotten, by how it ended (``seed-systems.md`` X-1)."""
    retention, run = extras.retention, ended.runs[-1]
    if retention is None:
        return ended.expires
    if run.state == "completed":
        kept = retention.completed
    elif run.reason_resolved == "canceled":
        kept = retention.canceled
    else:
        kept = retention.failed
    if kept is None:
        return ended.expires
    return now + kept if retention.shorten else max(ended.expires, now + kept)
