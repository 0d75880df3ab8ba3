"""A queue for worker tests: hands out what the test gives it and records every call."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Sequence
from typing import Any, Self

from schemas.bulk import ReportError, ReportOutcome, RunReport
from schemas.queue import TaskClaimResponse, TaskReclaimResponse
from schemas.task import TaskStatus
from taskbus.credentials import Credentials
from taskbus.errors import ApiError
from taskbus.outcomes import Cancelled, Completed, Exceptional, Failed, Outcome, Snoozed
from tests.taskbus import samples

Call = tuple[str, *tuple[Any, ...]]


class ScriptedQueue:
    """``fail(verb, error, …)`` makes the next calls of a verb raise; without it they succeed.

    ``answers_when_cancelled`` is what a claim that is cancelled answers nevertheless. ``tokens`` are the
    access tokens of the calls about runs, in order. ``bulk_gate`` holds up bulks of reports.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.tokens: list[str] = []
        self.renewed_until: deque[float] = deque()
        self.bulk_gate: asyncio.Event | None = None
        self.answers_when_cancelled: tuple[TaskClaimResponse, ...] | None = None
        self._work: asyncio.Queue[tuple[TaskClaimResponse, ...]] = asyncio.Queue()
        self._failures: defaultdict[str, deque[Exception]] = defaultdict(deque)
        self._changed = asyncio.Event()

    def using(self, credentials: Credentials) -> Self:
        self.tokens.append(credentials.access_token)
        return self

    def give(self, *claims: TaskClaimResponse) -> None:
        """Answer the next claim with these."""
        self._work.put_nowait(claims)

    def fail(self, verb: str, *errors: Exception) -> None:
        self._failures[verb].extend(errors)

    def count(self, verb: str) -> int:
        return sum(call[0] == verb for call in self.calls)

    def reports(self) -> list[Call]:
        return [call for call in self.calls if call[0] not in ("claim", "reclaim", "bulk")]

    async def called(self, verb: str, times: int = 1) -> None:
        """Return as soon as there were so many calls of this verb."""
        while self.count(verb) < times:
            self._changed.clear()
            await self._changed.wait()

    def _record(self, *call: Any) -> None:
        self.calls.append(call)
        self._changed.set()
        if self._failures[call[0]]:
            raise self._failures[call[0]].popleft()

    async def claim_work(
        self, task_queue_id: str, *, worker_group: str, worker_id: str, tasks: int = 1
    ) -> tuple[TaskClaimResponse, ...]:
        self._record("claim", task_queue_id, worker_group, worker_id, tasks)
        try:
            return await self._work.get()
        except asyncio.CancelledError:
            if self.answers_when_cancelled is None:
                raise
            return self.answers_when_cancelled

    async def claim_bulk(
        self, task_queue_id: str, *, worker_group: str, worker_id: str, tasks: int, wait: float
    ) -> tuple[TaskClaimResponse, ...]:
        return await self.claim_work(
            task_queue_id, worker_group=worker_group, worker_id=worker_id, tasks=tasks
        )

    async def report_runs(self, reports: Sequence[RunReport]) -> tuple[ReportOutcome, ...]:
        """Recorded as the single calls would be, and how many came together as ``bulk``."""
        self._record("bulk", len(reports))
        if self.bulk_gate is not None:
            await self.bulk_gate.wait()
        outcomes = []
        for report in reports:
            told_with = (report.reason, report.delay and report.delay.total_seconds())
            told_with += (report.error if report.outcome == "cancelled" else None,)
            reason = tuple(value for value in told_with if value is not None)
            told: dict[str, Any] = {}
            try:
                self._record(report.outcome, report.task_id, report.run_id, *reason)
            except ApiError as error:
                told["error"] = ReportError(code=error.code, message=error.message)
            outcomes.append(ReportOutcome(task_id=report.task_id, run_id=report.run_id, **told))
        return tuple(outcomes)

    async def reclaim_task(self, task_id: str, run_id: int) -> TaskReclaimResponse:
        self._record("reclaim", task_id, run_id)
        return samples.reclaimed(task_id, seconds=self.renewed_until.popleft(), token="renewed")

    async def report(self, task_id: str, run_id: int, outcome: Outcome) -> TaskStatus:
        match outcome:
            case Completed():
                self._record("completed", task_id, run_id)
            case Failed():
                self._record("failed", task_id, run_id)
            case Exceptional(reason):
                self._record("exception", task_id, run_id, reason)
            case Snoozed(delay):
                self._record("snoozed", task_id, run_id, delay)
            case Cancelled(error):
                self._record("cancelled", task_id, run_id, error)
        return samples.task_status(task_id, "pending" if isinstance(outcome, Snoozed) else "completed")
