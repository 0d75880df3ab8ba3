"""The queue as the worker for jobs calls it: claims in bulk, and reports that meet travel together.

While one call with reports is under way, the runs that end meanwhile wait for the next, as calls wait for a
transaction in the service. A lone report is sent at once.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from schemas.bulk import MAX_BULK, ReportOutcome, RunReport
from schemas.queue import TaskClaimResponse, TaskReclaimResponse
from taskbus.client import Queue
from taskbus.credentials import Credentials
from taskbus.errors import refusal
from taskbus.outcomes import Cancelled, Completed, Exceptional, Failed, Outcome, Snoozed

LONG_POLL_SECONDS: Final = 20.0
MAX_BYTES: Final = 1024 * 1024
"""Of the reports of one call: outputs and tracebacks may be long."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    report: RunReport
    size: int
    told: asyncio.Future[None]


class BatchingQueue:
    """What a :class:`taskbus.worker.Worker` needs of the client, with fewer calls."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._line: deque[_Waiting] = deque()
        self._sending: asyncio.Task[None] | None = None

    def using(self, credentials: Credentials) -> "_OfRun":
        """The calls about one run."""
        return _OfRun(self, self._queue.using(credentials))

    async def claim_work(
        self, task_queue_id: str, *, worker_group: str, worker_id: str, tasks: int = 1
    ) -> tuple[TaskClaimResponse, ...]:
        """Up to ``tasks`` runs; waits some seconds for the first."""
        return await self._queue.claim_bulk(
            task_queue_id,
            worker_group=worker_group,
            worker_id=worker_id,
            tasks=min(tasks, MAX_BULK),
            wait=LONG_POLL_SECONDS,
        )

    async def submit(self, report: RunReport) -> None:
        """Report a run together with others. Raises what the single call would raise."""
        waiting = _Waiting(report, len(report.to_json()), asyncio.get_running_loop().create_future())
        self._line.append(waiting)
        if self._sending is None:
            self._sending = asyncio.create_task(self._work_off(), name="reports")
        await waiting.told

    async def _work_off(self) -> None:
        try:
            while batch := self._next_batch():
                await self._send(batch)
        finally:
            self._sending = None

    def _next_batch(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        size = 0
        while self._line and len(batch) < MAX_BULK:
            size += self._line[0].size
            if batch and size > MAX_BYTES:
                break
            waiting = self._line.popleft()
            if not waiting.told.done():  # it is, when the claim was lost meanwhile
                batch.append(waiting)
        return batch

    async def _send(self, batch: Sequence[_Waiting]) -> None:
        try:
            outcomes = await self._queue.report_runs([waiting.report for waiting in batch])
        except Exception as error:
            for waiting in batch:
                if not waiting.told.done():
                    waiting.told.set_exception(error)
            return
        for waiting, outcome in zip(batch, outcomes, strict=True):
            _settle(waiting.told, outcome)


class _OfRun:
    """The calls about one run."""

    def __init__(self, line: BatchingQueue, queue: Queue) -> None:
        self._line = line
        self._queue = queue

    async def reclaim_task(self, task_id: str, run_id: int) -> TaskReclaimResponse:
        return await self._queue.reclaim_task(task_id, run_id)

    async def report(self, task_id: str, run_id: int, outcome: Outcome) -> None:
        await self._line.submit(report_of(task_id, run_id, outcome))


def report_of(task_id: str, run_id: int, outcome: Outcome) -> RunReport:
    """The outcome of a run as one of many."""
    told: dict[str, Any]
    match outcome:
        case Completed(output):
            told = {"outcome": "completed", "output": output}
        case Failed(error, trace, retry, retry_at):
            told = {"outcome": "failed", "error": error or None, "trace": trace or None}
            told |= {"retry": None if retry else False, "retry_at": retry_at}
        case Exceptional(reason):
            told = {"outcome": "exception", "reason": reason}
        case Snoozed(delay):
            told = {"outcome": "snoozed", "delay": delay}
        case Cancelled(error, trace):
            told = {"outcome": "cancelled", "error": error or None, "trace": trace or None}
    given = {name: value for name, value in told.items() if value is not None}
    return RunReport(task_id=task_id, run_id=run_id, **given)


def _settle(told: asyncio.Future[None], outcome: ReportOutcome) -> None:
    if told.done():
        return
    if outcome.error is None:
        told.set_result(None)
    else:
        told.set_exception(refusal(outcome.error.code, outcome.error.message))
