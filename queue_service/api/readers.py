"""The open streams of one kind in this process: admitted while there is room, and ended together.

Rules: ``seed-systems.md`` E-7, E-8.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Final

import structlog

from queue_service.api.feeds import Feed
from queue_service.api.streaming import Event, Stream
from queue_service.clock import Clock
from queue_service.operations.batching import Overloaded
from queue_service.store.database import StoreUnavailable

logger = structlog.get_logger(__name__)

LONGEST_SECONDS: Final = 3600.0
"""Then a reader must come again, with credentials that are still good."""


class Readers:
    """Up to ``most`` streams of what is called ``name``, each while its caller's credentials are good."""

    def __init__(self, name: str, most: int, clock: Clock) -> None:
        self._name = name
        self._most = most
        self._clock = clock
        self._feeds: set[Feed] = set()
        self._ending = False
        self.overflows = 0
        """How many were cut off because they took nothing."""

    def __len__(self) -> int:
        return len(self._feeds)

    def admit(self) -> None:
        """Raise Overloaded when there is no room for another."""
        if self._ending:
            raise Overloaded("this process is about to end")
        if len(self._feeds) >= self._most:
            raise Overloaded(f"{len(self._feeds)} streams of {self._name} are open already")

    def stream(
        self,
        feed: Feed,
        missed: AsyncGenerator[Sequence[Event]],
        expires: datetime,
        leave: Callable[[], None],
    ) -> Stream:
        """What a reader ``missed``, and then what its feed gets; ``leave`` is called when it has gone."""
        return Stream(self._batches(feed, missed, expires, leave), feed.end)

    def end(self) -> None:
        """End all streams; their readers come again, to another process."""
        self._ending = True
        for feed in self._feeds:
            feed.end()

    async def _batches(
        self,
        feed: Feed,
        missed: AsyncGenerator[Sequence[Event]],
        expires: datetime,
        leave: Callable[[], None],
    ) -> AsyncGenerator[Sequence[Event]]:
        seconds = min(LONGEST_SECONDS, (expires - self._clock.now()).total_seconds())
        timer = asyncio.get_running_loop().call_later(max(seconds, 0.0), feed.end)
        self._feeds.add(feed)
        try:
            async with aclosing(missed):
                async for batch in missed:
                    yield batch
            while (taken := await feed.take()) is not None:
                yield taken
            if feed.slow:
                self.overflows += 1
                logger.info(f"a reader of {self._name} is cut off: it did not take them")
        except StoreUnavailable as error:
            logger.warning(f"a stream of {self._name} ends; its reader will come again", reason=str(error))
        finally:
            timer.cancel()
            feed.close()
            self._feeds.discard(feed)
            leave()
