"""Popping with patience: consumers wait for members without asking again and again (WK-2).

Whoever waits is woken by the commit that made members free, in this process or another, and by the clock when
a lease or a delay ends. All who wake together share a transaction.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from queue_service.features.kv.workset_operations import Pop, Popped, pop, topic_of
from queue_service.operations.batching import Batcher, Overloaded
from queue_service.store.database import Database
from queue_service.store.signals import Signal, TopicStirred

WEIGHT_OF_MEMBER: Final = 8192
"""In bytes of a batch: some two thousand members share a transaction, which nobody waits for too long."""
MAX_WAITING: Final = 50_000
POLL_SECONDS: Final = 1.0
"""How often a set is looked at without a signal, on PostgreSQL, where one may be lost."""
SHORTEST_SECONDS: Final = 0.005


class PopDesk:
    """Hands members to consumers. ``on_doomed`` is told when members will die if nobody acks them."""

    def __init__(self, database: Database, on_doomed: Callable[[datetime], None]) -> None:
        self._database = database
        self._on_doomed = on_doomed
        self._longest = None if database.is_sqlite else POLL_SECONDS
        self._pops = Batcher[Pop, Popped](self._run, lanes=1 if database.is_sqlite else 2)
        self._bells: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._waiting = 0
        self._closed = asyncio.Event()
        database.subscribe(self._on_signal)

    async def pop(self, request: Pop, *, seconds: float, gone: Callable[[], Awaitable[object]]) -> Popped:
        """Members as soon as there are some; none after ``seconds``, or when ``gone()`` returns.

        Raises StoreUnavailable or Overloaded.
        """
        if self._waiting >= MAX_WAITING:
            raise Overloaded(f"{self._waiting} consumers wait already")
        left = asyncio.Event()
        request = replace(request, alive=lambda: not left.is_set())
        weight = request.limit * WEIGHT_OF_MEMBER
        if not seconds:
            return await self._pops.submit(request, weight=weight)
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        bell = asyncio.Event()
        topic = topic_of(request.set)
        watch = asyncio.ensure_future(_leave(gone, left, bell))
        self._bells[topic].add(bell)
        self._waiting += 1
        try:
            while True:
                bell.clear()
                popped = await self._pops.submit(request, weight=weight)
                pause = min(end - loop.time(), self._pause(popped.next_free))
                if popped.members or left.is_set() or self._closed.is_set() or loop.time() >= end:
                    return popped
                try:
                    async with asyncio.timeout(pause):
                        await bell.wait()
                except TimeoutError:
                    pass
        finally:
            left.set()
            watch.cancel()
            self._waiting -= 1
            self._bells[topic].discard(bell)
            if not self._bells[topic]:
                del self._bells[topic]

    async def close(self) -> None:
        """Answer everybody who waits with what there is, and finish the transactions under way."""
        self._closed.set()
        for bells in self._bells.values():
            for bell in bells:
                bell.set()
        await self._pops.close()

    async def _run(self, requests: Sequence[Pop]) -> list[Popped]:
        outcomes = await self._database.write(lambda tx: pop(tx, requests))
        for outcome in outcomes:
            if outcome.doomed_at is not None:
                self._on_doomed(outcome.doomed_at)
        return outcomes

    def _pause(self, next_free: datetime | None) -> float:
        """Seconds until it is worth looking again without a signal."""
        pauses = [] if self._longest is None else [self._longest]
        if next_free is not None:
            until = (next_free - self._database.clock.now()).total_seconds()
            pauses.append(max(until, SHORTEST_SECONDS))
        return min(pauses, default=float("inf"))

    def _on_signal(self, signal: Signal) -> None:
        if isinstance(signal, TopicStirred):
            for bell in self._bells.get(signal.topic, ()):
                bell.set()


async def _leave(gone: Callable[[], Awaitable[object]], left: asyncio.Event, bell: asyncio.Event) -> None:
    """Note that a consumer's connection is lost, and wake its call."""
    await gone()
    left.set()
    bell.set()
