"""The broker: one durable queue bound to every exchange, behind links that break and lose confirms."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import Any

from events.errors import BrokerUnavailable
from events.messages import OutboundMessage
from tests.simulation.scheduler import Scheduler, SimulatedLoop

Settled = Callable[[bool], None]


@dataclass(frozen=True)
class Delivery:
    """A message in the queue."""

    message_id: str
    exchange: str
    text: bytes

    @cached_property
    def body(self) -> dict[str, Any]:
        return dict(json.loads(self.text))


class SimulatedBroker:
    """``queue`` keeps every message that arrived, in order; ``nack_share`` of them are refused."""

    def __init__(self, scheduler: Scheduler, random: Random) -> None:
        self.scheduler = scheduler
        self.random = random
        self.pace = random.choice((0.002, 0.02, 0.3))
        """Seconds that a message or a confirm is under way, on average."""
        self.queue: list[Delivery] = []
        self.away = False
        self.nack_share = 0.0
        self.links: list[Link] = []
        self.lost_messages = 0
        self.lost_confirms = 0
        self.nacks = 0

    def cut(self) -> None:
        """All links break; what is under way arrives up to some message, and no confirm does."""
        for link in self.links:
            link.cut()
        self.links.clear()

    def cut_links_of(self, loop: SimulatedLoop) -> None:
        """The process of this loop died; its operating system may still send what it had written."""
        for link in [link for link in self.links if link.loop is loop]:
            link.cut()
            self.links.remove(link)

    def take(self, message: OutboundMessage) -> bool:
        """Put it into the queue; False when it is refused, which does not say that it is nowhere."""
        refused = self.random.random() < self.nack_share
        if not refused or self.random.random() < 0.5:
            exchange = message.exchange.rpartition("/")[2]
            self.queue.append(Delivery(message.message_id, exchange, message.body))
        self.nacks += refused
        return not refused


class Link:
    """A connection: messages arrive in order, confirms come back when they come."""

    def __init__(self, broker: SimulatedBroker, loop: SimulatedLoop, on_lost: Callable[[], None]) -> None:
        self._broker = broker
        self.loop = loop
        self._on_lost = on_lost
        self._last_arrival = 0.0
        self._under_way = 0
        self._arriving: int | None = None
        """Of what is under way when the link breaks, so many messages still arrive."""

    def send(self, message: OutboundMessage, settled: Settled) -> None:
        scheduler, random = self._broker.scheduler, self._broker.random
        self._last_arrival = max(
            self._last_arrival, scheduler.now + random.expovariate(1 / self._broker.pace)
        )
        self._under_way += 1
        scheduler.after(self._last_arrival - scheduler.now, self._arrive, message, settled)

    def cut(self) -> None:
        if self._arriving is None:
            self._arriving = self._broker.random.randint(0, self._under_way)
            if not self.loop.killed:
                self.loop.call_soon(self._on_lost)

    def _arrive(self, message: OutboundMessage, settled: Settled) -> None:
        self._under_way -= 1
        if self._arriving is not None:
            self._arriving -= 1
            if self._arriving < 0 or self._broker.away:
                self._arriving = -1
                self._broker.lost_messages += 1
                return
        confirmed = self._broker.take(message)
        delay = self._broker.random.expovariate(1 / self._broker.pace)
        self._broker.scheduler.after(delay, self._settle, settled, confirmed)

    def _settle(self, settled: Settled, confirmed: bool) -> None:
        if self._arriving is not None or self.loop.killed:
            self._broker.lost_confirms += 1
        else:
            self.loop.call_soon(settled, confirmed)


class SimulatedPublisher:
    """What the relay takes for ``events.publisher.Publisher``."""

    def __init__(self, broker: SimulatedBroker, loop: SimulatedLoop) -> None:
        self._broker = broker
        self._loop = loop
        self._link: Link | None = None
        self._lost: asyncio.Future[BrokerUnavailable] | None = None

    async def connect(self) -> None:
        await self._loop.pause(0.01)
        if self._broker.away:
            raise BrokerUnavailable("away")
        lost = self._lost = self._loop.create_future()
        self._link = Link(self._broker, self._loop, lambda: _lose(lost))
        self._broker.links.append(self._link)

    def send(self, message: OutboundMessage, settled: Settled) -> None:
        if self.lost.done():
            raise self.lost.result()
        assert self._link is not None
        self._link.send(message, settled)

    async def writable(self) -> None:
        await self._loop.pause(0.0)
        if self.lost.done():
            raise self.lost.result()

    @property
    def lost(self) -> "asyncio.Future[BrokerUnavailable]":
        if self._lost is None:
            raise BrokerUnavailable("not connected")
        return self._lost

    async def close(self) -> None:
        if self._link is not None:
            self._link.cut()
        if self._lost is not None:
            _lose(self._lost)


def _lose(lost: "asyncio.Future[BrokerUnavailable]") -> None:
    if not lost.done():
        lost.set_result(BrokerUnavailable("cut"))
