"""The worker for jobs: claims from every queue whose types it knows, and works on many at once.

Rules: ``seed-systems.md`` C.10 and C.11; the claims are those of :class:`taskbus.worker.Worker`.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

from schemas.bulk import MAX_BULK
from schemas.durations import parse_duration
from taskbus.clock import Clock, SystemClock
from taskbus.jobs.batching import BatchingQueue
from taskbus.jobs.execution import ErrorHandler, Executor
from taskbus.jobs.hooks import Hook, WorkMiddleware
from taskbus.jobs.options import UNLIMITED, Duration
from taskbus.jobs.registry import Handler, J, Registry
from taskbus.service import ServiceClient
from taskbus.worker import Worker as QueueWorker
from taskbus.worker import own_worker_id

if TYPE_CHECKING:
    from taskbus.jobs.bus import Taskbus

logger = logging.getLogger(__name__)

CONCURRENCY: Final = 10
CLEANUP_SECONDS: Final = 5.0
"""How long cancelled handlers have before their runs are given back without them (H-3)."""

H = TypeVar("H", bound=Callable[..., object])


class Worker:
    """Works on jobs, with a handler for each type::

        worker = Worker()

        @worker.handle(SendInvoice)
        async def send(job: SendInvoice, run: Run) -> None:
            ...

        async with Taskbus.from_env() as bus:
            await worker.run(bus)

    It takes jobs from the queues of the types it knows, ``concurrency`` at once from each; ``queues`` names
    others, or other numbers. An attempt may take ``timeout`` (-1 is no limit) unless its type says otherwise;
    after that its handler is cancelled, and ``stuck_after`` later it is given up, and the queue takes the job
    back; with ``replace_stuck`` its place is taken by another job. ``on_error`` is told of errors and may
    cancel the job. ``middleware`` and ``hooks`` are around all types; they come before those of a type.

    :meth:`stop` ends :meth:`run` in order: nothing more is claimed, handlers have ``soft_stop``, then they
    are cancelled, and what has not ended 5 s later is given back without them.

    Raises ValueError, naming the argument that is wrong.
    """

    def __init__(
        self,
        *,
        concurrency: int = CONCURRENCY,
        queues: Mapping[str, int] | None = None,
        timeout: Duration = "60s",
        stuck_after: Duration = "10s",
        replace_stuck: bool = False,
        soft_stop: Duration = "30s",
        worker_group: str = "jobs",
        worker_id: str | None = None,
        middleware: Sequence[WorkMiddleware] = (),
        hooks: Sequence[Hook] = (),
        on_error: ErrorHandler | None = None,
    ) -> None:
        self._concurrency = concurrency
        self._queues = dict(queues or {})
        for number in (concurrency, *self._queues.values()):
            if number < 1:
                raise ValueError(f"concurrency: expected at least 1, got {number}")
        self._timeout = None if timeout == UNLIMITED else parse_duration(timeout).total_seconds()
        self._stuck_after = parse_duration(stuck_after).total_seconds()
        self._replace_stuck = replace_stuck
        self._soft_stop = parse_duration(soft_stop).total_seconds()
        self._worker_group = worker_group
        self._worker_id = worker_id
        self._middleware = tuple(middleware)
        self._hooks = tuple(hooks)
        self._on_error = on_error
        self._registry = Registry()
        self._workers: list[QueueWorker] = []
        self._stopped = False

    def handle(
        self, job_type: type[J], *, middleware: Sequence[WorkMiddleware] = ()
    ) -> Callable[[Handler[J]], Handler[J]]:
        """Register the decorated function as the handler of a type; it may be ``async def`` or plain ``def``.

        Raises ValueError when the type has a handler already, or can never be retried as it wants (C-13).
        """

        def register(handler: Handler[J]) -> Handler[J]:
            self._registry.add(job_type, handler, middleware)
            return handler

        return register

    @property
    def queues(self) -> dict[str, int]:
        """How many jobs it works on at once, by queue."""
        of_types = {one.job_type.options.queue: self._concurrency for one in self._registry}
        return {**of_types, **self._queues}

    @property
    def running(self) -> tuple[str, ...]:
        """The runs it holds at the moment, ``<taskId>/<runId>``."""
        return tuple(repr(run) for worker in self._workers for run in worker.running)

    def executor(self, clock: Clock, client: ServiceClient | None = None) -> Executor:
        """What works on one claimed run; for :mod:`taskbus.testing`."""
        return Executor(
            self._registry,
            clock=clock,
            client=client,
            timeout=self._timeout,
            stuck_after=self._stuck_after,
            replace_stuck=self._replace_stuck,
            middleware=self._middleware,
            hooks=self._hooks,
            on_error=self._on_error,
        )

    def stop(self) -> None:
        """Begin to stop; :meth:`run` returns when that is done. May be called from a signal handler."""
        self._stopped = True
        for worker in self._workers:
            worker.stop()

    async def run(self, bus: "Taskbus", *, clock: Clock | None = None) -> None:
        """Claim and work until :meth:`stop`, once the triggers of the bus are applied. A worker runs once.

        Raises ValueError when it has no handlers; ApiError when the server refuses to give it anything; what
        it holds is ended before, as by :meth:`stop`.
        """
        if not len(self._registry):
            raise ValueError("expected at least one handler: @worker.handle(SomeJob)")
        clock = clock or SystemClock()
        executor, queue = self.executor(clock, bus.queue), BatchingQueue(bus.queue)
        self._workers = [
            QueueWorker(
                queue,
                task_queue_id,
                executor,
                worker_group=self._worker_group,
                worker_id=self._worker_id or own_worker_id(),
                concurrency=concurrency,
                drain=self._soft_stop,
                cleanup=CLEANUP_SECONDS,
                claims=MAX_BULK,
                clock=clock,
            )
            for task_queue_id, concurrency in self.queues.items()
        ]
        if self._stopped:
            return
        await bus.apply_triggers()
        running = [asyncio.create_task(worker.run()) for worker in self._workers]
        try:
            await asyncio.wait(running, return_when=asyncio.FIRST_EXCEPTION)
            self.stop()
            await asyncio.wait(running)
        finally:
            for task in running:
                task.cancel()
            await asyncio.wait(running)
        for task in running:
            task.result()
