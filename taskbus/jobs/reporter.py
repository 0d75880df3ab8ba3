"""What a handler tells of its typed job while it works: steps, progress, lines, output.

A job that was inserted without a type has nobody who keeps that: then nothing is sent, and the same handler
works on both.
"""

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Final, TypeVar

from schemas.jobs import LogReport, ProgressReport, ReportResponse, StepReport
from taskbus.clock import Clock
from taskbus.errors import TaskbusError
from taskbus.runs import ClaimedRun
from taskbus.service import ServiceClient
from taskbus.typed_jobs import Jobs

logger = logging.getLogger(__name__)

PACE: Final = 0.25
"""Seconds between two reports of progress: the service keeps no more."""

LAST_SECONDS: Final = 2.0
"""For the last progress, before the end of the run is told."""

T = TypeVar("T")


class Reporter:
    """Sends the reports of a run by the connections of ``client``, with the newest credentials of its claim.

    A run of a typed job needs a running event loop. ``completed_steps`` are those of earlier runs of a
    resumable job, ``cursor`` is where the last one got to.
    """

    def __init__(self, claimed: ClaimedRun, client: ServiceClient | None, clock: Clock) -> None:
        self._claimed = claimed
        typed = client is not None and claimed.job is not None
        self._jobs = Jobs.beside(client) if client is not None and typed else None
        self._clock = clock
        self._loop = asyncio.get_running_loop() if typed else None
        self._waiting: dict[str | None, ProgressReport] = {}
        self._sender: asyncio.Task[None] | None = None
        job = claimed.job or {}
        self.completed_steps: tuple[str, ...] = tuple(job.get("completedSteps", ()))
        self.cursor: Any = job.get("cursor")

    async def params(self, args: Any) -> Any:
        """The parameters of the job: ``args``, with those that are secret."""
        if self._jobs is None or not (self._claimed.job or {}).get("hasSecrets"):
            return args
        return (await self._calls().run(self._claimed.task_id, self._claimed.run_id)).params

    async def step(self, name: str, report: StepReport) -> None:
        """Tell of a step. Raises ApiError."""
        if self._jobs is not None:
            calls, claimed = self._calls(), self._claimed
            self._heed(await calls.report_step(claimed.task_id, claimed.run_id, name, report))

    async def log(self, report: LogReport) -> None:
        """Tell those who watch. Raises ApiError."""
        if self._jobs is not None:
            self._heed(await self._calls().report_log(self._claimed.task_id, self._claimed.run_id, report))

    async def put_output(self, output: Any) -> None:
        """Keep the result so far. Raises ApiError."""
        if self._jobs is not None:
            self._heed(await self._calls().put_output(self._claimed.task_id, self._claimed.run_id, output))

    def progress(self, report: ProgressReport) -> None:
        """Tell soon how far the job is; what comes faster takes the place of what waits. From any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._take, report)

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of work that the event loop does for another thread."""
        if self._loop is None:
            return asyncio.run(work)
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def finish(self) -> None:
        """Send what still waits; the handler has ended."""
        if self._sender is not None:
            self._sender.cancel()
            await asyncio.wait({self._sender})
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_SECONDS):
                await self._send()

    def _take(self, report: ProgressReport) -> None:
        self._waiting[report.step] = report
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._keep_sending(), name="progress")

    async def _keep_sending(self) -> None:
        while self._waiting:
            await asyncio.shield(self._send())
            await self._clock.sleep(PACE)

    async def _send(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for report in waiting.values():
            try:
                calls, claimed = self._calls(), self._claimed
                self._heed(await calls.report_progress(claimed.task_id, claimed.run_id, report))
            except TaskbusError as error:
                logger.debug("progress of %r is not told: %s", self._claimed, error)

    def _calls(self) -> Jobs:
        assert self._jobs is not None
        return self._jobs.using(self._claimed.credentials)

    def _heed(self, answer: ReportResponse) -> None:
        self._claimed.cancel_requested = bool(answer.cancel_requested)
