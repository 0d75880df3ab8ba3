"""A publisher that does what the test tells it, and keeps what it was given to send."""

import asyncio
from collections.abc import Callable

from events.errors import BrokerUnavailable
from events.messages import OutboundMessage

Settled = Callable[[bool], None]


class ScriptedPublisher:
    """Confirms every message in the next round of the event loop, unless the test says otherwise.

    ``refuses`` holds the routing keys it refuses. While ``holding``, messages stay unsettled until
    :meth:`settle`. ``away`` is raised when connecting.
    """

    def __init__(self) -> None:
        self.sent: list[OutboundMessage] = []
        self.refuses: set[str] = set()
        self.holding = False
        self.away: BrokerUnavailable | None = None
        self.connections = 0
        self.closed = 0
        self.unsendable: set[str] = set()
        self._unsettled: list[tuple[OutboundMessage, Settled]] = []
        self._lost: asyncio.Future[BrokerUnavailable] | None = None
        self._sent_more = asyncio.Event()

    # What the relay calls

    async def connect(self) -> None:
        if self.away is not None:
            raise self.away
        self.connections += 1
        self._unsettled.clear()
        self._lost = asyncio.get_running_loop().create_future()

    def send(self, message: OutboundMessage, settled: Settled) -> None:
        if self.lost.done():
            raise self.lost.result()
        if message.routing_key in self.unsendable:
            raise ValueError(f"cannot send {message.routing_key}")
        self.sent.append(message)
        self._sent_more.set()
        self._unsettled.append((message, settled))
        if not self.holding:
            asyncio.get_running_loop().call_soon(self.settle)

    async def writable(self) -> None:
        await asyncio.sleep(0)
        if self.lost.done():
            raise self.lost.result()

    @property
    def lost(self) -> "asyncio.Future[BrokerUnavailable]":
        if self._lost is None:
            raise BrokerUnavailable("not connected")
        return self._lost

    async def close(self) -> None:
        self.closed += 1
        self.lose("closed")

    # What the test does

    def settle(self, count: int = 1) -> None:
        """Settle the oldest messages that are not settled."""
        for _ in range(min(count, len(self._unsettled))):
            message, settled = self._unsettled.pop(0)
            settled(message.routing_key not in self.refuses)

    def lose(self, reason: str = "cut") -> None:
        """Lose the connection with what is unsettled."""
        if self._lost is not None and not self._lost.done():
            self._lost.set_result(BrokerUnavailable(reason))
        self._unsettled.clear()

    @property
    def keys(self) -> list[str]:
        """The routing keys of what was sent, in order."""
        return [message.routing_key for message in self.sent]

    async def has_sent(self, count: int) -> None:
        while len(self.sent) < count:
            self._sent_more.clear()
            await self._sent_more.wait()
