"""Natural batching: while one transaction is under way, the calls that arrive wait together for the next.

No timer and no added latency when idle: a lone call starts its transaction at once. Under load the
transaction, which is the cost, is shared by all that arrived meanwhile (``architecture.md`` ruling 2).
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from dataclasses import dataclass
from typing import Final, Generic, TypeVar, cast

from queue_service.core.errors import QueueError
from queue_service.counting import SIZES, Distribution
from queue_service.store.database import StoreUnavailable
from schemas import tracing

MANY: Final = 8
"""Waiting calls that are worth another transaction beside the one under way."""

Item = TypeVar("Item")
Result = TypeVar("Result")

logger = logging.getLogger(__name__)


class Overloaded(Exception):
    """Too many calls wait already. The caller should come again later."""


@dataclass(slots=True)
class _Waiting(Generic[Item, Result]):
    item: Item
    weight: int
    outcome: asyncio.Future[Result]
    traceparent: str | None
    """Of the caller, to whom the transaction is a part of what it asked for."""


class Batcher(Generic[Item, Result]):
    """Collects calls of one kind and runs each batch of them as one transaction.

    ``run`` takes the items in order of arrival and gives an outcome for each. ``max_items`` and
    ``max_weight`` bound a batch, ``max_waiting`` the line before it. With two ``lanes``, a second transaction
    starts beside the first when many wait, so that we work while the database does.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Item]], Awaitable[Sequence[Result | QueueError]]],
        *,
        max_items: int = 64,
        max_weight: int = 16 * 1024 * 1024,
        max_waiting: int = 10_000,
        lanes: int = 1,
    ) -> None:
        self._run = run
        self._max_items = max_items
        self._max_weight = max_weight
        self._max_waiting = max_waiting
        self._line: deque[_Waiting[Item, Result]] = deque()
        self._lanes = lanes
        self.sizes = Distribution(SIZES)
        """How many calls shared a transaction."""
        self._workers: set[asyncio.Task[None]] = set()

    async def submit(self, item: Item, *, weight: int = 1) -> Result:
        """The outcome of this item, once its transaction has committed.

        A caller that is cancelled before its batch starts leaves the line; after that the transaction goes on
        without it. Raises the item's QueueError, StoreUnavailable, or Overloaded.
        """
        if len(self._line) >= self._max_waiting:
            raise Overloaded(f"{len(self._line)} calls of this kind wait already")
        outcome: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        waiting = _Waiting(item, weight, outcome, tracing.current())
        self._line.append(waiting)
        if not self._workers or (len(self._workers) < self._lanes and len(self._line) >= MANY):
            # In a context of its own: it works for many calls, and its log lines are not those of the first.
            self._workers.add(asyncio.create_task(self._work(), name="batcher", context=Context()))
        return await outcome

    async def close(self) -> None:
        """Wait until the line is worked off."""
        while self._workers:
            await asyncio.wait(self._workers)

    async def _work(self) -> None:
        try:
            while batch := self._next_batch():
                self.sizes.add(len(batch))
                await self._settle(batch)
        finally:
            self._workers.discard(cast(asyncio.Task[None], asyncio.current_task()))

    def _next_batch(self) -> list[_Waiting[Item, Result]]:
        batch: list[_Waiting[Item, Result]] = []
        weight = 0
        while self._line and len(batch) < self._max_items:
            first = self._line[0]
            if batch and weight + first.weight > self._max_weight:
                break
            self._line.popleft()
            if not first.outcome.done():
                batch.append(first)
                weight += first.weight
        return batch

    async def _settle(self, batch: Sequence[_Waiting[Item, Result]]) -> None:
        try:
            outcomes = await self._transact(batch)
        except StoreUnavailable as error:
            for waiting in batch:
                _fail(waiting, error)
        except Exception as error:
            if len(batch) == 1:
                _fail(batch[0], error)
                return
            # One of them is at fault; each gets a transaction of its own, so that the others do not suffer.
            logger.exception("a batch failed; its items are tried one by one", extra={"items": len(batch)})
            for waiting in batch:
                if not waiting.outcome.done():
                    await self._settle([waiting])
        else:
            for waiting, outcome in zip(batch, outcomes, strict=True):
                if isinstance(outcome, QueueError):
                    _fail(waiting, outcome)
                elif not waiting.outcome.done():
                    waiting.outcome.set_result(outcome)

    async def _transact(self, batch: Sequence[_Waiting[Item, Result]]) -> Sequence[Result | QueueError]:
        """The outcomes of a transaction; it is a span in the trace of each call that shares it."""
        spans = [
            tracing.span("transaction", parent=waiting.traceparent, attributes={"calls": len(batch)})
            for waiting in batch
            if waiting.traceparent is not None
        ]
        try:
            return await self._run([waiting.item for waiting in batch])
        except Exception as error:
            for span in spans:
                span.fail(repr(error))
            raise
        finally:
            for span in spans:
                span.end()


def _fail(waiting: _Waiting[Item, Result], error: Exception) -> None:
    if not waiting.outcome.done():
        waiting.outcome.set_exception(error)
