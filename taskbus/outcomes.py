"""How a run ends, in the words of its worker. Rules: ``seed-systems.md`` C-5 and C-6."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from schemas.task import ExceptionReason


@dataclass(frozen=True, slots=True)
class Completed:
    """The work was done; ``output`` is a JSON value to keep, None for none."""

    output: Any = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The work went wrong. The queue tries again while the task has attempts left, unless ``retry`` is False.

    ``trace`` is the traceback of an unexpected error. ``retry_at`` (the server's time) takes the place of
    what the task's retry policy says.
    """

    error: str = ""
    trace: str = ""
    retry: bool = True
    retry_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Exceptional:
    """Something other than the work is at fault."""

    reason: ExceptionReason


@dataclass(frozen=True, slots=True)
class Snoozed:
    """Not now: the same run is to begin again after ``delay`` seconds, which costs no attempt (C-15)."""

    delay: float


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Not at all: the task is to be cancelled, whatever attempts it has left."""

    error: str = ""
    trace: str = ""


Outcome = Completed | Failed | Exceptional | Snoozed | Cancelled
WORKER_SHUTDOWN = Exceptional("worker-shutdown")


def label(outcome: Outcome) -> str:
    """The outcome in a word, for people and figures."""
    match outcome:
        case Exceptional(reason):
            return reason
        case _:
            return type(outcome).__name__.lower()
