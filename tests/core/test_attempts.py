"""Attempts, errors, snoozes and what is kept after the end (``seed-systems.md`` C-2 to C-15, X-1, O-6)."""

from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queue_service.core import attempts, transitions
from queue_service.core.attempts import MAX_ERROR, MAX_TRACE, NOTHING_TOLD, error_history, shortened, workers
from queue_service.core.errors import InputTooLarge, RequestConflict
from queue_service.core.extras import Extras
from queue_service.core.task import Change, Task
from schemas.attempts import MAX_OUTPUT, CompletionReport, FailureReport
from schemas.extensions import Fixed, Retention
from tests.core.samples import CLAIM_TIMEOUT, DEADLINE, EXPIRES, HELD_BY, NOW, task
from tests.core.states import STATES

MIDDLE: Final = 0.5
SECOND: Final = timedelta(seconds=1)
BROKEN: Final = FailureReport(error="it broke", trace="Traceback …")


class Life:
    """A task on its way, a minute for each step."""

    def __init__(self, **extras: Any) -> None:
        self.task: Task = task("scheduled pending", extras=Extras(**extras) if extras else None)
        self.now = NOW
        self.changes: list[Change] = []

    def take(self, change: Change) -> "Life":
        self.changes.append(change)
        self.task = change.after
        self.now += timedelta(minutes=1)
        return self

    def claim(self) -> "Life":
        if self.task.available_at is not None:
            self.now = max(self.now, self.task.available_at)
            self.take(transitions.come_due(self.task, self.now))
        until = self.now + CLAIM_TIMEOUT
        return self.take(transitions.claim(self.task, self.now, until, **HELD_BY))

    @property
    def run_id(self) -> int:
        return len(self.task.runs) - 1

    def fail(self, report: FailureReport = BROKEN) -> "Life":
        return self.take(attempts.failed(self.task, self.run_id, report, self.now, MIDDLE))

    def snooze(self, wait: timedelta = SECOND) -> "Life":
        return self.take(attempts.snoozed(self.task, self.run_id, wait, self.now))

    def lose_claim(self) -> "Life":
        self.now += CLAIM_TIMEOUT
        return self.take(transitions.expire_claim(self.task, self.now))

    def shut_down(self) -> "Life":
        change = transitions.report_exception(self.task, self.run_id, "worker-shutdown", self.now)
        return self.take(change)

    @property
    def delay(self) -> timedelta:
        """Between the last report and the next attempt."""
        assert self.task.available_at is not None
        return self.task.available_at - (self.now - timedelta(minutes=1))


# ---- counting -----------------------------------------------------------------------------------------


def test_the_attempt_counts_started_runs() -> None:
    life = Life(max_attempts=9)
    assert life.task.attempt == 0
    assert life.claim().task.attempt == 1
    assert life.fail().task.attempt == 1
    assert life.claim().task.attempt == 2


def test_snoozes_and_shutdowns_are_no_attempts() -> None:
    life = Life(max_attempts=2).claim().snooze().claim().shut_down()
    assert life.task.attempt == 0
    assert life.claim().task.attempt == 1
    assert life.lose_claim().task.attempt == 1


def test_the_delay_follows_from_the_errors_and_not_from_snoozes() -> None:
    life = Life(max_attempts=9)
    for _ in range(3):
        life.claim().snooze()
    assert [life.claim().fail().delay for _ in range(4)] == [SECOND * n**4 for n in (1, 2, 3, 4)]
    assert life.task.extras is not None
    assert (life.task.extras.errors, life.task.extras.snoozes, life.task.attempt) == (4, 3, 4)


def test_a_claim_that_ran_out_is_an_error_for_the_delay() -> None:
    assert Life(max_attempts=9).claim().lose_claim().claim().fail().delay == 16 * SECOND


def test_a_failure_is_final_when_the_attempts_are_used_up() -> None:
    life = Life(max_attempts=3).claim().fail().claim().fail().claim().fail()
    assert [run.state for run in life.task.runs] == ["exception", "exception", "failed"]
    assert life.task.retries_left == 5


def test_a_shutdown_takes_a_retry_and_no_attempt() -> None:
    life = Life(max_attempts=2).claim().shut_down().claim().fail().claim().fail()
    assert [run.reason_resolved for run in life.task.runs] == [
        "worker-shutdown",
        "intermittent-task",
        "failed",
    ]
    assert life.task.retries_left == 4


def test_a_task_has_no_more_than_fifty_runs_whatever_its_attempts() -> None:
    life = Life(max_attempts=50, retry_policy=Fixed(kind="fixed", delay=timedelta()))
    life.task = replace(life.task, deadline=NOW + timedelta(days=5))
    life.claim().shut_down()
    while life.task.state == "pending":
        life.claim().fail()
    assert (life.task.state, len(life.task.runs), life.task.attempt) == ("failed", 50, 49)


def test_snoozing_is_endless() -> None:
    life = Life()
    life.task = replace(life.task, deadline=NOW + timedelta(days=5))
    for _ in range(200):
        life.claim().snooze()
    assert len(life.task.runs) == 1
    assert life.task.extras is not None
    assert (life.task.extras.snoozes, len(life.task.extras.snoozed_by)) == (200, 100)


def test_a_snooze_is_told_once_when_it_is_over() -> None:
    life = Life().claim().snooze(timedelta(minutes=10)).claim()
    assert [len(change.messages) for change in life.changes] == [1, 0, 1, 1]


def test_a_worker_that_lost_the_answer_may_snooze_again() -> None:
    snoozed = Life().claim().snooze().task
    assert not attempts.snoozed(snoozed, 0, SECOND, NOW).alters


def test_rerun_makes_a_delayed_run_available_and_adds_an_attempt_to_used_up_ones() -> None:
    life = Life(max_attempts=2).claim().fail()
    assert transitions.rerun(life.task, life.now).after.in_line
    life.claim().fail()
    assert life.task.state == "failed"
    again = life.take(transitions.rerun(life.task, life.now)).task
    assert again.extras is not None
    assert (again.state, again.extras.max_attempts) == ("pending", 3)
    assert life.claim().fail().task.state == "failed"


# ---- errors -------------------------------------------------------------------------------------------


def test_an_error_is_kept_with_the_start_and_number_of_its_attempt() -> None:
    life = Life(max_attempts=2).claim().snooze().claim().fail()
    error = life.changes[-1].error
    assert error is not None
    assert error.to_wire() == {
        "at": "2024-05-01T12:03:00.123Z",
        "attempt": 1,
        "runId": 0,
        "error": "it broke",
        "trace": "Traceback …",
    }


def test_a_plain_failure_keeps_nothing() -> None:
    change = attempts.failed(STATES["running"], 0, NOTHING_TOLD, NOW, MIDDLE)
    assert (change.error, change.after.extras) == (None, None)


def test_a_silent_failure_of_an_attempt_is_kept_as_one() -> None:
    error = Life(max_attempts=2).claim().fail(NOTHING_TOLD).changes[-1].error
    assert error is not None
    assert (error.error, error.trace) == ("", "")


def test_a_report_that_is_repeated_keeps_its_error_once() -> None:
    change = attempts.failed(STATES["failed"], 0, BROKEN, NOW, MIDDLE)
    assert (change.alters, change.error) == (False, None)


def test_an_exception_may_tell_its_error() -> None:
    change = attempts.exception(STATES["running"], 0, "malformed-payload", BROKEN, NOW)
    assert change.error is not None
    assert change.after.runs[0].reason_resolved == "malformed-payload"


def test_the_history_has_reported_errors_and_claims_that_ran_out_in_their_order() -> None:
    life = Life(max_attempts=9).claim().lose_claim().claim().fail().claim().lose_claim()
    reported = [change.error for change in life.changes if change.error is not None]
    history = error_history(life.task, reported)
    assert [(error.run_id, error.attempt, error.error) for error in history] == [
        (0, 1, attempts.CLAIM_EXPIRED),
        (1, 2, "it broke"),
        (2, 3, attempts.CLAIM_EXPIRED),
    ]


def test_long_texts_lose_their_middle() -> None:
    report = FailureReport(error="a" * 20_000 + "z", trace="b" * 100_000 + "y")
    error = Life(max_attempts=2).claim().fail(report).changes[-1].error
    assert error is not None
    assert (error.error[0], error.error[-1], error.trace[0], error.trace[-1]) == ("a", "z", "b", "y")
    assert len(error.error.encode()) <= MAX_ERROR
    assert len(error.trace.encode()) <= MAX_TRACE
    assert "left out" in error.error


@given(st.text(max_size=300), st.integers(150, 300))
def test_a_shortened_text_fits_and_a_short_one_is_left_alone(text: str, limit: int) -> None:
    found = shortened(text, limit)
    assert len(found.encode()) <= limit
    assert len(text.encode()) > limit or found == text


# ---- outputs, workers, retention ----------------------------------------------------------------------


@pytest.mark.parametrize("output", [0, False, "", [], {"rows": [1, None]}], ids=repr)
def test_any_json_may_be_an_output(output: Any) -> None:
    change = attempts.completed(STATES["running"], 0, CompletionReport(output=output), NOW)
    assert change.output is not None


def test_an_output_has_a_limit() -> None:
    largest = "x" * (MAX_OUTPUT - 2)
    assert attempts.completed(STATES["running"], 0, CompletionReport(output=largest), NOW).output
    with pytest.raises(InputTooLarge, match="`output` has 262145 bytes as JSON; at most 262144 are kept"):
        attempts.completed(STATES["running"], 0, CompletionReport(output=largest + "x"), NOW)


def test_the_workers_of_snoozed_runs_are_remembered() -> None:
    life = Life(max_attempts=3).claim().snooze().claim().fail()
    until = life.now + CLAIM_TIMEOUT
    life.task = transitions.come_due(life.task, DEADLINE - SECOND).after
    life.take(transitions.claim(life.task, life.now, until, worker_group="eu-2", worker_id="w-2"))
    assert workers(life.task) == ("eu-1/w-1", "eu-1/w-1", "eu-2/w-2")


def test_after_a_snooze_only_the_credentials_of_the_present_claim_are_good() -> None:
    former, present = (f"task-client/x/0/on/{worker}/until/1.000" for worker in ("eu-1/w-1", "eu-2/w-2"))
    life = Life().claim()
    attempts.refuse_former_holder(life.task, former)
    life.snooze(timedelta())
    attempts.refuse_former_holder(life.task, former)  # nobody has it: whatever is told is refused anyway
    until = life.now + CLAIM_TIMEOUT
    life.take(transitions.claim(life.task, life.now, until, worker_group="eu-2", worker_id="w-2"))
    attempts.refuse_former_holder(life.task, present)
    attempts.refuse_former_holder(life.task, "a client with scopes of its own")
    with pytest.raises(RequestConflict, match="was snoozed"):
        attempts.refuse_former_holder(life.task, former)


DAY: Final = timedelta(days=1)
LONG: Final = EXPIRES - NOW + DAY


@pytest.mark.parametrize(
    ("retention", "expected"),
    [
        (Retention(), (EXPIRES, EXPIRES, EXPIRES)),
        (Retention(completed=LONG), (NOW + LONG, EXPIRES, EXPIRES)),
        (Retention(canceled=LONG, failed=LONG + DAY), (EXPIRES, NOW + LONG + DAY, NOW + LONG)),
        (Retention(completed=DAY, canceled=DAY, failed=DAY), (EXPIRES, EXPIRES, EXPIRES)),
        (
            Retention(completed=DAY, canceled=2 * DAY, failed=3 * DAY, shorten=True),
            (NOW + DAY, NOW + 3 * DAY, NOW + 2 * DAY),
        ),
        (Retention(completed=DAY, shorten=True), (NOW + DAY, EXPIRES, EXPIRES)),
    ],
    ids=["none", "longer", "by the end", "no shorter", "shorter", "only where it is given"],
)
def test_retention_sets_when_a_task_is_forgotten(retention: Retention, expected: Any) -> None:
    running = replace(STATES["running"], extras=Extras(retention=retention))
    ends = (
        attempts.completed(running, 0, CompletionReport(), NOW),
        attempts.failed(running, 0, NOTHING_TOLD, NOW, MIDDLE),
        transitions.cancel(running, NOW),
    )
    assert tuple(change.after.expires for change in ends) == expected


def test_a_retry_is_no_end() -> None:
    retention = Retention(failed=DAY, shorten=True)
    assert Life(max_attempts=2, retention=retention).claim().fail().task.expires == EXPIRES
