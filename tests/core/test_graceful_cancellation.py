"""A cancellation that waits for its worker: only success gets around it (``seed-systems.md`` K-3, K-4)."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from queue_service.core import attempts, transitions
from queue_service.core.errors import RequestConflict
from queue_service.core.extras import PLAIN
from queue_service.core.task import Change, Task
from queue_service.core.transitions import cancel_gracefully
from schemas.attempts import CompletionReport, FailureReport
from schemas.extensions import Fixed
from tests.core.samples import CLAIM_TIMEOUT, DEADLINE, NOW
from tests.core.states import STATES

RUNNING = {name: state for name, state in STATES.items() if state.state == "running"}
MESSAGES = ["TaskExceptionMessage"]


def asked(task: Task, **extras: object) -> Task:
    """The running task, with attempts and retries left, after somebody asked for its cancellation."""
    roomy = replace(task, retries_left=5, extras=replace(task.extras or PLAIN, max_attempts=50, **extras))  # type: ignore[arg-type]
    return cancel_gracefully(roomy, NOW).after


def last(task: Task) -> int:
    return task.runs[-1].run_id


@pytest.mark.parametrize("name", STATES)
def test_what_no_worker_has_is_cancelled_and_what_has_ended_stays(name: str) -> None:
    task = STATES[name]
    change = cancel_gracefully(task, NOW)
    if task.resolved:
        assert not change.alters
    elif task.state == "running":
        assert (change.after.state, change.messages) == ("running", ())
        assert transitions.cancellation_waits(change.after)
        assert not cancel_gracefully(change.after, NOW).alters
    else:
        assert change.after.runs[-1].reason_resolved == "canceled"
        assert [type(message).__name__ for message in change.messages] == MESSAGES


ENDS: dict[str, Callable[[Task], Change]] = {
    "failed for good": lambda task: attempts.failed(task, last(task), FailureReport(retry=False), NOW, 0.5),
    "failed": lambda task: attempts.failed(task, last(task), FailureReport(error="it broke"), NOW, 0.5),
    "failed, to be tried at a time": lambda task: attempts.failed(
        task, last(task), FailureReport(retry_at=NOW + timedelta(hours=1)), NOW, 0.5
    ),
    "intermittent": lambda task: transitions.report_exception(task, last(task), "intermittent-task", NOW),
    "shut down": lambda task: transitions.report_exception(task, last(task), "worker-shutdown", NOW),
    "malformed": lambda task: transitions.report_exception(task, last(task), "malformed-payload", NOW),
    "snoozed": lambda task: attempts.snoozed(task, last(task), timedelta(seconds=5), NOW),
    "snoozed for no time": lambda task: attempts.snoozed(task, last(task), timedelta(), NOW),
    "expired": lambda task: transitions.expire_claim(task, NOW + CLAIM_TIMEOUT * 2),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("name", RUNNING)
def test_every_end_but_success_is_the_cancellation(name: str, end: str) -> None:
    task = replace(asked(RUNNING[name]), deadline=DEADLINE + timedelta(days=1))
    change = ENDS[end](task)
    run = change.after.runs[-1]
    assert (run.run_id, run.state, run.reason_resolved) == (last(task), "exception", "canceled")
    assert [type(message).__name__ for message in change.messages] == MESSAGES
    assert change.after.available_at is None
    if end != "expired":
        repeated = ENDS[end](change.after)
        assert not repeated.alters
        assert [type(message).__name__ for message in repeated.messages] == MESSAGES


@pytest.mark.parametrize("name", RUNNING)
def test_success_is_success(name: str) -> None:
    task = asked(RUNNING[name])
    assert attempts.completed(task, last(task), CompletionReport(), NOW).after.state == "completed"


@pytest.mark.parametrize("seconds", [0, 1, 3600])
@pytest.mark.parametrize("name", RUNNING)
def test_no_delay_gets_around_it(name: str, seconds: int) -> None:
    policy = Fixed(kind="fixed", delay=timedelta(seconds=seconds), jitter=0)
    task = asked(RUNNING[name], retry_policy=policy)
    change = attempts.failed(task, last(task), FailureReport(error="it broke"), NOW, 0.5)
    assert (change.after.state, change.after.runs[-1].reason_resolved) == ("exception", "canceled")
    assert change.error is not None


@pytest.mark.parametrize("name", RUNNING)
def test_who_reports_success_after_the_cancellation_is_refused(name: str) -> None:
    task = transitions.cancel(asked(RUNNING[name]), NOW).after
    with pytest.raises(RequestConflict):
        attempts.completed(task, last(task), CompletionReport(), NOW)


@pytest.mark.parametrize("name", [name for name in RUNNING if "50 runs" not in name])
def test_a_rerun_forgets_the_cancellation(name: str) -> None:
    cancelled = transitions.cancel(asked(RUNNING[name]), NOW).after
    again = transitions.rerun(cancelled, NOW).after
    assert again.extras is not None
    assert not again.extras.cancel_requested
