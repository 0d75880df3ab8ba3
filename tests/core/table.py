"""What every verb does in every state: the state machine of ``queue-behaviour.md`` 6.1 to 6.8 as a table."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from queue_service.core import attempts, transitions
from queue_service.core.task import Change, Task
from schemas.attempts import FailureReport
from tests.core.samples import CLAIM_TIMEOUT, DEADLINE, HELD_BY, NOW
from tests.core.states import LATER, STATES

Names = frozenset[str]
Edit = tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """What is to come of a verb.

    ``edits`` change the list of runs, one after the other: ``("added", reasonCreated)``,
    ``("ended", state, reasonResolved)``, ``("carrier", reasonResolved)``, ``("taken", group, worker)``,
    ``("renewed",)``. ``tells`` are the messages in order, each ``"exchange which-run [by worker]"``.
    ``left`` is retriesLeft afterwards where it changes, ``available`` when the task becomes available if
    not at once, ``counts`` what is added to the numbers among the extensions. A new or ended run
    ends a delay, and ``released`` does so by itself. ``("waits",)`` is a run that is given back.
    """

    edits: tuple[Edit, ...] = ()
    tells: tuple[str, ...] = ()
    takes_retry: bool = False
    left: int | None = None
    priority: str | None = None
    by_id: bool = False
    refused: str | None = None
    available: datetime | None = None
    released: bool = False
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Verb:
    """A call, and its outcome in each state: the first row that names the state counts.

    ``late``: the outcomes at the deadline; None where they are those before it.
    """

    call: Callable[[Task, datetime], Change]
    rows: tuple[tuple[Names, Outcome], ...]
    late: tuple[tuple[Names, Outcome], ...] | None = None
    states: Names = frozenset(STATES)

    def outcome(self, state: str, *, late: bool) -> Outcome:
        rows = self.late if late and self.late is not None else self.rows
        return next(outcome for names, outcome in rows if state in names)


def names(*chosen: str) -> Names:
    assert set(chosen) <= STATES.keys()
    return frozenset(chosen)


def where(holds: Callable[[Task], bool]) -> Names:
    return frozenset(name for name, task in STATES.items() if holds(task))


def in_state(state: str) -> Names:
    return where(lambda task: (task.runs[-1].state if task.runs else "unscheduled") == state)


ALL = frozenset(STATES)
UNSCHEDULED = in_state("unscheduled")
DELAYED = where(lambda task: bool(task.runs) and task.available_at is not None)
PENDING, RUNNING, COMPLETED, FAILED, EXCEPTION = map(
    in_state, ("pending", "running", "completed", "failed", "exception")
)
PENDING -= DELAYED
RESOLVED = COMPLETED | FAILED | EXCEPTION
SEVERAL_RUNS = where(lambda task: len(task.runs) > 1)
RETRIED = (
    "delayed",
    "delayed until now",
    "delayed a millisecond more",
    "running, second of two attempts",
    "failed, attempts used up",
)
"""Run 0 ended so that another attempt was made."""
NO_RETRIES = where(lambda task: task.retries_left == 0)
FULL = where(lambda task: len(task.runs) == 50)
EVER_RESOLVED = where(lambda task: task.ever_resolved)

NOTHING = Outcome()
CONFLICT = Outcome(refused="RequestConflict")
NOT_FOUND = Outcome(refused="ResourceNotFound")


def tells(*messages: str) -> Outcome:
    return Outcome(tells=messages)


def added(reason: str, left: int | None = None) -> Outcome:
    return Outcome((("added", reason),), ("task-pending new",), left=left)


def ended(state: str, reason: str, message: str) -> Outcome:
    return Outcome((("ended", state, reason),), (message,))


def carrier(reason: str) -> Outcome:
    return Outcome((("carrier", reason),), ("task-exception new",))


def retried(reason_resolved: str, reason_created: str) -> Outcome:
    edits = ("ended", "exception", reason_resolved), ("added", reason_created)
    return Outcome(edits, ("task-exception ended by worker", "task-pending new"), takes_retry=True)


def after_release(outcome: Outcome) -> Outcome:
    """What was delayed until now gets in line, and then the outcome follows."""
    return replace(outcome, tells=("task-pending last as it was", *outcome.tells), released=True)


def taken(group: str, worker: str, *, by_id: bool) -> Outcome:
    return Outcome((("taken", group, worker),), ("task-running last by worker",), by_id=by_id)


RELEASED = Outcome(tells=("task-pending last",), released=True)
"""What was delayed is in line."""


def with_error(outcome: Outcome) -> Outcome:
    return replace(outcome, counts={"errors": 1})


def tried_again(available: datetime) -> Outcome:
    """The next attempt waits until it is due."""
    edits = ("ended", "exception", "intermittent-task"), ("added", "task-retry")
    return Outcome(edits, ("task-exception ended by worker",), available=available, counts={"errors": 1})


def tried_again_at_once() -> Outcome:
    edits = ("ended", "exception", "intermittent-task"), ("added", "task-retry")
    return Outcome(edits, ("task-exception ended by worker", "task-pending last"), counts={"errors": 1})


def final(reason: str) -> Outcome:
    return ended("exception", reason, "task-exception ended by worker")


# Which run a call names


def last(task: Task) -> int:
    return max(len(task.runs) - 1, 0)


def first(task: Task) -> int:
    return 0


def previous(task: Task) -> int:
    return len(task.runs) - 2


def unknown(task: Task) -> int:
    return len(task.runs)


# The calls


def claimed(task: Task, now: datetime) -> Change:
    return transitions.claim(task, now, now + CLAIM_TIMEOUT, **HELD_BY)


def claimed_by_id(
    which: Callable[[Task], int], group: str = "eu-1", worker: str = "w-1"
) -> Callable[[Task, datetime], Change]:
    return lambda task, now: transitions.claim_by_id(
        task, which(task), now, now + CLAIM_TIMEOUT, worker_group=group, worker_id=worker
    )


def reclaimed(which: Callable[[Task], int]) -> Callable[[Task, datetime], Change]:
    return lambda task, now: transitions.reclaim(task, which(task), now, now + CLAIM_TIMEOUT)


def reported(which: Callable[[Task], int], outcome: Any) -> Callable[[Task, datetime], Change]:
    return lambda task, now: transitions.report(task, which(task), outcome, now)


def raised(which: Callable[[Task], int], reason: Any) -> Callable[[Task, datetime], Change]:
    return lambda task, now: transitions.report_exception(task, which(task), reason, now)


def prioritised(rule: Callable[..., Change], priority: str) -> Callable[[Task, datetime], Change]:
    return lambda task, now: rule(task, priority, now)


EVERYWHERE_CONFLICT = ((ALL, CONFLICT),)
EVERYWHERE_NOTHING = ((ALL, NOTHING),)
EVERYWHERE_NOT_FOUND = ((ALL, NOT_FOUND),)
NOT_HELD = ((UNSCHEDULED, NOT_FOUND), (ALL, CONFLICT))

CANCEL = (
    (UNSCHEDULED, carrier("canceled")),
    (PENDING | DELAYED, ended("exception", "canceled", "task-exception ended")),
    (RUNNING, ended("exception", "canceled", "task-exception ended by worker")),
    (names("canceled while running"), tells("task-exception last by worker")),
    (
        names("canceled, never scheduled", "canceled while pending", "worker-shutdown, retry canceled"),
        tells("task-exception last"),
    ),
    (RESOLVED, NOTHING),
)


def exception_with_retry(reason: str, reason_created: str) -> tuple[tuple[Names, Outcome], ...]:
    return (
        (RUNNING & (NO_RETRIES | FULL), final(reason)),
        (RUNNING, retried(reason, reason_created)),
        (names(f"{reason}, no retries left"), tells("task-exception last by worker")),
        *NOT_HELD,
    )


VERBS: Final[dict[str, Verb]] = {
    "createTask again": Verb(
        lambda task, now: transitions.repeat_create(task),
        (
            (PENDING - SEVERAL_RUNS, tells("task-defined", "task-pending last")),
            (ALL, tells("task-defined")),
        ),
    ),
    "scheduleTask": Verb(
        transitions.schedule, ((UNSCHEDULED, added("scheduled")), (ALL, NOTHING)), EVERYWHERE_CONFLICT
    ),
    "dependencies met": Verb(
        transitions.dependencies_met,
        (
            (names("held", "held, starts later", "starts later"), NOTHING),
            (names("starts later, unmet dependencies"), Outcome(available=LATER)),
            (UNSCHEDULED, added("scheduled")),
            (ALL, NOTHING),
        ),
        EVERYWHERE_NOTHING,
    ),
    "its time comes": Verb(
        transitions.come_due,
        (
            (names("starts now"), added("scheduled")),
            (names("delayed until now"), RELEASED),
            (ALL, NOTHING),
        ),
        EVERYWHERE_NOTHING,
    ),
    "claimWork": Verb(
        claimed,
        ((PENDING, taken("eu-1", "w-1", by_id=False)), (ALL, CONFLICT)),
        states=ALL - UNSCHEDULED,
    ),
    "claimTask": Verb(
        claimed_by_id(last),
        (
            (PENDING, taken("eu-1", "w-1", by_id=True)),
            (names("delayed until now"), after_release(taken("eu-1", "w-1", by_id=True))),
            (names("running, claimed by id"), tells("task-running last by worker")),
            *NOT_HELD,
        ),
        EVERYWHERE_CONFLICT,
    ),
    "claimTask by another worker": Verb(
        claimed_by_id(last, worker="w-2"),
        (
            (PENDING, taken("eu-1", "w-2", by_id=True)),
            (names("delayed until now"), after_release(taken("eu-1", "w-2", by_id=True))),
            *NOT_HELD,
        ),
        EVERYWHERE_CONFLICT,
    ),
    "claimTask by another group": Verb(
        claimed_by_id(last, group="eu-2"),
        (
            (PENDING, taken("eu-2", "w-1", by_id=True)),
            (names("delayed until now"), after_release(taken("eu-2", "w-1", by_id=True))),
            *NOT_HELD,
        ),
        EVERYWHERE_CONFLICT,
    ),
    "claimTask of run 0": Verb(claimed_by_id(first), EVERYWHERE_CONFLICT, states=SEVERAL_RUNS),
    "claimTask of a run too many": Verb(claimed_by_id(unknown), EVERYWHERE_NOT_FOUND, EVERYWHERE_CONFLICT),
    "reclaimTask": Verb(reclaimed(last), ((RUNNING, Outcome((("renewed",),))), *NOT_HELD), NOT_HELD),
    "reclaimTask of run 0": Verb(reclaimed(first), EVERYWHERE_CONFLICT, states=SEVERAL_RUNS),
    "reclaimTask of a run too many": Verb(reclaimed(unknown), EVERYWHERE_NOT_FOUND),
    **{
        f"reportException {reason}": Verb(
            raised(last, reason),
            (
                (RUNNING, final(reason)),
                (names(reason), tells("task-exception last by worker")),
                *NOT_HELD,
            ),
        )
        for reason in ("malformed-payload", "resource-unavailable", "internal-error")
    },
    "reportException worker-shutdown": Verb(
        raised(last, "worker-shutdown"), exception_with_retry("worker-shutdown", "retry")
    ),
    "reportException intermittent-task": Verb(
        raised(last, "intermittent-task"), exception_with_retry("intermittent-task", "task-retry")
    ),
    "reportException worker-shutdown of run 0": Verb(
        raised(first, "worker-shutdown"),
        (
            (
                names("worker-shutdown, retry pending"),
                tells("task-exception 0 by worker", "task-pending last"),
            ),
            (
                names(
                    "worker-shutdown, retry running",
                    "worker-shutdown, retry canceled",
                    "worker-shutdown, final, rerun pending",
                ),
                tells("task-exception 0 by worker"),
            ),
            (ALL, CONFLICT),
        ),
        states=SEVERAL_RUNS,
    ),
    "reportException intermittent-task of run 0": Verb(
        raised(first, "intermittent-task"),
        (
            (
                names("intermittent-task, retry pending", "retried at once"),
                tells("task-exception 0 by worker", "task-pending last"),
            ),
            (
                names("intermittent-task, last retry running", *RETRIED),
                tells("task-exception 0 by worker"),
            ),
            (ALL, CONFLICT),
        ),
        states=SEVERAL_RUNS,
    ),
    "reportException malformed-payload of run 0": Verb(
        raised(first, "malformed-payload"),
        (
            (names("malformed-payload, rerun pending"), tells("task-exception 0 by worker")),
            (ALL, CONFLICT),
        ),
        states=SEVERAL_RUNS,
    ),
    "reportException worker-shutdown of the run before the last": Verb(
        raised(previous, "worker-shutdown"),
        ((ALL, tells("task-exception 1 by worker", "task-pending last")),),
        states=names("worker-shutdown twice, retry pending"),
    ),
    "reportException of a run too many": Verb(raised(unknown, "worker-shutdown"), EVERYWHERE_NOT_FOUND),
    "claim expires": Verb(
        transitions.expire_claim,
        (
            (names("running, claim run out"), retried("claim-expired", "retry")),
            (names("running, claim run out, no retries left"), final("claim-expired")),
            (ALL, NOTHING),
        ),
        EVERYWHERE_NOTHING,
    ),
    "cancelTask": Verb(transitions.cancel, CANCEL, EVERYWHERE_CONFLICT),
    "cancelTaskGroup": Verb(transitions.cancel_member, CANCEL),
    "deadline passes": Verb(
        transitions.pass_deadline,
        EVERYWHERE_NOTHING,
        (
            (UNSCHEDULED, carrier("deadline-exceeded")),
            (PENDING | DELAYED | RUNNING, ended("exception", "deadline-exceeded", "task-exception ended")),
            (RESOLVED, NOTHING),
        ),
    ),
    "rerunTask": Verb(
        transitions.rerun,
        (
            (PENDING, tells("task-pending last")),
            (DELAYED, RELEASED),
            (RUNNING, NOTHING),
            (names("failed, attempts used up"), replace(added("rerun", left=5), counts={"max_attempts": 1})),
            (names("50 runs, completed"), CONFLICT),
            (names("49 runs, completed"), added("rerun", left=0)),
            (names("46 runs, failed"), added("rerun", left=3)),
            (ALL, added("rerun", left=5)),
        ),
        EVERYWHERE_CONFLICT,
    ),
    "changeTaskPriority": Verb(
        prioritised(transitions.change_priority, "high"),
        (
            (EVER_RESOLVED, CONFLICT),
            (ALL, Outcome(tells=("task-priority-changed",), priority="high")),
        ),
        EVERYWHERE_CONFLICT,
    ),
    "changeTaskPriority to the same": Verb(
        prioritised(transitions.change_priority, "medium"), EVERYWHERE_CONFLICT
    ),
    "changeTaskGroupPriority": Verb(
        prioritised(transitions.change_member_priority, "high"),
        ((EVER_RESOLVED, NOTHING), (ALL, Outcome(priority="high"))),
        EVERYWHERE_NOTHING,
    ),
    "changeTaskGroupPriority to the same": Verb(
        prioritised(transitions.change_member_priority, "medium"), EVERYWHERE_NOTHING
    ),
}


def _report_verbs(outcome: str, same: Names, word: str) -> dict[str, Verb]:
    message = f"task-{outcome}"
    return {
        word: Verb(
            reported(last, outcome),
            (
                (RUNNING, ended(outcome, outcome, f"{message} ended by worker")),
                (same, tells(f"{message} last by worker")),
                *NOT_HELD,
            ),
        ),
        f"{word} of run 0": Verb(reported(first, outcome), EVERYWHERE_CONFLICT, states=SEVERAL_RUNS),
        f"{word} of a run too many": Verb(reported(unknown, outcome), EVERYWHERE_NOT_FOUND),
    }


VERBS.update(_report_verbs("completed", COMPLETED, "reportCompleted"))
VERBS.update(_report_verbs("failed", FAILED, "reportFailed"))


# What goes beyond Taskcluster (``seed-systems.md`` C)

MIDDLE: Final = 0.5
"""The jitter that leaves a delay as it is."""


def failing(which: Callable[[Task], int], **told: Any) -> Callable[[Task, datetime], Change]:
    report = FailureReport(error="it broke", **told)
    return lambda task, now: attempts.failed(task, which(task), report, now, MIDDLE)


def snoozed(wait: timedelta) -> Callable[[Task, datetime], Change]:
    return lambda task, now: attempts.snoozed(task, last(task), wait, now)


def cancelled_by_worker(task: Task, now: datetime) -> Change:
    return attempts.canceled(task, last(task), FailureReport(error="no use"), now)


FAILS = with_error(ended("failed", "failed", "task-failed ended by worker"))
ATTEMPTS_LEFT = names("running, attempts left", "running, attempts left, no retries left")
BEHIND_DEADLINE = names("running, next attempt behind the deadline")
REPEATED = (FAILED, tells("task-failed last by worker"))
VERBS.update(
    {
        "reportFailed with an error": Verb(
            failing(last),
            (
                (ATTEMPTS_LEFT, tried_again(NOW + timedelta(seconds=1))),
                (RUNNING, FAILS),
                REPEATED,
                *NOT_HELD,
            ),
            ((RUNNING, FAILS), REPEATED, *NOT_HELD),
        ),
        "reportFailed with an error, not to be retried": Verb(
            failing(last, retry=False), ((RUNNING, FAILS), REPEATED, *NOT_HELD)
        ),
        "reportFailed with an error and a time": Verb(
            failing(last, retry_at=LATER),
            ((ATTEMPTS_LEFT | BEHIND_DEADLINE, tried_again(LATER)), (RUNNING, FAILS), REPEATED, *NOT_HELD),
            ((RUNNING, FAILS), REPEATED, *NOT_HELD),
        ),
        "reportFailed with an error and a time past": Verb(
            failing(last, retry_at=NOW - timedelta(seconds=1)),
            (
                # By the default policy, also where that of the task would wait until after the deadline.
                (ATTEMPTS_LEFT | BEHIND_DEADLINE, tried_again(NOW + timedelta(seconds=1))),
                (RUNNING, FAILS),
                REPEATED,
                *NOT_HELD,
            ),
            ((RUNNING, FAILS), REPEATED, *NOT_HELD),
        ),
        "reportFailed with an error and a time just past": Verb(
            failing(last, retry_at=NOW - timedelta(milliseconds=500)),
            ((ATTEMPTS_LEFT | BEHIND_DEADLINE, tried_again_at_once()), (RUNNING, FAILS), REPEATED, *NOT_HELD),
            ((RUNNING, FAILS), REPEATED, *NOT_HELD),
        ),
        "reportFailed with an error of run 0": Verb(
            failing(first),
            (
                (names("retried at once"), tells("task-exception 0 by worker", "task-pending last")),
                (names(*RETRIED), tells("task-exception 0 by worker")),
                (ALL, CONFLICT),
            ),
            states=SEVERAL_RUNS,
        ),
        "snooze": Verb(
            snoozed(timedelta(minutes=5)),
            (
                (
                    RUNNING,
                    Outcome((("waits",),), available=NOW + timedelta(minutes=5), counts={"snoozes": 1}),
                ),
                (names("snoozed", "snoozed, available again"), NOTHING),
                *NOT_HELD,
            ),
            (
                (
                    RUNNING,
                    Outcome((("waits",),), available=DEADLINE + timedelta(minutes=5), counts={"snoozes": 1}),
                ),
                (names("snoozed", "snoozed, available again"), NOTHING),
                *NOT_HELD,
            ),
        ),
        "snooze for no time": Verb(
            snoozed(timedelta()),
            (
                (RUNNING, Outcome((("waits",),), ("task-pending last",), counts={"snoozes": 1})),
                (names("snoozed", "snoozed, available again"), NOTHING),
                *NOT_HELD,
            ),
        ),
        "cancel by the worker": Verb(
            cancelled_by_worker,
            (
                (RUNNING, with_error(ended("exception", "canceled", "task-exception ended by worker"))),
                (names("canceled while running"), tells("task-exception last by worker")),
                (
                    names(
                        "canceled, never scheduled",
                        "canceled while pending",
                        "worker-shutdown, retry canceled",
                    ),
                    tells("task-exception last"),
                ),
                *NOT_HELD,
            ),
        ),
    }
)
