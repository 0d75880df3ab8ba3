"""What a reader of a stream has not taken yet: bounded, so that a slow one costs its connection, no memory.

Rule: ``seed-systems.md`` E-7.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from queue_service.api.streaming import KEEP_ALIVE_SECONDS, Event

MOST_UNDELIVERED: Final = 256

Shorten = Callable[[list[Event]], list[Event]]
"""Makes waiting events fewer, where some say nothing that later ones do not."""


class Feed:
    """The events of one reader, who must :meth:`close` it. Thousands wake at once, so waking is cheap."""

    __slots__ = (
        "_loop",
        "_quiet_since",
        "_shorten",
        "_timer",
        "_waiter",
        "_waiting",
        "after",
        "ended",
        "slow",
    )

    def __init__(self, after: int, shorten: Shorten | None = None) -> None:
        self.after = after
        """The position that the reader has; what it is given is beyond it."""
        self.ended = False
        """Whether nothing follows but what waits already."""
        self.slow = False
        """Whether it was ended because too much waited."""
        self._waiting: list[Event] = []
        self._shorten = shorten
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None
        self._quiet_since = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None

    def push(self, position: int, event: Event) -> None:
        """Give the reader an event, unless it has one of that position or a later one."""
        if position > self.after:
            self.after = position
            self.add(event)

    def add(self, event: Event) -> None:
        """Give the reader an event."""
        if self.ended:
            return
        self._waiting.append(event)
        if len(self._waiting) > MOST_UNDELIVERED:
            if self._shorten is not None:
                self._waiting = self._shorten(self._waiting)
            if len(self._waiting) > MOST_UNDELIVERED:
                self.slow = True
                self._waiting.clear()
                self.ended = True
        self._wake()

    def end(self) -> None:
        """Nothing follows any more."""
        self.ended = True
        self._wake()

    def close(self) -> None:
        """The reader has gone."""
        self.end()
        if self._timer is not None:
            self._timer.cancel()

    @property
    def behind(self) -> bool:
        """Whether so much waits that it is better to give it time."""
        return len(self._waiting) > MOST_UNDELIVERED // 2

    async def take(self) -> Sequence[Event] | None:
        """All that waits, as soon as something does; nothing after a while without, None after the end."""
        if not self._waiting and not self.ended:
            self._timer = self._timer or self._loop.call_later(KEEP_ALIVE_SECONDS, self._look)
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
            self._quiet_since = self._loop.time()
        if not self._waiting and self.ended:
            return None
        taken, self._waiting = self._waiting, []
        return taken

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _look(self) -> None:
        """Wake a reader who has heard nothing for long, or look again when that may be so."""
        left = self._quiet_since + KEEP_ALIVE_SECONDS - self._loop.time()
        if left <= 0:
            self._wake()
        self._timer = self._loop.call_later(left if left > 0 else KEEP_ALIVE_SECONDS, self._look)
