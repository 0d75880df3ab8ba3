"""The line of workers in front of each task queue: claimWork's long poll (``queue-behaviour.md`` 7.2).

Workers of one queue are served first come, first served. Whoever comes when runs are pending is served by
the next transaction; whoever waits is woken by the commit that made a run pending.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextvars import Context
from dataclasses import dataclass, replace
from datetime import datetime

from queue_service.core.workers import WorkerKey
from queue_service.counting import SIZES, Distribution
from queue_service.operations.batching import Overloaded
from queue_service.operations.claims import Claimed, WorkRequest
from queue_service.store.database import StoreUnavailable
from queue_service.store.signals import QueueFilled, QueueHeld, Signal

logger = logging.getLogger(__name__)

MAX_REQUESTS = 64
"""Requests that share a transaction."""
MAX_RUNS = 256
"""Runs that a transaction hands out at most, but for a single larger request."""


@dataclass(eq=False, slots=True)
class _Waiter:
    request: WorkRequest
    served: asyncio.Future[list[Claimed]]
    claiming: bool = False
    overdue: bool = False
    """Its time is up; it only awaits the claim that is under way."""


class WorkDesk:
    """Hands out runs to waiting workers, many in one transaction.

    ``claim`` runs the transaction; ``now`` is the service's clock. ``poll_seconds``: how often lines are
    looked at without a signal, for runs that another process made pending and whose signal was lost; None
    where that cannot be.
    """

    def __init__(
        self,
        claim: Callable[[Sequence[WorkRequest]], Awaitable[list[list[Claimed]]]],
        *,
        now: Callable[[], datetime],
        poll_seconds: float | None,
        max_waiting: int = 50_000,
    ) -> None:
        self._claim = claim
        self._now = now
        self._poll_seconds = poll_seconds
        self._max_waiting = max_waiting
        self._lines: dict[str, dict[_Waiter, None]] = {}
        self._waiting = 0
        self._hot: dict[str, None] = {}
        self._dispatcher: asyncio.Task[None] | None = None
        self._poll_timer: asyncio.TimerHandle | None = None
        self._held: dict[str, asyncio.TimerHandle] = {}
        self._closed = False
        self.sizes = Distribution(SIZES)
        """How many calls shared a transaction."""

    async def claim_work(
        self, request: WorkRequest, *, seconds: float, gone: Callable[[], Awaitable[object]]
    ) -> list[Claimed]:
        """Up to ``request.wanted`` runs, as soon as there is one; nothing after ``seconds``.

        Who does not wait, with 0 seconds, gets what is left when those have been served who came before.
        ``gone()`` returns when the worker's connection is lost: it leaves the line then. Raises
        StoreUnavailable or Overloaded.
        """
        if self._closed:
            raise Overloaded("the service stops")
        if self._waiting >= self._max_waiting:
            raise Overloaded(f"{self._waiting} workers wait already")
        served: asyncio.Future[list[Claimed]] = asyncio.get_running_loop().create_future()
        patient = seconds > 0
        waiter = _Waiter(replace(request, alive=lambda: not served.done()), served, overdue=not patient)
        line = self._lines.setdefault(request.task_queue_id, {})
        line[waiter] = None
        self._waiting += 1
        self._wake(request.task_queue_id)
        watch = asyncio.ensure_future(gone())
        try:
            timeout = seconds if patient else None
            await asyncio.wait((served, watch), timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            if waiter.claiming and not watch.done():
                waiter.overdue = True
                return await served
            return served.result() if served.done() else []
        finally:
            served.cancel()
            watch.cancel()
            self._waiting -= 1
            del line[waiter]
            if not line:
                del self._lines[request.task_queue_id]

    @property
    def waiting(self) -> int:
        """How many workers wait for work."""
        return self._waiting

    def on_signal(self, signal: Signal) -> None:
        """Subscribe this to the database's signals."""
        if isinstance(signal, QueueFilled) and signal.task_queue_id in self._lines:
            self._wake(signal.task_queue_id)
        elif isinstance(signal, QueueHeld) and signal.task_queue_id in self._lines:
            self._wake_later(signal.task_queue_id, (signal.until - self._now()).total_seconds())

    def dismiss(self, worker: WorkerKey) -> None:
        """Answer the waiting calls of this worker with nothing; a claim that is under way is finished."""
        for waiter in self._lines.get(worker.task_queue_id, ()):
            if waiter.request.worker == worker:
                waiter.overdue = True
                if not waiter.claiming and not waiter.served.done():
                    waiter.served.set_result([])

    def close(self) -> None:
        """Answer everybody who waits with nothing, and let nobody wait any more."""
        self._closed = True
        for timer in self._held.values():
            timer.cancel()
        for line in self._lines.values():
            for waiter in line:
                if not waiter.served.done():
                    waiter.served.set_result([])

    def _wake(self, task_queue_id: str) -> None:
        self._hot[task_queue_id] = None
        if self._dispatcher is None or self._dispatcher.done():
            # In a context of its own: it works for many calls, and its log lines are not those of the first.
            self._dispatcher = asyncio.create_task(self._dispatch(), name="work desk", context=Context())

    def _wake_later(self, task_queue_id: str, seconds: float) -> None:
        """Look at a line whose task queue may have room under its limits by then."""
        loop = asyncio.get_running_loop()
        planned = self._held.get(task_queue_id)
        if planned is not None and planned.when() <= loop.time() + seconds:
            return
        if planned is not None:
            planned.cancel()
        self._held[task_queue_id] = loop.call_later(max(seconds, 0), self._look_again, task_queue_id)

    def _look_again(self, task_queue_id: str) -> None:
        del self._held[task_queue_id]
        if task_queue_id in self._lines:
            self._wake(task_queue_id)

    async def _dispatch(self) -> None:
        while self._hot:
            hot, self._hot = list(self._hot), {}
            waiters, unheard = self._front(hot)
            if waiters:
                dry = await self._claim_for(waiters)
                self._hot = dict.fromkeys([*(line for line in unheard if line not in dry), *self._hot])
        self._plan_poll()

    def _front(self, hot: Sequence[str]) -> tuple[list[_Waiter], list[str]]:
        """The first waiters of these lines, a bounded number, and the lines in which more wait.

        Lines of which nobody was heard come before those that were cut short: none starves.
        """
        front: list[_Waiter] = []
        passed_over: list[str] = []
        cut_short: list[str] = []
        runs = 0
        for task_queue_id in hot:
            heard = len(front)
            for waiter in self._lines.get(task_queue_id, ()):
                if waiter.served.done():
                    continue
                if len(front) >= MAX_REQUESTS or (front and runs + waiter.request.wanted > MAX_RUNS):
                    (cut_short if len(front) > heard else passed_over).append(task_queue_id)
                    break
                front.append(waiter)
                runs += waiter.request.wanted
        return front, passed_over + cut_short

    async def _claim_for(self, waiters: Sequence[_Waiter]) -> set[str]:
        """Claim for these waiters and serve them; the task queues that proved empty."""
        self.sizes.add(len(waiters))
        for waiter in waiters:
            waiter.claiming = True
        try:
            outcomes = await self._claim([waiter.request for waiter in waiters])
        except Exception as error:
            if not isinstance(error, StoreUnavailable):
                logger.exception("claiming failed")
            for waiter in waiters:
                if not waiter.served.done():
                    waiter.served.set_exception(error)
            return set()
        dry: set[str] = set()
        for waiter, claimed in zip(waiters, outcomes, strict=True):
            waiter.claiming = False
            if not claimed:
                if not waiter.served.done():
                    dry.add(waiter.request.task_queue_id)
            elif waiter.served.done():
                for task in (item.task for item in claimed):
                    logger.warning(
                        "a worker left while its claim was committed; the run waits for its claim to expire",
                        extra={"taskId": task.task_id, "runId": task.runs[-1].run_id},
                    )
            else:
                waiter.served.set_result(claimed)
        self._dismiss_overdue(dry)
        return dry

    def _dismiss_overdue(self, dry: Iterable[str]) -> None:
        """Answer with nothing who waits for no longer than to learn that these task queues are empty."""
        for task_queue_id in dry:
            for waiter in self._lines.get(task_queue_id, ()):
                if waiter.overdue and not waiter.claiming and not waiter.served.done():
                    waiter.served.set_result([])

    def _plan_poll(self) -> None:
        if self._poll_seconds is not None and self._lines and self._poll_timer is None:
            self._poll_timer = asyncio.get_running_loop().call_later(self._poll_seconds, self._poll)

    def _poll(self) -> None:
        self._poll_timer = None
        for task_queue_id in self._lines:
            self._wake(task_queue_id)
