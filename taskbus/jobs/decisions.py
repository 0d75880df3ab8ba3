"""What an attempt's end means for its job: the first rule that applies (``seed-systems.md`` C-6)."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from taskbus.endings import JobCancelled, JobSnoozed
from taskbus.error_texts import text_of, trace_of
from taskbus.outcomes import WORKER_SHUTDOWN, Cancelled, Completed, Failed, Outcome, Snoozed

Advice = Literal["cancel"]
"""What an error handler may say."""


@dataclass(frozen=True, slots=True)
class End:
    """How an attempt ended.

    ``interrupted``: the worker cancelled it because it stops. ``advice``: of the error handler.
    ``attempts_left``: whether the job may be tried again. ``next_retry``: when its type wants that, by the
    server's clock.
    """

    error: BaseException | None = None
    output: Any = None
    interrupted: bool = False
    advice: Advice | None = None
    attempts_left: bool = True
    next_retry: datetime | None = None


def decide(end: End) -> Outcome:
    """What to report of the attempt. Rules 5, 7 and 8 are the queue's: it counts, and has the policies."""
    match end.error:
        case None:
            return Completed(end.output)
        case JobSnoozed(delay=delay):
            return Snoozed(delay)
        case JobCancelled() as error:
            return Cancelled(text_of(error))
        case asyncio.CancelledError() if end.interrupted:
            return WORKER_SHUTDOWN
        case error:
            text, trace = text_of(error), trace_of(error)
    if end.advice == "cancel":
        return Cancelled(text, trace)
    if not end.attempts_left or end.next_retry is None:
        return Failed(text, trace)
    return Failed(text, trace, retry_at=end.next_retry)
