"""What a change of a job's task does to its steps, and the events that tell it (P-6, P-7, E-2, E-5)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from queue_service.core.task import Change, Task
from queue_service.features.jobs.event_store import NewEvent
from queue_service.features.jobs.job import RUN_STEP, Job, attempt_of, cancel_requested, reason_of, state_of
from schemas.jobs import JobState, JobStep
from schemas.task import Run
from schemas.times import format_time

TERMINAL: Final = frozenset({"DONE", "ERROR", "CANCELLED"})


@dataclass(frozen=True, slots=True)
class Followed:
    """The job after a change of its task, what is to be told of it, and which of its steps changed."""

    job: Job
    events: Sequence[NewEvent]
    steps: Sequence[JobStep]

    @property
    def ended(self) -> bool:
        return any(event.event == "end" for event in self.events)


def follow(job: Job, change: Change, now: datetime) -> Followed:
    """Steps end with their run, and begin anew with the next one; each change of state is an event.

    A new task is no change: whoever submits a job tells its first event.
    """
    before, after = change.before, change.after
    assert before is not None
    state = state_of(after)
    events: list[NewEvent] = []
    touched: list[JobStep] = []

    def keep(steps: tuple[JobStep, ...]) -> None:
        nonlocal job
        changed = [step for step, was in zip(steps, job.steps, strict=True) if step != was]
        job = replace(job, steps=steps)
        touched.extend(changed)
        events.extend(step_event(job, state, step, now) for step in changed)

    if before.state == "running" and after.state != "running" and not _snoozed(before, after):
        error = None if change.error is None else change.error.error
        keep(_with_run_ended(job.steps, after.runs[len(before.runs) - 1], error, now))
    if state_of(before) != state or cancel_requested(before) != cancel_requested(after):
        events.append(state_event(job, after, now))
    if before.state != "running" and after.state == "running" and _is_the_run(job.steps):
        keep((job.steps[0].model_copy(update={"state": "RUNNING", "started": now}),))
    if _begins_anew(before, after):
        kept = job.resumable and state_of(before) != "DONE"  # who runs again what is done wants all of it
        keep(tuple(step if kept and step.state == "DONE" else _fresh(step) for step in job.steps))
        job = replace(job, progress=None, cursor=job.cursor if kept else None)
    if state in TERMINAL and state_of(before) not in TERMINAL:
        events.append(_event(job, "end", state, _facts(state=state, reason=reason_of(job, after))))
    return Followed(replace(job, expires=after.expires), events, touched)


def state_event(job: Job, task: Task, now: datetime) -> NewEvent:
    """The job got into a state, or somebody asked for its cancellation."""
    state = state_of(task)
    run = task.last_run
    facts = _facts(
        state=state,
        reason=reason_of(job, task),
        attempt=attempt_of(task),
        runId=None if run is None else run.run_id,
        cancelRequested=cancel_requested(task) or None,
        at=format_time(now),
    )
    return _event(job, "state", state, facts)


def step_event(job: Job, state: JobState, step: JobStep, now: datetime) -> NewEvent:
    """A step of the job is as the event says, which is all of it."""
    return _event(job, "step", state, {**step.to_wire(), "at": format_time(now)})


def _with_run_ended(
    steps: tuple[JobStep, ...], run: Run, error: str | None, now: datetime
) -> tuple[JobStep, ...]:
    """The steps as the end of their run leaves them (P-6)."""
    if run.state == "completed":
        done = {"state": "DONE", "finished": now}
        skipped = {"state": "SKIPPED"}
        return tuple(
            step.model_copy(update=done)
            if step.state == "RUNNING"
            else step.model_copy(update=skipped)
            if step.state == "PENDING"
            else step
            for step in steps
        )
    failed = {"state": "ERROR", "finished": now, "error": error or run.reason_resolved}
    return tuple(step.model_copy(update=failed) if step.state == "RUNNING" else step for step in steps)


def _is_the_run(steps: tuple[JobStep, ...]) -> bool:
    """Whether they are the one step of a type that declares none: nobody reports it (T-6)."""
    return len(steps) == 1 and steps[0].name == RUN_STEP and steps[0].state == "PENDING"


def _begins_anew(before: Task, after: Task) -> bool:
    """Whether the job waits for another run, or for the same one once more."""
    return bool(before.runs) and (len(after.runs) > len(before.runs) or _snoozed(before, after))


def _snoozed(before: Task, after: Task) -> bool:
    return before.state == "running" and after.state == "pending" and len(after.runs) == len(before.runs)


def _fresh(step: JobStep) -> JobStep:
    return JobStep.trusted(name=step.name, state="PENDING", always=step.always)


def _event(job: Job, event: Any, state: JobState, data: Mapping[str, Any]) -> NewEvent:
    return NewEvent(job.task_id, event, data, job.type, state)


def _facts(**facts: Any) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if value is not None}
