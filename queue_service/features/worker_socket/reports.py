"""What attached workers tell of typed jobs: steps, lines and outputs in their order, progress at a pace.

Only who holds a run may tell of it (P-1): here, the connection that was given it. The rules are those of the
jobs' API; a report that they refuse is answered with an error frame of the same code.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog

from queue_service.core.errors import QueueError, RequestConflict, ResourceNotFound
from queue_service.core.task import Task
from queue_service.features.jobs import operations, store
from queue_service.features.jobs.job import Job, cancel_requested
from queue_service.features.jobs.operations import Output, Reported, RunReport, StepMove, Told
from queue_service.features.worker_socket.connection import Connection, InFlight
from queue_service.features.worker_socket.protocol import Progress, Report, error_frame, progress_report
from queue_service.operations.batching import Batcher, Overloaded
from queue_service.store.database import Database, StoreUnavailable
from schemas.jobs import OutputReport, ProgressReport, StepReport

logger = structlog.get_logger(__name__)

PROGRESS_SECONDS: Final = 0.25
"""Between two reports of progress: nobody is told more (P-5)."""
MAX_UNDER_WAY: Final = 32
"""Reports of a connection that are being written; it is read no further until one is."""


@dataclass(slots=True)
class _Latest:
    """The newest progress of an item that is not written yet, by step (None: of the job)."""

    connection: Connection
    item: InFlight
    by_step: dict[str | None, ProgressReport]


class Reports:
    """Writes reports of ``gateway``'s connections; those that meet share a transaction."""

    def __init__(self, database: Database, gateway: str) -> None:
        self._database = database
        self._gateway = gateway
        # One lane: reports of a job keep their order.
        self._writes = Batcher[RunReport, Reported](self._write)
        self._latest: dict[tuple[str, int], _Latest] = {}
        self._pacing: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """Finish what is being written."""
        if self._pacing is not None:
            self._pacing.cancel()
        await self._writes.close()

    # ---- from sockets ---------------------------------------------------------------------------------

    async def take(self, connection: Connection, item: InFlight, report: Report) -> None:
        """Write a report beside what the socket does; returns when the next may come."""
        _beside(connection, self._answered(connection, item, report))
        if len(connection.reporting) >= MAX_UNDER_WAY:
            await asyncio.wait(connection.reporting, return_when=asyncio.FIRST_COMPLETED)

    def progress(self, connection: Connection, item: InFlight, progress: Progress) -> None:
        """Keep progress until it is its turn; what comes faster takes its place. Raises BadFrame."""
        job = item.job
        if job is None:
            return
        report = progress_report(progress)
        if report.step is not None and all(step.name != report.step for step in job.steps):
            error = ResourceNotFound(f"Job `{item.task_id}` has no step `{report.step}`.")
            connection.send(error_frame(error.code, error.message, item.task_id))
            return
        key = item.task_id, item.run_id
        self._latest.setdefault(key, _Latest(connection, item, {})).by_step[report.step] = report
        if self._pacing is None or self._pacing.done():
            self._pacing = asyncio.create_task(self._keep_writing(), name="progress of workers")

    async def written(self, connection: Connection, item: InFlight) -> None:
        """Until all that was told of the item is written; its end comes after that."""
        latest = self._latest.pop((item.task_id, item.run_id), None)
        if latest is not None:
            await self._write_progress(latest)
        if connection.reporting:
            await asyncio.wait(connection.reporting)

    # ---- cancellations ----------------------------------------------------------------------------------

    async def heed(self, asked: Sequence[tuple[Connection, InFlight]]) -> None:
        """Tell workers, once, that somebody wants jobs cancelled that they may still finish (K-3).

        Raises StoreUnavailable.
        """
        if not asked:
            return
        async with self._database.read() as reading:
            jobs = await store.get(reading, [item.task_id for _, item in asked])
        for connection, item in asked:
            if job := jobs.get(item.task_id):
                _tell_cancel(connection, item, job)

    # ---- writing ----------------------------------------------------------------------------------------

    async def _answered(self, connection: Connection, item: InFlight, report: Report) -> None:
        try:
            if item.job is None:
                raise ResourceNotFound(f"There is no job `{item.task_id}`: the item has no type.")
            reported = await self._submit(connection, item, _told(report))
        except QueueError as error:
            connection.send(error_frame(error.code, error.message, item.task_id, report.id))
            return
        except (StoreUnavailable, Overloaded) as error:
            connection.send(error_frame("Unavailable", str(error), item.task_id, report.id))
            return
        if report.id is not None:
            facts = {"id": report.id, "task_id": item.task_id, "run_id": item.run_id}
            connection.send({"kind": "reported", **facts})
        self._told_of(connection, item, reported)

    async def _keep_writing(self) -> None:
        while self._latest:
            waiting, self._latest = self._latest, {}
            await asyncio.wait(
                [_beside(latest.connection, self._write_progress(latest)) for latest in waiting.values()]
            )
            await asyncio.sleep(PROGRESS_SECONDS)

    async def _write_progress(self, latest: _Latest) -> None:
        connection, item = latest.connection, latest.item
        for report in latest.by_step.values():
            try:
                reported = await self._submit(connection, item, report)
            except (QueueError, StoreUnavailable, Overloaded) as error:
                logger.debug("progress is not told", task_id=item.task_id, reason=str(error))
            else:
                self._told_of(connection, item, reported)

    def _told_of(self, connection: Connection, item: InFlight, reported: Reported) -> None:
        """Answers to reports are the first chance to learn of a cancellation."""
        if cancel_requested(reported.task):
            _tell_cancel(connection, item, reported.job)

    async def _submit(self, connection: Connection, item: InFlight, told: Told) -> Reported:
        authorize = _holds(self._gateway, connection.worker_id)
        return await self._writes.submit(RunReport(item.task_id, item.run_id, told, authorize))

    async def _write(self, reports: Sequence[RunReport]) -> Sequence[Reported | QueueError]:
        return await self._database.write(lambda tx: operations.report(tx, reports))


def _beside(connection: Connection, writing: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    task = asyncio.create_task(writing, name="report of a worker")
    connection.reporting.add(task)
    task.add_done_callback(connection.reporting.discard)
    return task


def _told(report: Report) -> Told:
    """Raises InputTooLarge."""
    match report.told:
        case StepReport() as step:
            return StepMove.of(report.step, step)
        case OutputReport() as output:
            return Output.of(output)
        case line:
            return line


def _holds(worker_group: str, worker_id: str) -> Callable[[Task], None]:
    def authorize(task: Task) -> None:
        run = task.last_run
        if run is None or (run.worker_group, run.worker_id) != (worker_group, worker_id):
            raise RequestConflict(f"Another worker has task `{task.task_id}` now.")

    return authorize


def _tell_cancel(connection: Connection, item: InFlight, job: Job) -> None:
    if item.cancel_told:
        return
    item.cancel_told = True
    said = {} if job.cancel_reason is None else {"message": job.cancel_reason}
    facts = {"task_id": item.task_id, "run_id": item.run_id, "mode": "graceful", "reason": "canceled"}
    connection.send({"kind": "cancel", **facts, **said})
