"""The state machine: every way a task may change (``queue-behaviour.md`` 6.1 to 6.8, ``seed-systems.md`` C).

Each function takes the task as it stands and the time, and returns the change with the messages in
publishing order, or raises the error of the wire. Calls that find nothing to do return a change that
does not alter the task; repeats tell their messages again.
"""

from dataclasses import replace
from datetime import datetime

from queue_service.core import edits, telling
from queue_service.core.errors import RequestConflict, run_not_found
from queue_service.core.extras import PLAIN
from queue_service.core.task import Change, Task, nothing
from queue_service.core.telling import Outcome
from schemas.messages import Message
from schemas.task import MAX_RUNS, ExceptionReason, Priority, ReasonCreated, ReasonResolved, Run
from schemas.times import format_time

RETRYING_REASONS: dict[str, ReasonCreated] = {
    "worker-shutdown": "retry",
    "intermittent-task": "task-retry",
    "claim-expired": "retry",
}
"""Reasons that take a retry while there is one, and why the next run is then created."""


# ---- coming into being ------------------------------------------------------------------------------


def create(unscheduled: Task, now: datetime, *, unmet_dependencies: bool) -> Change:
    """A new task: pending at once unless it waits for dependencies (3.1), its time or a release (C-11)."""
    defined = telling.defined(unscheduled)
    if unmet_dependencies or _waits_to_start(unscheduled, now):
        after = unscheduled if unmet_dependencies else _delayed_start(unscheduled)
        return Change(None, after, (defined,))
    after = edits.with_new_run(unscheduled, "scheduled", now)
    return Change(None, after, (defined, telling.pending(after)))


def repeat_create(task: Task) -> Change:
    """The same createTask again: nothing changes, its messages are told again (3.2)."""
    if len(task.runs) == 1 and task.in_line:
        return Change(task, task, (telling.defined(task), telling.pending(task)))
    return Change(task, task, (telling.defined(task),))


def schedule(task: Task, now: datetime) -> Change:
    """scheduleTask: run 0 becomes pending whatever the dependencies are (6.2)."""
    _refuse_after_deadline(task, now, "scheduled")
    return _schedule(task, now)


def dependencies_met(task: Task, now: datetime) -> Change:
    """The last dependency was satisfied; a dependent past its deadline stays as it is (4).

    So does one that is held; one that starts later waits for that.
    """
    if task.runs or task.deadline_passed(now):
        return nothing(task)
    if _waits_to_start(task, now):
        after = _delayed_start(task)
        return nothing(task) if after == task else Change(task, after)
    return _schedule(task, now)


def _waits_to_start(task: Task, now: datetime) -> bool:
    extras = task.extras
    return extras is not None and (extras.held or extras.starts_after(now) is not None)


def _delayed_start(task: Task) -> Task:
    """The task as it waits for its ``runAt``; a held one waits for nothing but its release."""
    extras = task.extras
    return task if extras is None or extras.held else replace(task, available_at=extras.run_at)


def come_due(task: Task, now: datetime) -> Change:
    """What was delayed joins the line: an unscheduled task by its first run (C-9, C-11)."""
    if task.available_at is None or task.available_at > now or task.deadline_passed(now):
        return nothing(task)
    return _make_available(task, now)


def _make_available(task: Task, now: datetime) -> Change:
    after = replace(task, available_at=None) if task.runs else edits.with_new_run(task, "scheduled", now)
    return Change(task, after, (telling.pending(after),))


def _schedule(task: Task, now: datetime) -> Change:
    if task.runs:
        return nothing(task)
    after = edits.with_new_run(task, "scheduled", now)
    return Change(task, after, (telling.pending(after),))


# ---- work -------------------------------------------------------------------------------------------


def claim(
    task: Task,
    now: datetime,
    taken_until: datetime,
    *,
    worker_group: str,
    worker_id: str,
    by_id: bool = False,
) -> Change:
    """A worker takes the pending last run. The caller made sure that it is pending."""
    run = task.runs[-1]
    if not task.in_line:
        state = "delayed" if run.state == "pending" else run.state
        raise RequestConflict(f"Run {run.run_id} of task `{task.task_id}` is {state}, not pending.")
    claimed = run.model_copy(
        update={
            "state": "running",
            "worker_group": worker_group,
            "worker_id": worker_id,
            "started": now,
            "taken_until": taken_until,
        }
    )
    after = replace(edits.with_last_run(task, claimed), claimed_by_id=by_id)
    return Change(task, after, (telling.running(after),))


def claim_by_id(
    task: Task, run_id: int, now: datetime, taken_until: datetime, *, worker_group: str, worker_id: str
) -> Change:
    """claimTask (6.3): the named run, if it is the last one and pending, or already held this way."""
    if task.deadline_passed(now):
        raise RequestConflict(_deadline_text(task, "claimed"))
    run = run_of(task, run_id)
    if run is task.last_run and run.state == "pending":
        if task.available_at is not None and task.available_at > now:
            raise RequestConflict(
                f"Run {run_id} of task `{task.task_id}` cannot be claimed before "
                f"{format_time(task.available_at)}: it is delayed until then."
            )
        due = come_due(task, now)
        claimed = claim(
            due.after, now, taken_until, worker_group=worker_group, worker_id=worker_id, by_id=True
        )
        return Change(task, claimed.after, (*due.messages, *claimed.messages))
    holder = (run.worker_group, run.worker_id)
    if (
        run is task.last_run
        and run.state == "running"
        and task.claimed_by_id
        and holder == (worker_group, worker_id)
    ):
        return Change(task, task, (telling.running(task),))
    raise RequestConflict(
        f"Run {run_id} of task `{task.task_id}` cannot be claimed: it is {run.state}, "
        f"{'the last run' if run is task.last_run else 'not the last run'}, "
        f"held by {'/'.join(str(part) for part in holder) if run.worker_id else 'nobody'}."
    )


def reclaim(task: Task, run_id: int, now: datetime, taken_until: datetime) -> Change:
    """reclaimTask: the holder of a running run keeps it longer; tells nothing (6.4)."""
    run = run_of(task, run_id)
    if task.deadline_passed(now):
        raise RequestConflict(_deadline_text(task, "reclaimed"))
    if run is not task.last_run or run.state != "running":
        raise RequestConflict(not_running_text(task, run, "reclaimed"))
    return Change(task, edits.with_last_run(task, run.model_copy(update={"taken_until": taken_until})))


def report(task: Task, run_id: int, outcome: Outcome, now: datetime) -> Change:
    """reportCompleted and reportFailed; there is no deadline check, and a repeat tells again (6.4)."""
    run = run_of(task, run_id)
    if outcome == "failed" and (repeated := repeated_cancellation(task, run)) is not None:
        return repeated
    if run is not task.last_run or run.state not in ("running", outcome):
        raise RequestConflict(not_running_text(task, run, f"reported {outcome}"))
    if run.state == outcome:
        return Change(task, task, (telling.reported(task, outcome),))
    after = edits.resolved(task, outcome, outcome, now)
    return heeding_cancellation(Change(task, after, (telling.reported(after, outcome),)), now)


def report_exception(task: Task, run_id: int, reason: ExceptionReason, now: datetime) -> Change:
    """reportException: two of the five reasons take a retry; a repeat tells again (6.4)."""
    run = run_of(task, run_id)
    if run is task.last_run and run.state == "running":
        return _end_with_exception(task, reason, now)
    if (repeated := repeated_cancellation(task, run)) is not None:
        return repeated
    later = task.runs[run_id + 1 :]
    if run.state != "exception" or run.reason_resolved != reason or len(later) > 1:
        raise RequestConflict(not_running_text(task, run, f"reported as exception {reason}"))
    messages: tuple[Message, ...] = (telling.exception(task, run),)
    if later and task.in_line and later[0].reason_created == RETRYING_REASONS.get(reason):
        messages = (*messages, telling.pending(task))
    return Change(task, task, messages)


def expire_claim(task: Task, now: datetime) -> Change:
    """The worker's time ran out (6.5). A claim that was renewed, and a task past its deadline, stay."""
    run = task.last_run
    if run is None or run.state != "running" or run.taken_until is None:
        return nothing(task)
    if run.taken_until > now or task.deadline_passed(now):
        return nothing(task)
    return _end_with_exception(task, "claim-expired", now)


def _end_with_exception(task: Task, reason: ReasonResolved, now: datetime) -> Change:
    """End the running run; append a retry where the reason, the retries left and the runs allow it."""
    retry_reason = RETRYING_REASONS.get(reason)
    if cancellation_waits(task):
        return cancel_member(task, now)
    if retry_reason is None or task.retries_left == 0 or not edits.may_have_another_run(task):
        after = edits.resolved(task, "exception", reason, now)
        return Change(task, after, (telling.exception(after, after.runs[-1]),))
    ended = edits.with_run_ended(task, "exception", reason, now)
    after = edits.with_new_run(replace(ended, retries_left=task.retries_left - 1), retry_reason, now)
    return Change(task, after, (telling.exception(after, ended.runs[-1]), telling.pending(after)))


# ---- ending from outside, and starting again --------------------------------------------------------


def cancel(task: Task, now: datetime) -> Change:
    """cancelTask: ends what is not ended; repeated, it tells again (6.2)."""
    _refuse_after_deadline(task, now, "canceled")
    return cancel_member(task, now)


def cancel_member(task: Task, now: datetime) -> Change:
    """What cancelTask and cancelTaskGroup do to one task before its deadline."""
    run = task.last_run
    if task.resolved:
        if run is not None and run.reason_resolved == "canceled":
            return Change(task, task, (telling.exception(task, run),))
        return nothing(task)
    after = edits.resolved(task, "exception", "canceled", now)
    return Change(task, after, (telling.exception(after, after.runs[-1]),))


def cancel_gracefully(task: Task, now: datetime) -> Change:
    """Cancel what no worker has at once; a worker may finish its run, and may learn of it (K-3)."""
    if task.state != "running":
        return nothing(task) if task.resolved else cancel(task, now)
    if cancellation_waits(task):
        return nothing(task)
    return Change(task, replace(task, extras=replace(task.extras or PLAIN, cancel_requested=True)))


def cancellation_waits(task: Task) -> bool:
    """Whether the end of the run that is under way will be the cancellation, unless it completes."""
    return task.state == "running" and task.extras is not None and task.extras.cancel_requested


def heeding_cancellation(change: Change, now: datetime) -> Change:
    """The change, or the cancellation that takes its place: no end of a run but success, and no delay before
    the next one, gets around a cancellation that waits (K-3, K-4).
    """
    before = change.before
    if before is None or not cancellation_waits(before) or change.after.state in ("running", "completed"):
        return change
    return cancel_member(before, now)


def repeated_cancellation(task: Task, run: Run) -> Change | None:
    """What a repeated report tells again, if its run was cancelled in place of what it had reported."""
    asked = task.extras is not None and task.extras.cancel_requested
    if run is not task.last_run or run.reason_resolved != "canceled" or not asked:
        return None
    return Change(task, task, (telling.exception(task, run),))


def pass_deadline(task: Task, now: datetime) -> Change:
    """The deadline passed before the task was resolved; worker ids are never told (6.6)."""
    if task.resolved or task.deadline > now:
        return nothing(task)
    after = edits.resolved(task, "exception", "deadline-exceeded", now)
    return Change(task, after, (telling.past_deadline(after),))


def rerun(task: Task, now: datetime) -> Change:
    """rerunTask: a new run for a task that is resolved or was never scheduled (6.2).

    A run that is delayed becomes available at once, and an attempt is added to those that are used up
    (``seed-systems.md`` O-3).
    """
    _refuse_after_deadline(task, now, "rerun")
    if task.state == "running":
        return nothing(task)
    if task.in_line:
        return Change(task, task, (telling.pending(task),))
    if task.state == "pending":
        return _make_available(task, now)
    if len(task.runs) >= MAX_RUNS:
        raise RequestConflict(
            f"Task `{task.task_id}` has {MAX_RUNS} runs, which is the most a task may have."
        )
    retries_left = min(task.retries, MAX_RUNS - 1 - len(task.runs))
    extras = task.extras
    if extras is not None and not extras.plain and task.attempt >= extras.max_attempts:
        extras = replace(extras, max_attempts=extras.max_attempts + 1)
    if extras is not None and extras.cancel_requested:
        extras = replace(extras, cancel_requested=False)
    after = edits.with_new_run(replace(task, retries_left=retries_left, extras=extras), "rerun", now)
    return Change(task, after, (telling.pending(after),))


def change_priority(task: Task, priority: Priority, now: datetime) -> Change:
    """changeTaskPriority: only for a task that was never resolved, and only to another value (6.8)."""
    if task.deadline_passed(now):
        raise RequestConflict(_deadline_text(task, "given another priority"))
    if task.ever_resolved:
        raise RequestConflict(f"Task `{task.task_id}` was already resolved; its priority cannot change.")
    if task.priority == priority:
        raise RequestConflict(f"Task `{task.task_id}` already has priority `{priority}`.")
    after = replace(task, priority=priority)
    return Change(task, after, (telling.priority_changed(after, task.priority),))


def change_member_priority(task: Task, priority: Priority, now: datetime) -> Change:
    """What changeTaskGroupPriority does to one task: silently nothing where it does not apply (6.8)."""
    if task.deadline_passed(now) or task.ever_resolved or task.priority == priority:
        return nothing(task)
    return Change(task, replace(task, priority=priority))


# ---- parts ------------------------------------------------------------------------------------------


def run_of(task: Task, run_id: int) -> Run:
    """The run of that number. Raises ResourceNotFound."""
    if run_id >= len(task.runs):
        raise run_not_found(task.task_id, run_id)
    return task.runs[run_id]


def _refuse_after_deadline(task: Task, now: datetime, verb: str) -> None:
    if task.deadline_passed(now):
        raise RequestConflict(_deadline_text(task, verb))


def _deadline_text(task: Task, verb: str) -> str:
    return f"Task `{task.task_id}` cannot be {verb}: its deadline {task.deadline.isoformat()} has passed."


def not_running_text(task: Task, run: Run, verb: str) -> str:
    """Why nothing can be reported of a run."""
    reason = f" ({run.reason_resolved})" if run.reason_resolved else ""
    place = "" if run is task.last_run else f", and run {len(task.runs) - 1} came after it"
    return f"Run {run.run_id} of task `{task.task_id}` cannot be {verb}: it is {run.state}{reason}{place}."
