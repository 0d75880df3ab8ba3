"""One attempt at a job, as its handler sees it."""

import asyncio
import threading
from datetime import datetime
from typing import Any, NoReturn

from schemas.durations import parse_duration
from schemas.task import Run as QueueRun
from taskbus.jobs.options import Duration
from taskbus.runs import ClaimedRun


class EndedByHandler(Exception):
    """Base of what handlers raise to end an attempt in another way than by an error."""


class JobSnoozed(EndedByHandler):
    """The attempt is put off by so many seconds."""

    def __init__(self, delay: float) -> None:
        super().__init__(f"snoozed for {delay:g} s")
        self.delay = delay


class JobCancelled(EndedByHandler):
    """The job is not to be done at all."""


class Run:
    """The attempt that a handler is called for: what is known of it, and other ways to end it than an error.

    ``attempt`` counts from 1 and is at most ``max_attempts``; ``errors`` is how many attempts went wrong so
    far. After ``deadline`` (the server's time) the job is given up. ``claimed`` is the run as the queue knows
    it: the whole task, and credentials for its artifacts.
    """

    def __init__(self, claimed: ClaimedRun) -> None:
        self.claimed = claimed
        self.task_id: str = claimed.task_id
        self.run_id: int = claimed.run_id
        payload = claimed.payload
        kind = payload.get("kind")
        self.kind: str = kind if isinstance(kind, str) else ""
        self.args: Any = payload.get("args", {})
        """The arguments as they came, JSON values."""
        self.queue: str = claimed.task.task_queue_id
        self.deadline: datetime = claimed.task.deadline
        runs = claimed.status.runs
        self.attempt: int = sum(map(_counts, runs))
        self.errors: int = sum(run.reason_resolved in ("intermittent-task", "failed") for run in runs)
        self.max_attempts: int = claimed.task.max_attempts or 1
        self.tags = claimed.task.tags
        self.output: Any = None
        """What the handler returned: a JSON value to keep with the completed job."""
        self._cancelled = threading.Event()

    def snooze(self, delay: Duration) -> NoReturn:
        """End the attempt; the job begins again after ``delay``, and no attempt is used up (C-15).

        Raises ValueError for a negative delay, of course; else always :class:`JobSnoozed`, to be let through.
        """
        raise JobSnoozed(parse_duration(delay).total_seconds())

    def cancel(self, reason: str) -> NoReturn:
        """End the attempt and cancel the job, whatever attempts it has left (C-6.2).

        Raises :class:`JobCancelled`, to be let through.
        """
        raise JobCancelled(reason)

    @property
    def cancelled(self) -> bool:
        """Whether the attempt should end: it took too long, its claim is lost, or the worker stops.

        For handlers in threads, which nobody can interrupt; others are cancelled.
        """
        return self._cancelled.is_set()

    def raise_if_cancelled(self) -> None:
        """Raises asyncio.CancelledError if the attempt should end."""
        if self.cancelled:
            raise asyncio.CancelledError

    def set_cancelled(self) -> None:
        """For the worker."""
        self._cancelled.set()

    def __repr__(self) -> str:
        return f"{self.kind} {self.task_id}/{self.run_id}"


def _counts(run: QueueRun) -> bool:
    """Whether a run is an attempt (C-2). What was snoozed has no run of its own."""
    return run.started is not None and run.reason_resolved != "worker-shutdown"
