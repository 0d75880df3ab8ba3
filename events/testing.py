"""For tests of programs on the bus: a recorder of what is published, and a broker in the test's process."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar

from events import keys
from events.bindings import Binding, bind
from events.exchanges import EXCHANGES
from events.listener import Listener
from events.messages import Delivery

if TYPE_CHECKING:
    from events.broker import Broker

M = TypeVar("M")

Kind = Callable[..., Binding[M]]
"""A binding class, such as ``TaskCompleted``."""


class Recorded(NamedTuple):
    """One message: the full name of its exchange, the event in it, and the facts of its delivery."""

    exchange: str
    event: Any
    delivery: Delivery


class Recorder:
    """Keeps every message of all our exchanges, or of the given bindings, in the order of arrival.

    ::

        async with Recorder(url) as recorder:
            ...
            event = await recorder.wait_for(TaskCompleted, task_id=task_id)
    """

    def __init__(self, url: str, *bindings: Binding[Any]) -> None:
        self.records: list[Recorded] = []
        self._bindings = bindings or tuple(bind(exchange.full_name) for exchange in EXCHANGES)
        self._listener = Listener(url, name="recorder", on_dropped=self._undecodable)
        self._changed = asyncio.Event()
        self._error: Exception | None = None

    async def __aenter__(self) -> Self:
        """Connect; messages published from now on are recorded. Raises BrokerUnavailable."""
        self._listener.on(*self._bindings, prefetch=1000, attempts=1)(self._record)
        await self._listener.start()
        try:
            await self._listener.ready()
        except BaseException:
            await self._listener.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._listener.stop()

    def of(self, kind: Kind[M], **words: Any) -> list[M]:
        """The events of this kind so far whose routing keys have these words."""
        binding = kind(**words)
        return [record.event for record in self.records if _is_of(record, binding)]

    async def wait_for(self, kind: Kind[M], *, timeout: float = 10.0, **words: Any) -> M:
        """The first event of this kind with these words, be it recorded already or still to come.

        Raises AssertionError that shows what was recorded when none comes within ``timeout`` seconds, and
        UndecodableMessage when a message arrived that is not what its exchange declares.
        """
        return (await self.wait_for_count(1, kind, timeout=timeout, **words))[0]

    async def wait_for_count(
        self, count: int, kind: Kind[M], *, timeout: float = 10.0, **words: Any
    ) -> list[M]:
        """The first ``count`` events of this kind with these words; raises as :meth:`wait_for` does."""
        try:
            async with asyncio.timeout(timeout):
                while self._error is None and len(self.of(kind, **words)) < count:
                    await self._changed.wait()
        except TimeoutError:
            seen = "".join(f"\n  {record.exchange} {record.delivery.routing_key}" for record in self.records)
            raise AssertionError(
                f"waited {timeout:g} s for {count} of {kind(**words)!r}, recorded only:{seen or ' nothing'}"
            ) from None
        if self._error is not None:
            raise self._error
        return self.of(kind, **words)[:count]

    async def _record(self, event: Any, delivery: Delivery) -> None:
        self.records.append(Recorded(delivery.exchange, event, delivery))
        self._announce()

    def _undecodable(self, delivery: Delivery, error: Exception) -> None:
        self._error = self._error or error
        self._announce()

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _is_of(record: Recorded, binding: Binding[Any]) -> bool:
    return record.exchange == binding.exchange and any(
        keys.matches(binding.routing_key_pattern, key)
        for key in (record.delivery.routing_key, *record.delivery.cc)
    )


@asynccontextmanager
async def embedded_broker() -> AsyncIterator["Broker"]:
    """A broker in this process, on a free port of the loopback; clients connect to its ``url``."""
    from events.broker import Broker

    async with Broker("127.0.0.1", 0) as broker:
        yield broker
