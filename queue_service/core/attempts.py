"""Attempts at a task: what a worker reports beyond Taskcluster, and when the next attempt is made.

Rules: ``seed-systems.md`` C-2 to C-8, C-13 to C-15. As in ``transitions``, each function takes the task as
it stands and the time, and returns the change or raises the error of the wire. Which of them is called is
the worker's decision (C-6); how a failure is judged is decided here.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from pydantic_core import to_json

from queue_service.core import edits, telling, transitions
from queue_service.core.errors import InputTooLarge, RequestConflict
from queue_service.core.extras import MAX_SNOOZED_BY, PLAIN, Snoozed
from queue_service.core.task import Change, Task, counts_as_attempt, nothing
from queue_service.core.transitions import not_running_text, run_of
from schemas.attempts import MAX_OUTPUT, AttemptError, CompletionReport, FailureReport
from schemas.backoff import delay
from schemas.extensions import DEFAULT_POLICY, FailedAttempt
from schemas.task import ExceptionReason, Run

MAX_ERROR: Final = 16 * 1024
MAX_TRACE: Final = 64 * 1024
MAX_WORKERS: Final = 100
ON_THE_WAY: Final = timedelta(milliseconds=500)
"""What a report may take: a worker that wants the next attempt at once means a time that has just passed."""
CLAIM_EXPIRED: Final = "the claim expired before the worker reported"

NOTHING_TOLD: Final = FailureReport()
_CLAIM: Final = re.compile(r"task-client/[^/]+/([0-9]+)/on/([^/]+)/([^/]+)/until/.+")
"""The name of a claim's credentials (``queue-behaviour.md`` 7.3)."""


def completed(task: Task, run_id: int, report: CompletionReport, now: datetime) -> Change:
    """reportCompleted, with a result to keep. Raises InputTooLarge."""
    change = transitions.report(task, run_id, "completed", now)
    if report.output is None or not change.alters:
        return change
    output = to_json(report.output, inf_nan_mode="null")
    if len(output) > MAX_OUTPUT:
        raise InputTooLarge(f"`output` has {len(output)} bytes as JSON; at most {MAX_OUTPUT} are kept.")
    return replace(change, output=output.decode())


def failed(task: Task, run_id: int, report: FailureReport, now: datetime, jitter: float) -> Change:
    """reportFailed: another attempt where the task, its deadline and the report allow one (C-5).

    A plain task, and a plain report of it, do what they do in Taskcluster. ``jitter`` is between 0 and 1.
    """
    run = run_of(task, run_id)
    extras = task.extras or PLAIN
    if extras.max_attempts > 1 and run.reason_resolved == "intermittent-task":
        return transitions.report_exception(task, run_id, "intermittent-task", now)  # a repeat of the report
    due = None
    if run is task.last_run and run.state == "running":
        due = _next_attempt(task, report, now, jitter)
    if due is None:
        change = transitions.report(task, run_id, "failed", now)
    else:
        change = transitions.heeding_cancellation(_retried(task, due, now), now)
    told = report if extras.max_attempts > 1 or report != NOTHING_TOLD else None
    return _with_error(change, run, told)


def exception(task: Task, run_id: int, reason: ExceptionReason, told: FailedAttempt, now: datetime) -> Change:
    """reportException, which keeps its meaning; what is told of an error is kept."""
    change = transitions.report_exception(task, run_id, reason, now)
    return _with_error(change, run_of(task, run_id), told if told.error or told.trace else None)


def canceled(task: Task, run_id: int, told: FailedAttempt, now: datetime) -> Change:
    """The worker itself cancels the task, whatever attempts remain (C-6.2); a repeat tells again."""
    run = run_of(task, run_id)
    if run is task.last_run and run.reason_resolved == "canceled":
        return Change(task, task, (telling.exception(task, run),))
    _refuse_unless_running(task, run, "canceled")
    after = edits.resolved(task, "exception", "canceled", now)
    change = Change(task, after, (telling.exception(after, after.runs[-1]),))
    return _with_error(change, run, told)


def snoozed(task: Task, run_id: int, wait: timedelta, now: datetime) -> Change:
    """The run is pending again, under its number, and available after ``wait`` (C-15).

    It counts as no attempt. A repeat, while the run waits, changes nothing.
    """
    run = run_of(task, run_id)
    extras = task.extras or PLAIN
    if run is task.last_run and run.state == "pending" and extras.snoozes:
        return nothing(task)
    if (repeated := transitions.repeated_cancellation(task, run)) is not None:
        return repeated
    _refuse_unless_running(task, run, "snoozed")
    waiting = Run.trusted(
        run_id=run_id, state="pending", reason_created=run.reason_created, scheduled=run.scheduled
    )
    snoozed_by = (*extras.snoozed_by, Snoozed(run_id, f"{run.worker_group}/{run.worker_id}"))
    after = replace(
        edits.with_last_run(task, waiting),
        claimed_by_id=False,
        available_at=now + wait if wait else None,
        extras=replace(extras, snoozes=extras.snoozes + 1, snoozed_by=snoozed_by[-MAX_SNOOZED_BY:]),
    )
    change = Change(task, after, () if wait else (telling.pending(after),))
    return transitions.heeding_cancellation(change, now)


def refuse_former_holder(task: Task, client_id: str) -> None:
    """Raise RequestConflict for the credentials of a claim that ended when its run was snoozed (C-15).

    The run keeps its number, so its next worker's run has the name that these credentials are good for.
    """
    named = _CLAIM.fullmatch(client_id) if task.extras is not None and task.extras.snoozes else None
    if named is None:
        return
    run = run_of(task, int(named[1]))
    if run.worker_id is not None and (run.worker_group, run.worker_id) != (named[2], named[3]):
        raise RequestConflict(
            f"Run {run.run_id} of task `{task.task_id}` was snoozed, and another worker has claimed it since."
        )


# ---- what is shown ------------------------------------------------------------------------------------


def error_history(task: Task, reported: Sequence[AttemptError]) -> tuple[AttemptError, ...]:
    """The errors of all attempts, oldest first (C-3).

    Those that were reported, claims that ran out, and failures of which the worker told nothing.
    """
    by_run = {error.run_id: error for error in reported}
    attempt = 0
    for run in task.runs:
        attempt += counts_as_attempt(run)
        at, text = run.resolved, CLAIM_EXPIRED
        if run.reason_resolved == "failed" and run.run_id not in by_run:
            at, text = run.started, ""
        elif run.reason_resolved != "claim-expired":
            continue
        if at is not None:
            by_run[run.run_id] = AttemptError.trusted(
                at=at, attempt=attempt, run_id=run.run_id, error=text, trace=""
            )
    return tuple(by_run[run_id] for run_id in sorted(by_run))


def workers(task: Task) -> tuple[str, ...]:
    """The latest workers that had a run of the task, the oldest first (O-6)."""
    snoozed_by = task.extras.snoozed_by if task.extras else ()
    found: list[str] = []
    for run in task.runs:
        found.extend(snooze.worker for snooze in snoozed_by if snooze.run_id == run.run_id)
        if run.worker_id is not None:
            found.append(f"{run.worker_group}/{run.worker_id}")
    return tuple(found[-MAX_WORKERS:])


# ---- parts --------------------------------------------------------------------------------------------


def _next_attempt(task: Task, report: FailureReport, now: datetime, jitter: float) -> datetime | None:
    """When the next attempt is due; None when there is none.

    One that would lie behind the deadline is not made, so that the task fails at once (C-13).
    """
    extras = task.extras or PLAIN
    if not report.retry or task.attempt >= extras.max_attempts or not edits.may_have_another_run(task):
        return None
    if report.retry_at is not None and report.retry_at >= now - ON_THE_WAY:
        due = max(report.retry_at, now)
    else:
        # A time in the past is a fault of the type, whose policy is not trusted then either (C-6.8).
        own = extras.retry_policy if report.retry_at is None else None
        due = now + delay(own or DEFAULT_POLICY, _errors(task) + 1, jitter)
    return due if due < task.deadline else None


def _errors(task: Task) -> int:
    """How many errors there were so far (C-7)."""
    reported = task.extras.errors if task.extras else 0
    return reported + sum(run.reason_resolved == "claim-expired" for run in task.runs)


def _retried(task: Task, due: datetime, now: datetime) -> Change:
    """The run ended, and the next one waits until it is due. The retries of Taskcluster are left alone."""
    ended = edits.with_run_ended(task, "exception", "intermittent-task", now)
    after = edits.with_new_run(ended, "task-retry", now)
    if due > now:
        after = replace(after, available_at=due)
        return Change(task, after, (telling.exception(after, ended.runs[-1]),))
    return Change(task, after, (telling.exception(after, ended.runs[-1]), telling.pending(after)))


def _with_error(change: Change, run: Run, told: FailedAttempt | None) -> Change:
    """The change with the error of the run that it ended."""
    before = change.before
    if told is None or not change.alters or before is None or run.started is None:
        return change
    error = AttemptError.trusted(
        at=run.started,
        attempt=before.attempt,
        run_id=run.run_id,
        error=shortened(told.error or "", MAX_ERROR),
        trace=shortened(told.trace or "", MAX_TRACE),
    )
    extras = change.after.extras or PLAIN
    after = replace(change.after, extras=replace(extras, errors=extras.errors + 1))
    return replace(change, after=after, error=error)


def shortened(text: str, limit: int) -> str:
    """The text, or its beginning and end with a mark between, within so many bytes of UTF-8 (C-4)."""
    encoded = text.encode(errors="replace")
    if len(encoded) <= limit:
        return encoded.decode()
    mark = f"\n… {len(encoded) - limit} bytes and more are left out …\n"
    half = (limit - len(mark.encode())) // 2
    return encoded[:half].decode(errors="ignore") + mark + encoded[-half:].decode(errors="ignore")


def _refuse_unless_running(task: Task, run: Run, verb: str) -> None:
    if run is not task.last_run or run.state != "running":
        raise RequestConflict(not_running_text(task, run, verb))
