"""What an attempt's end means (C-6): the first rule that applies, for every combination."""

import asyncio
from datetime import timedelta
from typing import Any, Final

import pytest

from taskbus.error_texts import MAX_ERROR, MAX_TRACE, cut, text_of
from taskbus.errors import TaskFailed
from taskbus.jobs.decisions import End, decide
from taskbus.jobs.run import JobCancelled, JobSnoozed
from taskbus.outcomes import WORKER_SHUTDOWN, Cancelled, Completed, Failed, Outcome, Snoozed
from tests.taskbus.samples import NOW

SECOND: Final = timedelta(seconds=1)
LATER: Final = NOW + SECOND
EVERYTHING_AGAINST_IT: Any = {
    "interrupted": True,
    "advice": "cancel",
    "attempts_left": False,
    "next_retry": NOW - SECOND,
}
"""What no earlier rule may look at."""


@pytest.mark.parametrize(
    ("end", "outcome"),
    [
        (End(None, {"sent": 2}), Completed({"sent": 2})),
        (End(None, None, interrupted=True), Completed()),
        (End(JobSnoozed(600), **EVERYTHING_AGAINST_IT), Snoozed(600)),
        (End(JobCancelled("no such customer"), **EVERYTHING_AGAINST_IT), Cancelled("no such customer")),
        (End(asyncio.CancelledError(), **EVERYTHING_AGAINST_IT), WORKER_SHUTDOWN),
        (End(TaskFailed("no"), advice="cancel", attempts_left=False, next_retry=LATER), Cancelled("no")),
        (End(TaskFailed("no"), attempts_left=False, next_retry=LATER), Failed("no")),
        (End(TaskFailed("no"), next_retry=LATER), Failed("no", retry_at=LATER)),
        (End(TaskFailed("no"), next_retry=NOW), Failed("no", retry_at=NOW)),
        (End(TaskFailed("no")), Failed("no")),
        (End(TaskFailed("no"), next_retry=NOW - SECOND), Failed("no", retry_at=NOW - SECOND)),
    ],
    ids=[
        "a handler that returned has completed",
        "a handler that returned though the worker stops has completed",
        "1. snooze, whatever else",
        "2. cancel, whatever else but a snooze",
        "3. interrupted by the end of the worker",
        "4. the error handler says cancel",
        "5. no attempts are left",
        "6. the type has a time of its own",
        "6. which may be now",
        "7. the policy decides",
        "8. what a time in the past means the queue decides",
    ],
)
def test_the_first_rule_that_applies_decides(end: End, outcome: Outcome) -> None:
    assert decide(end) == outcome


def test_a_handler_that_cancels_itself_has_failed() -> None:
    assert decide(End(asyncio.CancelledError(), interrupted=False)) == Failed(
        "CancelledError", "asyncio.exceptions.CancelledError\n"
    )


def test_an_error_during_the_end_of_the_worker_is_an_error() -> None:
    outcome = decide(End(ValueError("no"), interrupted=True))
    assert isinstance(outcome, Failed)
    assert outcome.error == "ValueError: no"


def test_an_unexpected_error_has_its_traceback_and_an_ordinary_one_has_none() -> None:
    def fail(error: Exception) -> Failed:
        try:
            raise error
        except Exception as raised:
            outcome = decide(End(raised))
        assert isinstance(outcome, Failed)
        return outcome

    unexpected = fail(ZeroDivisionError("division by zero"))
    assert unexpected.error == "ZeroDivisionError: division by zero"
    assert unexpected.trace.startswith("Traceback (most recent call last):\n")
    assert unexpected.trace.endswith("ZeroDivisionError: division by zero\n")
    assert fail(TaskFailed("found wanting")) == Failed("found wanting")


def test_an_error_without_a_text_is_named() -> None:
    assert text_of(KeyError()) == "KeyError"


@pytest.mark.parametrize("limit", [MAX_ERROR, MAX_TRACE])
def test_a_long_text_keeps_its_beginning_and_its_end(limit: int) -> None:
    text = cut("é" * limit + "end", limit)
    assert len(text.encode()) <= limit
    assert text.startswith("éé")
    assert "… cut …" in text
    assert text.endswith("ééend")


def test_a_short_text_is_not_cut_and_what_is_no_unicode_is_replaced() -> None:
    assert cut("short", 5) == "short"
    assert cut("a\ud800b", 5) == "a?b"
