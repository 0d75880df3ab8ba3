"""Transactions of jobs: submitted, reported, cancelled, many at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Self

from queue_service.core import transitions
from queue_service.core.errors import QueueError, RequestConflict, ResourceNotFound
from queue_service.core.task import Change, Task
from queue_service.features.jobs import event_store, reporting, store
from queue_service.features.jobs.event_store import NewEvent
from queue_service.features.jobs.following import state_event, step_event
from queue_service.features.jobs.job import Job, overall, state_of
from queue_service.features.jobs.reporting import limited
from queue_service.features.jobs.secrets import Secrets
from queue_service.features.jobs.submission import Submission
from queue_service.features.jobs.witness import updated
from queue_service.operations import tasks as task_operations
from queue_service.operations.ledger import Ledger
from queue_service.operations.tasks import Made
from queue_service.store import attempts, outbox, tasks
from queue_service.store.database import Tx
from queue_service.store.outbox import Outgoing
from schemas.attempts import MAX_OUTPUT
from schemas.jobs import MAX_CURSOR, JobLine, LogReport, OutputReport, ProgressReport, StepReport

# ---- submitting --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Submitted:
    """A job as it stands after its submission: ``created`` unless it was there before."""

    task: Task
    job: Job
    created: bool


async def submit(
    tx: Tx, submissions: Sequence[Submission], secrets: Secrets, *, group_expiry_margin: timedelta
) -> list[Submitted | QueueError]:
    """Create jobs with their tasks. What was submitted before is answered as it stands (G-4).

    The job of a unique task that has an equal one is that of the other (U-7).
    """
    ids = [submission.job.task_id for submission in submissions]
    present = await tasks.get(tx.connection, ids)
    known = await store.get(tx.connection, ids)
    left_over = [task_id for task_id in known if task_id not in present]
    for task_id in left_over:
        del known[task_id]
    first: dict[str, Submission] = {}
    for submission in submissions:
        if submission.job.task_id not in known:
            first.setdefault(submission.job.task_id, submission)
    made = await task_operations.make(
        tx, [one.creation for one in first.values()], group_expiry_margin=group_expiry_margin
    )
    outcomes = dict(zip(first, made, strict=True))
    new = [
        _kept(submission, secrets)
        for task_id, submission in first.items()
        if isinstance(outcome := outcomes[task_id], Made) and outcome.created
    ]
    await event_store.forget(tx, left_over)
    await store.insert(tx, new)
    told = [state_event(job, _task(outcomes[job.task_id]), tx.now) for job in new]
    await event_store.append(tx, told)
    equal = [outcome.task.task_id for outcome in made if isinstance(outcome, Made) and not outcome.created]
    known |= await store.get(tx.connection, equal) | {job.task_id: job for job in new}
    created = {job.task_id for job in new}
    return [_submitted(submission, outcomes, present, known, created, secrets) for submission in submissions]


def _submitted(
    submission: Submission,
    outcomes: dict[str, Made | QueueError],
    present: dict[str, Task],
    known: dict[str, Job],
    created: set[str],
    secrets: Secrets,
) -> Submitted | QueueError:
    task_id = submission.job.task_id
    outcome = outcomes.get(task_id)
    if isinstance(outcome, QueueError):
        return outcome
    task = present[task_id] if outcome is None else outcome.task
    job = known.get(task.task_id)
    if job is None:
        return RequestConflict(f"Task `{task.task_id}` exists, and is no job.")
    if task.task_id == task_id and not _equal(job, submission, secrets):
        return RequestConflict(f"Job `{task_id}` was submitted before with other content.")
    is_new = task_id in created
    created.discard(task_id)  # a second submission of it in the same transaction is a repeat
    return Submitted(task, job, is_new)


def _task(outcome: Made | QueueError) -> Task:
    assert isinstance(outcome, Made)
    return outcome.task


def _kept(submission: Submission, secrets: Secrets) -> Job:
    return replace(submission.job, secrets=secrets.seal(submission.job.task_id, submission.secrets))


def _equal(job: Job, submission: Submission, secrets: Secrets) -> bool:
    return (
        job.digest == submission.job.digest and secrets.open(job.task_id, job.secrets) == submission.secrets
    )


# ---- reporting ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StepMove:
    """A report of a step."""

    name: str
    report: StepReport

    @classmethod
    def of(cls, name: str, report: StepReport) -> Self:
        """Raises InputTooLarge."""
        if report.cursor is not None:
            limited(report.cursor, "cursor", MAX_CURSOR)
        return cls(name, report)


@dataclass(frozen=True, slots=True)
class Output:
    """A result to keep, as JSON text."""

    text: str

    @classmethod
    def of(cls, report: OutputReport) -> Self:
        """Raises InputTooLarge."""
        return cls(limited(report.output, "output", MAX_OUTPUT))


Told = StepMove | ProgressReport | LogReport | Output


@dataclass(frozen=True, slots=True)
class RunReport:
    """What somebody tells of the job of a run. ``authorize`` raises unless he holds the run (P-1)."""

    job_id: str
    run_id: int
    told: Told
    authorize: Callable[[Task], None]


@dataclass(frozen=True, slots=True)
class Reported:
    """The job after a report."""

    task: Task
    job: Job


async def report(tx: Tx, reports: Sequence[RunReport]) -> list[Reported | QueueError]:
    """Take reports, in this order; each with its own outcome (P-1 to P-5, P-8)."""
    ids = [one.job_id for one in reports]
    locked = await tasks.lock(tx, ids)
    known = await store.get(tx.connection, ids)
    before = dict(known)
    lines = [one.job_id for one in reports if isinstance(one.told, LogReport)]
    desk = _Desk(tx, await event_store.last_lines(tx.connection, lines))
    outcomes: list[Reported | QueueError] = []
    for one in reports:
        try:
            task, job = locked.get(one.job_id), known.get(one.job_id)
            if task is None or job is None:
                raise job_not_found(one.job_id)
            one.authorize(task)
            refuse_unless_running(task, one.run_id)
            known[one.job_id] = job = desk.take(task, job, one.told)
            outcomes.append(Reported(task, job))
        except QueueError as error:
            outcomes.append(error)
    await event_store.append(tx, desk.events)
    await store.save(tx, [job for task_id, job in known.items() if job != before[task_id]])
    await attempts.write_outputs(tx, desk.outputs.items())
    await outbox.record(tx, desk.messages)
    return outcomes


class _Desk:
    """Collects what the reports of one transaction come to."""

    def __init__(self, tx: Tx, last_lines: dict[str, datetime]) -> None:
        self._now = tx.now
        self._last_lines = last_lines
        self.events: list[NewEvent] = []
        self.outputs: dict[str, str] = {}
        self.messages: list[Outgoing] = []

    def take(self, task: Task, job: Job, told: Told) -> Job:
        """The job after a report. Raises QueueError, with nothing collected."""
        match told:
            case StepMove():
                return self._moved(task, job, told)
            case ProgressReport():
                return self._progressed(task, job, told)
            case LogReport():
                self._line(task, job, told)
            case Output():
                self.outputs[job.task_id] = told.text
        return job

    def _moved(self, task: Task, job: Job, told: StepMove) -> Job:
        after = reporting.moved(job, told.name, told.report, self._now)
        for step, was in zip(after.steps, job.steps, strict=True):
            if step != was:
                self.events.append(step_event(after, state_of(task), step, self._now))
                self.messages.append(updated(after, task, step=step))
        return after

    def _progressed(self, task: Task, job: Job, told: ProgressReport) -> Job:
        after, progress = reporting.progressed(job, told, self._now)
        if reporting.is_noted(job, self._now):
            facts = {**progress.to_wire(), **({"step": told.step} if told.step else {})}
            self.events.append(NewEvent(job.task_id, "progress", facts, job.type, state_of(task)))
            after = replace(after, noted=self._now)
        if reporting.is_told(job, self._now):
            self.messages.append(updated(after, task, progress=overall(after)))
            after = replace(after, told=self._now)
        return after

    def _line(self, task: Task, job: Job, told: LogReport) -> None:
        facts = {"level": told.level, "message": told.message}
        self.events.append(NewEvent(job.task_id, "log", facts, job.type, state_of(task)))
        if reporting.is_line_told(self._last_lines.get(job.task_id), self._now):
            line = JobLine.trusted(level=told.level, message=told.message, at=self._now)
            self.messages.append(updated(job, task, log=line))
        self._last_lines[job.task_id] = self._now


def refuse_unless_running(task: Task, run_id: int) -> None:
    """Raise ResourceNotFound for a run that is none, RequestConflict for one that has ended."""
    run = transitions.run_of(task, run_id)
    if run is not task.last_run or run.state != "running":
        raise RequestConflict(transitions.not_running_text(task, run, "reported on"))


# ---- cancelling --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cancellation:
    """Somebody wants a job cancelled; ``authorize`` has its say about the job (it raises)."""

    job_id: str
    graceful: bool
    reason: str | None
    authorize: Callable[[Job], None]


async def cancel(tx: Tx, wanted: Sequence[Cancellation]) -> list[Reported | QueueError]:
    """Cancel jobs, at once or when their worker lets go of them; one that has ended stays as it is (B.6)."""
    ids = [one.job_id for one in wanted]
    locked = await tasks.lock(tx, ids)
    known = await store.get(tx.connection, ids)
    ledger = Ledger(locked)
    reasons: dict[str, Job] = {}
    outcomes: list[Task | QueueError] = []
    for one in wanted:
        try:
            task, job = ledger.get(one.job_id), known.get(one.job_id)
            if task is None or job is None:
                raise job_not_found(one.job_id)
            one.authorize(job)
            change = _cancelled(task, one, tx)
            if change is not None and change.alters:
                reasons[one.job_id] = known[one.job_id] = replace(job, cancel_reason=one.reason)
                task = ledger.apply(change)
            outcomes.append(task)
        except QueueError as error:
            outcomes.append(error)
    await store.save(tx, list(reasons.values()))  # before the ledger tells why
    await ledger.write(tx)
    after = await store.get(tx.connection, ids) if reasons else known
    return [
        outcome if isinstance(outcome, QueueError) else Reported(outcome, after[outcome.task_id])
        for outcome in outcomes
    ]


def _cancelled(task: Task, asked: Cancellation, tx: Tx) -> Change | None:
    if task.resolved:
        return None
    if asked.graceful:
        return transitions.cancel_gracefully(task, tx.now)
    return transitions.cancel(task, tx.now)


def job_not_found(job_id: str) -> ResourceNotFound:
    return ResourceNotFound(f"There is no job `{job_id}`.")
