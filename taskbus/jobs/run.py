"""One attempt at a job, as its handler sees it."""

import asyncio
import threading
from datetime import datetime
from typing import Any, Literal, NoReturn

from schemas.durations import parse_duration
from schemas.jobs import LogReport, ProgressReport
from schemas.task import Run as QueueRun
from taskbus.endings import JobCancelled, JobSnoozed
from taskbus.jobs.options import Duration
from taskbus.jobs.reporter import Reporter
from taskbus.run_step import RunStep
from taskbus.runs import ClaimedRun


class Run:
    """The attempt that a handler is called for: what is known of it, and other ways to end it than an error.

    ``attempt`` counts from 1 and is at most ``max_attempts``; ``errors`` is how many attempts went wrong so
    far. After ``deadline`` (the server's time) the job is given up. ``claimed`` is the run as the queue knows
    it: the whole task, and credentials for its artifacts.
    """

    def __init__(self, claimed: ClaimedRun, reporter: Reporter) -> None:
        self.claimed = claimed
        self._reporter = reporter
        self.task_id: str = claimed.task_id
        self.run_id: int = claimed.run_id
        payload = claimed.payload
        kind = payload.get("kind")
        self.kind: str = kind if isinstance(kind, str) else ""
        self.args: Any = payload.get("args", {})
        """The arguments as they came, JSON values."""
        timeout = payload.get("timeout")
        self.timeout: float | None = float(timeout) if isinstance(timeout, int | float) else None
        """Seconds that the attempt may take, where the job says so and its class does not."""
        self.queue: str = claimed.task.task_queue_id
        self.deadline: datetime = claimed.task.deadline
        runs = claimed.status.runs
        self.attempt: int = sum(map(_counts, runs))
        self.errors: int = sum(run.reason_resolved in ("intermittent-task", "failed") for run in runs)
        self.max_attempts: int = claimed.task.max_attempts or 1
        self.tags = claimed.task.tags
        self.output: Any = None
        """What the handler returned: a JSON value to keep with the completed job."""
        self.lock_token: int | None = None
        """The fencing token of the lock of its type: larger than those of earlier holders."""
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

    # What those see who watch a typed job; of other jobs nothing of it is kept.

    def step(self, name: str) -> RunStep:
        """A step of the job, as ``async with run.step("Extract") as step:``."""
        return RunStep(self._reporter, name)

    def progress(
        self,
        percent: float | None = None,
        *,
        current: float | None = None,
        total: float | None = None,
        message: str | None = None,
        step: str | None = None,
    ) -> None:
        """Tell how far the job is, or a step of it; returns at once. What comes faster than four times a
        second takes the place of what was not sent yet.

        Raises ValueError (pydantic.ValidationError) for what is no progress.
        """
        given = {"percent": percent, "current": current, "total": total, "message": message, "step": step}
        numbers = {
            name: float(value) if isinstance(value, int) else value
            for name, value in given.items()
            if value is not None
        }
        self._reporter.progress(ProgressReport.model_validate(numbers))

    async def log(self, message: str, level: Literal["debug", "info", "warning", "error"] = "info") -> None:
        """Tell those who watch a line of up to 1,000 characters."""
        await self._reporter.log(LogReport(message=message, level=level))

    async def put_output(self, output: Any) -> None:
        """Keep the result so far, however the job ends. The last one counts: that may be what is returned."""
        await self._reporter.put_output(output)

    @property
    def completed_steps(self) -> tuple[str, ...]:
        """The steps that earlier runs of a resumable job have done."""
        return self._reporter.completed_steps

    @property
    def cursor(self) -> Any:
        """Where the step got to that was under way when an earlier run ended; None for nowhere."""
        return self._reporter.cursor

    @property
    def cancel_requested(self) -> bool:
        """Whether somebody wants the job cancelled when its worker lets go of it.

        To return still completes it; any other end is the cancellation.
        """
        return self.claimed.cancel_requested

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
