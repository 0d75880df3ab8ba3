"""What an attempt's end means for its job: the first rule that applies (``seed-systems.md`` C-6)."""

import asyncio
import traceback
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from schemas.times import EPOCH
from taskbus.errors import TaskFailed
from taskbus.jobs.endings import JobCancelled, JobSnoozed
from taskbus.outcomes import WORKER_SHUTDOWN, Cancelled, Completed, Failed, Outcome, Snoozed

Advice = Literal["cancel"]
"""What an error handler may say."""
MAX_ERROR: Final = 16 * 1024
MAX_TRACE: Final = 64 * 1024
"""Bytes of UTF-8 (C-4)."""
_ORDINARY: Final = (JobCancelled, TaskFailed)
_CUT: Final = "\n… cut …\n"


@dataclass(frozen=True, slots=True)
class End:
    """How an attempt ended.

    ``interrupted``: the worker cancelled it because it stops. ``advice``: of the error handler.
    ``attempts_left``: whether the job may be tried again. ``next_retry``: when its type wants that, and
    ``now``: by the same clock, the server's.
    """

    error: BaseException | None = None
    output: Any = None
    interrupted: bool = False
    advice: Advice | None = None
    attempts_left: bool = True
    next_retry: datetime | None = None
    now: datetime = EPOCH


def decide(end: End) -> Outcome:
    """What to report of the attempt. Rules 5 and 7 are the queue's own: it counts, and has the policy."""
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
    if not end.attempts_left or end.next_retry is None or end.next_retry < end.now:
        return Failed(text, trace)
    return Failed(text, trace, retry_at=end.next_retry)


def text_of(error: BaseException) -> str:
    """The error in a line or two."""
    name, text = type(error).__name__, str(error)
    if isinstance(error, _ORDINARY) and text:
        return cut(text, MAX_ERROR)
    return cut(f"{name}: {text}" if text else name, MAX_ERROR)


def trace_of(error: BaseException) -> str:
    """The traceback of an unexpected error; nothing for one that a handler means to tell (C-3)."""
    if isinstance(error, _ORDINARY):
        return ""
    return cut("".join(traceback.format_exception(error)), MAX_TRACE)


def cut(text: str, limit: int) -> str:
    """The text, or its beginning and its end with a mark in the middle, in so many bytes of UTF-8."""
    encoded = text.encode(errors="replace")
    if len(encoded) <= limit:
        return encoded.decode()
    half = (limit - len(_CUT.encode())) // 2
    return encoded[:half].decode(errors="ignore") + _CUT + encoded[-half:].decode(errors="ignore")
