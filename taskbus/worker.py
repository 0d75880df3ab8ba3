"""The claim loop: takes work for free hands, gives every run to the handler, and stops without losing any.

Rules: ``queue-behaviour.md`` 7.2. A claim cannot be repeated, so every run the server hands out is either
worked on or given back.
"""

import asyncio
import contextlib
import logging
import os
import random
import re
import socket
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, Final, Protocol, TypeVar

from schemas.queue import MAX_CLAIMS, ClaimWorkRequest, TaskClaimResponse
from taskbus.clock import Clock, SystemClock, within
from taskbus.errors import ApiError, TaskbusError
from taskbus.runs import FIRST_DELAY, Attempt, ClaimedRun, Handler, QueueCalls
from taskbus.transport import backoff

logger = logging.getLogger(__name__)

CLEANUP_SECONDS: Final = 10.0
"""How long a stopping worker waits for cancelled handlers to clean up, and once more for the last reports."""

SHORTEST_POLL: Final = 1.0
"""Seconds; a server that has no work and says so sooner is asked again only after as many."""

_T = TypeVar("_T")


def own_worker_id() -> str:
    """An id that no other worker has: the machine's name and the process id."""
    host = re.sub(r"[^a-zA-Z0-9_-]", "-", socket.gethostname().partition(".")[0])
    return f"{host[:30] or 'host'}-{os.getpid()}"


class WorkQueue(QueueCalls, Protocol):
    """What of the client a worker needs."""

    async def claim_work(
        self, task_queue_id: str, *, worker_group: str, worker_id: str, tasks: int = 1
    ) -> tuple[TaskClaimResponse, ...]: ...


class Worker:
    """Claims runs of one task queue and gives each to ``handler``::

        async def handle(run: ClaimedRun) -> None:
            print(run.task.metadata.name, run.payload)


        async with Queue() as queue:
            await Worker(queue, "prov/type", handle, worker_group="local", worker_id="w1").run()

    At most ``concurrency`` runs are under way at once, and one call claims up to ``claims`` of them. Claims
    are renewed at half of their life. What a handler's end means is said at :data:`taskbus.Handler`. A server
    that does not answer is asked again after 1 s, 2 s, 4 s and so on, at most 30 s; the handlers go on
    meanwhile.

    :meth:`stop` ends :meth:`run` in order: no further claims, up to ``drain`` seconds for running handlers,
    then they are cancelled and their runs reported as ``worker-shutdown``, which puts them back into the
    queue; so are the runs of handlers that do not end within ``cleanup`` seconds. Cancelling :meth:`run`
    instead cancels the handlers without any report. A worker runs once.

    Raises ValueError, naming the argument that is wrong.
    """

    def __init__(
        self,
        queue: WorkQueue,
        task_queue_id: str,
        handler: Handler,
        *,
        worker_group: str,
        worker_id: str,
        concurrency: int = 4,
        drain: float = 5.0,
        cleanup: float = CLEANUP_SECONDS,
        claims: int = MAX_CLAIMS,
        clock: Clock | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        # Only to check the two ids now, where the mistake is.
        ClaimWorkRequest(worker_group=worker_group, worker_id=worker_id)
        if concurrency < 1:
            raise ValueError(f"concurrency: expected at least 1, got {concurrency}")
        self._queue = queue
        self._task_queue_id = task_queue_id
        self._handler = handler
        self._worker_group = worker_group
        self._worker_id = worker_id
        self._concurrency = concurrency
        self._drain_seconds = drain
        self._cleanup_seconds = cleanup
        self._most_claims = claims
        self._clock: Clock = clock or SystemClock()
        self._jitter = jitter
        self._stopping = asyncio.Event()
        self._freed = asyncio.Event()
        self._attempts: dict[asyncio.Task[None], Attempt] = {}

    @property
    def running(self) -> tuple[ClaimedRun, ...]:
        """The runs this worker holds at the moment."""
        return tuple(attempt.run for attempt in self._attempts.values())

    def stop(self) -> None:
        """Begin to stop; :meth:`run` returns when that is done. May be called from a signal handler."""
        self._stopping.set()

    async def run(self) -> None:
        """Claim and work until :meth:`stop`.

        Raises ApiError when the server refuses to give this worker anything (a wrong id, missing scopes); the
        runs it holds are ended before, as by :meth:`stop`.
        """
        refusal: ApiError | None = None
        try:
            try:
                await self._claim_until_stopped()
            except ApiError as error:
                refusal = error
            self._stopping.set()
            await self._drain()
        except asyncio.CancelledError:
            for task in self._attempts:
                task.cancel()
            await self._ended_within(self._cleanup_seconds)
            raise
        if refusal is not None:
            raise refusal

    async def _claim_until_stopped(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            self._freed.clear()
            free = self._free()
            if free == 0:
                await self._unless_stopped(self._freed.wait())
                continue
            asked = self._clock.time()
            try:
                claims = await self._unless_stopped(self._claim(min(free, self._most_claims)))
            except TaskbusError as error:
                if isinstance(error, ApiError) and error.status < 500:
                    raise
                delay = backoff(failures, self._jitter, first=FIRST_DELAY)
                logger.warning(
                    "claiming from %s failed, again in %.1f s: %s", self._task_queue_id, delay, error
                )
                failures += 1
                await self._unless_stopped(self._clock.sleep(delay))
                continue
            if failures:
                logger.info("claiming from %s works again", self._task_queue_id)
                failures = 0
            for claim in claims or ():
                self._begin(claim)
            if not claims and self._clock.time() - asked < SHORTEST_POLL:
                await self._unless_stopped(self._clock.sleep(SHORTEST_POLL))

    def _free(self) -> int:
        """How many more runs there may be; those that gave up their places count no more, up to as many."""
        given_up = sum(not attempt.run.takes_place for attempt in self._attempts.values())
        return self._concurrency - len(self._attempts) + min(given_up, self._concurrency)

    async def _claim(self, tasks: int) -> tuple[TaskClaimResponse, ...]:
        return await self._queue.claim_work(
            self._task_queue_id, worker_group=self._worker_group, worker_id=self._worker_id, tasks=tasks
        )

    def _begin(self, claim: TaskClaimResponse) -> None:
        run = ClaimedRun(claim, self._clock, self._freed.set)
        attempt = Attempt(run, self._queue, self._handler, clock=self._clock, jitter=self._jitter)
        life = attempt.give_back() if self._stopping.is_set() else attempt.execute()
        task = asyncio.create_task(life, name=f"run {run!r}")
        self._attempts[task] = attempt
        task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        attempt = self._attempts.pop(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("%r ended without a report", attempt.run, exc_info=error)
        self._freed.set()

    async def _drain(self) -> None:
        if await self._ended_within(self._drain_seconds):
            return
        for attempt in self._attempts.values():
            attempt.shut_down()
        if await self._ended_within(self._cleanup_seconds):
            return
        logger.error("given back, though their handlers have not ended: %s", self.running)
        surrendering = [attempt.surrender() for attempt in self._attempts.values()]
        try:
            await within(self._clock, self._cleanup_seconds, _all(surrendering))
        except TimeoutError:
            logger.error("not reported, to be tried again when their claims expire: %s", self.running)

    async def _ended_within(self, seconds: float) -> bool:
        if self._attempts:
            with contextlib.suppress(TimeoutError):
                await within(self._clock, seconds, asyncio.wait(list(self._attempts)))
        return not self._attempts

    async def _unless_stopped(self, work: Coroutine[Any, Any, _T]) -> _T | None:
        """The result of ``work``, or None when the worker was stopped before there was one."""
        job = asyncio.create_task(work)
        stop = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({job, stop}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
            job.cancel()
            await asyncio.wait({job})
        # An answer that arrived together with the stop is not thrown away: it may hold claims.
        return None if job.cancelled() else job.result()


async def _all(work: Iterable[Awaitable[None]]) -> None:
    await asyncio.gather(*work)
