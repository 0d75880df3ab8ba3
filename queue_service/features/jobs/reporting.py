"""What a worker reports of its job: which moves of steps are allowed, what progress comes to (P-2 to P-5)."""

import math
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic_core import to_json

from queue_service.core.attempts import MAX_ERROR, shortened
from queue_service.core.errors import InputTooLarge, RequestConflict, ResourceNotFound
from queue_service.features.jobs.job import Job
from schemas.jobs import JobProgress, JobStep, ProgressReport, StepReport

EVENT_PACE: Final = timedelta(milliseconds=250)
MESSAGE_PACE: Final = timedelta(seconds=1)
"""Progress that comes faster is not told each time; the last one is always kept (P-5)."""

_MOVES: Final = {
    ("PENDING", "RUNNING"),
    ("RUNNING", "DONE"),
    ("RUNNING", "ERROR"),
    ("PENDING", "DONE"),
}


def moved(job: Job, name: str, report: StepReport, now: datetime) -> Job:
    """The job after a step's report. Raises ResourceNotFound for an unknown step, RequestConflict for a move
    that steps do not make."""
    place = _place(job, name)
    step = job.steps[place]
    if step.state != report.state:
        if (step.state, report.state) not in _MOVES:
            raise RequestConflict(
                f"Step `{name}` of job `{job.task_id}` is {step.state} and cannot become {report.state}."
            )
        if step.state == "PENDING" and not job.any_order:
            _refuse_out_of_order(job, place)
    ended = report.state in ("DONE", "ERROR")
    told = {
        "state": report.state,
        "started": step.started or now,
        "finished": (step.finished or now) if ended else None,
        "percent": step.percent if report.percent is None else report.percent,
        "message": step.message if report.message is None else report.message,
        "error": step.error if report.error is None else shortened(report.error, MAX_ERROR),
    }
    cursor = report.cursor
    if cursor is None:
        # The cursor is that of the step under way: what is done needs none.
        cursor = None if report.state == "DONE" and step.state != "DONE" else job.cursor
    return replace(job, steps=_with(job.steps, place, step.model_copy(update=told)), cursor=cursor)


def _refuse_out_of_order(job: Job, place: int) -> None:
    """Raise RequestConflict unless the steps before are done, and no step runs (P-3)."""
    step = job.steps[place]
    for earlier in job.steps[:place]:
        if not step.always and not earlier.always and earlier.state != "DONE":
            raise RequestConflict(
                f"Step `{step.name}` of job `{job.task_id}` cannot begin: step `{earlier.name}` before it is "
                f"{earlier.state}."
            )
    for other in job.steps:
        if other.state == "RUNNING":
            raise RequestConflict(
                f"Step `{step.name}` of job `{job.task_id}` cannot begin: step `{other.name}` is running."
            )


def progressed(job: Job, report: ProgressReport, now: datetime) -> tuple[Job, JobProgress]:
    """The job after a report of progress, and what was reported. Raises ResourceNotFound (P-4)."""
    percent = report.percent
    if percent is None and report.current is not None and report.total is not None:
        percent = float(math.floor(100 * report.current / report.total))
    progress = JobProgress.trusted(
        percent=percent, current=report.current, total=report.total, message=report.message, at=now
    )
    if report.step is None:
        return replace(job, progress=progress), progress
    place = _place(job, report.step)
    step = job.steps[place]
    update = {
        "percent": step.percent if percent is None else percent,
        "message": step.message if report.message is None else report.message,
    }
    return replace(job, steps=_with(job.steps, place, step.model_copy(update=update))), progress


def is_noted(job: Job, now: datetime) -> bool:
    """Whether progress is an event now."""
    return job.noted is None or now - job.noted >= EVENT_PACE


def is_told(job: Job, now: datetime) -> bool:
    """Whether progress is a message now."""
    return job.told is None or now - job.told >= MESSAGE_PACE


def is_line_told(last: datetime | None, now: datetime) -> bool:
    """Whether a line is a message: the first in each second is (D.6)."""
    return last is None or last.replace(microsecond=0) != now.replace(microsecond=0)


def limited(value: Any, name: str, limit: int) -> str:
    """The value as JSON. Raises InputTooLarge."""
    text = to_json(value, inf_nan_mode="null")
    if len(text) > limit:
        raise InputTooLarge(f"`{name}` has {len(text)} bytes as JSON; at most {limit} are kept.")
    return text.decode()


def _place(job: Job, name: str) -> int:
    for place, step in enumerate(job.steps):
        if step.name == name:
            return place
    known = ", ".join(f"`{step.name}`" for step in job.steps)
    raise ResourceNotFound(f"Job `{job.task_id}` has no step `{name}`; it has {known}.")


def _with(steps: tuple[JobStep, ...], place: int, step: JobStep) -> tuple[JobStep, ...]:
    return (*steps[:place], step, *steps[place + 1 :])
