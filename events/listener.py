"""The listener: handlers for events, kept listening whatever happens to the broker."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Final, Protocol, Self, TypeVar, Unpack, overload

from aio_pika.abc import AbstractConnection

from events.address import Address
from events.bindings import Binding
from events.connection import Backoff, connect, disconnect
from events.consumer import Consumer
from events.errors import BrokerUnavailable
from events.messages import Delivery
from events.subscription import Options, Subscription

logger = logging.getLogger(__name__)

WATCH_INTERVAL: Final = 15.0
READY_TIMEOUT: Final = 30.0
STOP_TIMEOUT: Final = 30.0

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")


class Register(Protocol[E]):
    """Takes a handler for events of type ``E``, with or without their delivery, and returns it unchanged."""

    @overload
    def __call__(self, handler: Callable[[E], Awaitable[None]], /) -> Callable[[E], Awaitable[None]]: ...
    @overload
    def __call__(
        self, handler: Callable[[E, Delivery], Awaitable[None]], /
    ) -> Callable[[E, Delivery], Awaitable[None]]: ...


class Listener:
    """Hears events and gives them to handlers.

    ::

        async with Listener("amqp://localhost") as listener:

            @listener.on(TaskDefined(worker_type="gaia"), TaskRunning(worker_type="gaia"), queue="gaia")
            async def handle(event: TaskDefinedMessage | TaskRunningMessage) -> None: ...

    The broker may be absent at first, or go away at any time: the listener connects again with growing waits,
    declares queues, bindings and consumers anew, and warns in the log meanwhile. Delivery is at least once.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str = "taskbus listener",
        watch_interval: float = WATCH_INTERVAL,
        stop_timeout: float = STOP_TIMEOUT,
        backoff: Backoff | None = None,
        on_dropped: Callable[[Delivery, Exception], None] | None = None,
    ) -> None:
        """Raises ValueError for a URL that is not AMQP.

        Every ``watch_interval`` seconds the listener asks the broker whether it is still served, so it is
        never deaf for longer than twice that without noticing. Leaving waits ``stop_timeout`` seconds for
        running handlers. ``on_dropped`` is told every message that was given up without a dead-letter queue
        to keep it, since its queue was anonymous or its handler ``auto_ack``; :attr:`dropped` counts them.
        """
        self.dropped = 0
        self._url = url
        self._address = Address.parse(url)
        self._name = name
        self._watch_interval = watch_interval
        self._stop_timeout = stop_timeout
        self._backoff = backoff or Backoff()
        self._tell_dropped = on_dropped
        self._consumers: list[Consumer] = []
        self._added = asyncio.Event()
        self._supervisor: asyncio.Task[None] | None = None
        self._stopped = False
        self._trouble = "the listener was not started"

    # One signature per number of bindings, so that a type checker sees the union of their events.
    @overload
    def on(self, a: Binding[A], /, **options: Unpack[Options]) -> Register[A]: ...
    @overload
    def on(self, a: Binding[A], b: Binding[B], /, **options: Unpack[Options]) -> Register[A | B]: ...
    @overload
    def on(
        self, a: Binding[A], b: Binding[B], c: Binding[C], /, **options: Unpack[Options]
    ) -> Register[A | B | C]: ...
    @overload
    def on(
        self, a: Binding[A], b: Binding[B], c: Binding[C], d: Binding[D], /, **options: Unpack[Options]
    ) -> Register[A | B | C | D]: ...
    @overload
    def on(self, *bindings: Binding[Any], **options: Unpack[Options]) -> Register[Any]: ...
    def on(self, *bindings: Binding[Any], **options: Unpack[Options]) -> Register[Any]:
        """Register a handler for what these bindings bring, before or while the listener runs.

        Options and their defaults: :class:`~events.subscription.Subscription`. The handler is an async
        function of the event, and of its :class:`~events.messages.Delivery` if it has a second parameter.
        The message is acknowledged after it returns. When it raises, it is called again after a wait,
        ``attempts`` times in all; then the message goes to the durable queue ``<queue>.dead``, with the
        error in its headers, or, when the queue is anonymous, is dropped with a word in the log. So it does
        at once when the handler raises UndecodableMessage: no further attempt would read it. Raises
        ValueError for options that are wrong.
        """

        def register(handler: Any) -> Any:
            subscription = Subscription(bindings=bindings, handler=handler, **options)
            if subscription.queue in {consumer.subscription.queue for consumer in self._consumers} - {None}:
                raise ValueError(f"queue: {subscription.queue!r} has a handler in this listener already")
            consumer = Consumer(
                subscription,
                backoff=self._backoff.another(),
                watch_interval=self._watch_interval,
                on_dropped=self._count_dropped,
            )
            self._consumers.append(consumer)
            self._added.set()
            return handler

        return register

    async def start(self) -> None:
        """Begin to connect; does not wait for the broker, :meth:`ready` does. A listener starts only once."""
        if self._stopped:
            raise RuntimeError("this listener was stopped; make a new one")
        if self._supervisor is None:
            self._trouble = f"not connected to the AMQP broker at {self._address}"
            self._supervisor = asyncio.create_task(self._supervise(), name=self._name)

    async def ready(self, timeout: float = READY_TIMEOUT) -> None:
        """Wait until every handler registered so far is being served.

        Raises BrokerUnavailable with the reason when that takes longer than ``timeout`` seconds.
        """
        consumers = list(self._consumers)
        try:
            async with asyncio.timeout(timeout):
                for consumer in consumers:
                    await consumer.consuming.wait()
        except TimeoutError:
            troubles = [
                f"queue {consumer.subscription.name}: {consumer.trouble}"
                for consumer in consumers
                if not consumer.consuming.is_set() and consumer.trouble
            ]
            raise BrokerUnavailable("; ".join([self._trouble, *troubles]).lstrip("; ")) from None

    async def stop(self) -> None:
        """Stop listening: running handlers may finish, everything else goes back to the queues."""
        self._stopped = True
        for consumer in self._consumers:
            consumer.quiesce()
        await asyncio.gather(*[consumer.stop(self._stop_timeout) for consumer in self._consumers])
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.gather(self._supervisor, return_exceptions=True)
            self._supervisor = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def _count_dropped(self, delivery: Delivery, error: Exception) -> None:
        self.dropped += 1
        if self._tell_dropped is not None:
            self._tell_dropped(delivery, error)

    # Supervision

    async def _supervise(self) -> None:
        """One connection after the other, for ever.

        Each lives in a task of its own, because the library below cancels its own futures when a connection
        breaks: whoever waits for one sees a cancellation that nobody asked for.
        """
        while True:
            life = asyncio.create_task(self._live())
            try:
                await asyncio.wait([life])
            finally:
                life.cancel()
                await asyncio.gather(life, return_exceptions=True)
            error = None if life.cancelled() else life.exception()
            self._trouble = str(error) if error else f"lost the AMQP broker at {self._address}"
            delay = self._backoff.next()
            logger.warning("not connected: reason=%r retry_in=%.1fs", self._trouble, delay)
            await asyncio.sleep(delay)

    async def _live(self) -> None:
        """Connect and serve all consumers until the connection is no good. Raises the reason."""
        connection = await connect(self._url, self._name)
        closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def on_close(_: object, error: BaseException | None) -> None:
            if not closed.done():
                closed.set_result(repr(error))

        connection.close_callbacks.add(on_close)
        self._trouble = ""
        try:
            await self._serve(connection, closed)
        finally:
            await disconnect(connection)

    async def _serve(self, connection: AbstractConnection, closed: "asyncio.Future[str]") -> None:
        serving: dict[Consumer, asyncio.Task[None]] = {}
        try:
            while not closed.done() and not any(task.done() for task in serving.values()):
                self._added.clear()
                for consumer in self._consumers:
                    if consumer not in serving:
                        consumer.start()
                        serving[consumer] = asyncio.create_task(consumer.serve(connection))
                added = asyncio.create_task(self._added.wait())
                watched: list[asyncio.Future[Any]] = [closed, added, *serving.values()]
                try:
                    await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    added.cancel()
        finally:
            if any(consumer.consuming.is_set() for consumer in serving):
                self._backoff.reset()
            for task in serving.values():
                task.cancel()
            outcomes = await asyncio.gather(*serving.values(), return_exceptions=True)
        failures = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
        reason = closed.result() if closed.done() else "; ".join(map(repr, failures))
        raise BrokerUnavailable(f"lost the AMQP broker at {self._address}: {reason}")
