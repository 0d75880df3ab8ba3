"""A job beside its task: what is known of it that the task does not know."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from queue_service.core.task import Task
from schemas.jobs import JobProgress, JobState, JobStep

RUN_STEP: Final = "Run"
"""The step of a type that declares none (T-6)."""


@dataclass(frozen=True, slots=True)
class Job:
    """Its type, its steps and how far it is. ``any_order`` and ``resumable`` are those of its type (T-4)."""

    task_id: str
    type: str
    version: int
    env_id: str | None
    digest: str
    """Of what was submitted."""
    secrets: str | None
    """Encrypted."""
    any_order: bool
    resumable: bool
    steps: tuple[JobStep, ...]
    created: datetime
    expires: datetime
    progress: JobProgress | None = None
    """The last that was reported of the job as a whole."""
    cursor: Any = None
    cancel_reason: str | None = None
    noted: datetime | None = None
    """When progress was last an event."""
    told: datetime | None = None
    """When progress was last a message."""


def state_of(task: Task) -> JobState:
    """The state of the job that a task is (J-2)."""
    match task.state:
        case "unscheduled" | "pending":
            return "PENDING"
        case "running":
            return "RUNNING"
        case "completed":
            return "DONE"
        case "failed":
            return "ERROR"
        case "exception":
            return "CANCELLED" if task.runs[-1].reason_resolved == "canceled" else "ERROR"


def reason_of(job: Job, task: Task) -> str | None:
    """Why a job ended otherwise than well (J-2); of a cancellation what its caller said."""
    state = state_of(task)
    if state == "CANCELLED":
        return job.cancel_reason
    return task.runs[-1].reason_resolved if state == "ERROR" else None


def cancel_requested(task: Task) -> bool:
    """Whether the job will be cancelled unless its run completes."""
    return task.state == "running" and task.extras is not None and task.extras.cancel_requested


def attempt_of(task: Task) -> int:
    """The attempt that is under way or comes next, from 1 (J-2)."""
    return task.attempt + (task.state in ("unscheduled", "pending"))


def overall(job: Job) -> JobProgress:
    """How far the job is: as its worker said, or the mean of its steps (P-4)."""
    at = max([job.created, *(moment for step in job.steps for moment in _moments(step))])
    if job.progress is None:
        return JobProgress.trusted(percent=mean(job.steps), at=at)
    if job.progress.percent is None:
        return job.progress.model_copy(update={"percent": mean(job.steps)})
    return job.progress


def mean(steps: Sequence[JobStep]) -> float:
    """The mean of the steps' percents, rounded down; done is 100, and what was skipped does not count."""
    percents = [100.0 if step.state == "DONE" else step.percent or 0.0 for step in steps if _counts(step)]
    return float(sum(percents) // len(percents)) if percents else 100.0


def completed_steps(job: Job) -> tuple[str, ...]:
    return tuple(step.name for step in job.steps if step.state == "DONE")


def _counts(step: JobStep) -> bool:
    return step.state != "SKIPPED"


def _moments(step: JobStep) -> list[datetime]:
    return [moment for moment in (step.started, step.finished) if moment is not None]
