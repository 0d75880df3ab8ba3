"""Queues of hooks and triggers on the broker: declared, bound and consumed as the definitions say.

What a queue is bound to is kept in the database, so that a change that was made while no process ran, or
without a broker, is caught up with.
"""

import asyncio
import hashlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple, Protocol

import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage, AbstractQueue
from aiormq.abc import FieldTable
from pamqp.commands import Queue

from events.address import Address
from events.connection import BROKER_ERRORS, Backoff, connect, disconnect
from events.errors import BrokerUnavailable
from queue_service.store.database import Database, StoreUnavailable, Tx
from queue_service.store.signals import Signal, TopicStirred
from queue_service.store.statements import Connection

logger = structlog.get_logger(__name__)

PREFETCH: Final = 5
LOOK_AGAIN_SECONDS: Final = 60.0
MAX_NAME: Final = 255
STOP_SECONDS: Final = 5.0
PAUSE_SECONDS: Final = 1.0
"""Before a message goes back because the database is away."""

Key = tuple[str, str]
"""A group, and an id in it."""


class Bound(NamedTuple):
    """A binding of a queue."""

    exchange: str
    pattern: str


Bindings = Mapping[Key, frozenset[Bound]]


class Listeners(Protocol):
    """Who listens: what their queues should be bound to, and what they are bound to as far as we know."""

    name: str
    """What they are called, in the plural."""
    topic: str
    """Of the signal that they have changed."""
    queue_prefix: str
    """Between the user's name and the key in the name of a queue."""
    max_length: int
    """Messages that a queue keeps."""

    async def wanted(self, connection: Connection) -> Bindings: ...

    async def bound(self, connection: Connection) -> Bindings: ...

    async def save(self, tx: Tx, key: Key, bindings: frozenset[Bound]) -> None: ...

    async def remove(self, tx: Tx, key: Key) -> None: ...


class Handler(Protocol):
    """What a message does."""

    async def handle(self, key: Key, exchange: str, message_id: str | None, body: bytes) -> object: ...


@dataclass(slots=True)
class _Consuming:
    queue: AbstractQueue
    tag: str


class MessageQueues:
    """Keeps the queues of all listeners, and hands on what arrives there."""

    def __init__(self, database: Database, url: str, listeners: Listeners, handler: Handler) -> None:
        self._database = database
        self._url = url
        self._user = Address.parse(url).user
        self._listeners = listeners
        self._handler = handler
        self._stirred = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._consuming: dict[Key, _Consuming] = {}
        self.reconciled = asyncio.Event()
        """Set whenever all queues are as the definitions say; for tests and health checks."""
        database.subscribe(self._on_signal)

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"queues of {self._listeners.name}")

    async def stop(self) -> None:
        """Stop listening; the queues stay and collect."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=STOP_SECONDS)
            self._task = None

    def name_of(self, key: Key) -> str:
        """The name of the queue of this key."""
        prefix = f"queue/{self._user}/{self._listeners.queue_prefix}"
        name = prefix + "/".join(key)
        if len(name) <= MAX_NAME:
            return name
        return prefix + hashlib.sha256("/".join(key).encode()).hexdigest()

    def _on_signal(self, signal: Signal) -> None:
        if signal == TopicStirred(self._listeners.topic):
            self._stirred.set()

    async def _run(self) -> None:
        name = self._listeners.name
        backoff = Backoff()
        while True:
            try:
                if not await self._anything_to_do():
                    await self._wait()
                    continue
                connection = await connect(self._url, f"taskbus {name}")
                try:
                    backoff.reset()
                    await self._session(connection)
                finally:
                    self._consuming.clear()
                    await disconnect(connection)
            except (BrokerUnavailable, StoreUnavailable, *BROKER_ERRORS) as error:
                seconds = backoff.next()
                logger.warning(
                    f"{name} wait for messages in vain", reason=str(error), next_try_seconds=seconds
                )
                await asyncio.sleep(seconds)
            except Exception:
                logger.exception(f"the queues of {name} failed; they are set up again")
                await asyncio.sleep(backoff.next())

    async def _anything_to_do(self) -> bool:
        """Whether somebody listens, or did: else no connection is needed."""
        self._stirred.clear()
        wanted, bound = await self._definitions()
        if wanted or bound:
            return True
        self.reconciled.set()
        return False

    async def _session(self, connection: AbstractConnection) -> None:
        """Listen until the connection is lost, which raises, or there is nothing to listen to."""
        lost = asyncio.Event()

        def on_close(*_: object) -> None:
            lost.set()
            self._stirred.set()

        connection.close_callbacks.add(on_close)
        channel = await connection.channel(publisher_confirms=False)
        channel.close_callbacks.add(on_close)
        await channel.set_qos(prefetch_count=PREFETCH)
        while True:
            self._stirred.clear()
            wanted, bound = await self._definitions()
            for key in sorted(wanted.keys() | bound.keys() | self._consuming.keys()):
                if key in wanted:
                    await self._keep(connection, channel, key, wanted[key], bound.get(key, frozenset()))
                else:
                    await self._drop(channel, key)
            self.reconciled.set()
            if not wanted:
                return
            await self._wait()
            if lost.is_set():
                raise BrokerUnavailable(f"the connection of the {self._listeners.name} was lost")

    async def _definitions(self) -> tuple[Bindings, Bindings]:
        """What queues should be bound to, and what they are bound to."""
        async with self._database.read() as connection:
            return await self._listeners.wanted(connection), await self._listeners.bound(connection)

    async def _keep(
        self,
        connection: AbstractConnection,
        channel: AbstractChannel,
        key: Key,
        wanted: frozenset[Bound],
        bound: frozenset[Bound],
    ) -> None:
        """Declare, bind and consume a queue."""
        name = self.name_of(key)
        known = self._consuming.get(key)
        if known is not None and wanted == bound:
            return
        arguments: FieldTable = {"x-max-length": self._listeners.max_length}
        queue = await channel.declare_queue(name, durable=True, arguments=arguments)
        # Written down first: a binding that we forget would bring messages for ever.
        if not wanted <= bound:
            await self._database.write(lambda tx: self._listeners.save(tx, key, wanted | bound))
        missing = {one for one in wanted if not await self._bind(connection, name, one)}
        for one in bound - wanted:
            if _fault(one) is None:
                await queue.unbind(one.exchange, one.pattern)
        now = wanted - missing
        if now != bound:
            await self._database.write(lambda tx: self._listeners.save(tx, key, frozenset(now)))
        if known is None:
            tag = await queue.consume(partial(self._on_message, key))
            self._consuming[key] = _Consuming(queue, tag)

    async def _bind(self, connection: AbstractConnection, name: str, bound: Bound) -> bool:
        """Bind a queue, on a channel of its own: the broker closes it when there is no such exchange."""
        fault = _fault(bound)
        if fault is not None:
            self._tell_missing(name, bound, fault)
            return False
        try:
            channel = await connection.channel(publisher_confirms=False)
            queue = await channel.get_queue(name, ensure=False)
            await queue.bind(bound.exchange, bound.pattern)
            await channel.close()
        except BROKER_ERRORS as error:
            if connection.is_closed:
                raise
            self._tell_missing(name, bound, str(error))
            return False
        return True

    def _tell_missing(self, queue: str, bound: Bound, reason: str) -> None:
        logger.info(
            f"{self._listeners.name} wait for an exchange that is not there, or that we may not read",
            queue=queue,
            exchange=bound.exchange,
            reason=reason,
        )

    async def _drop(self, channel: AbstractChannel, key: Key) -> None:
        """Delete the queue of somebody who is gone, or listens no more."""
        known = self._consuming.pop(key, None)
        if known is not None:
            with suppress(*BROKER_ERRORS):
                await known.queue.cancel(known.tag)
        await channel.queue_delete(self.name_of(key))
        await self._database.write(lambda tx: self._listeners.remove(tx, key))

    async def _on_message(self, key: Key, message: AbstractIncomingMessage) -> None:
        try:
            await self._handler.handle(key, message.exchange or "", message.message_id, message.body)
        except StoreUnavailable:
            await asyncio.sleep(PAUSE_SECONDS)
            await message.nack(requeue=True)
        except Exception:
            logger.exception(
                "a message could not be worked on",
                queue=self.name_of(key),
                again=not message.redelivered,
            )
            await message.nack(requeue=not message.redelivered)
        else:
            await message.ack()

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(LOOK_AGAIN_SECONDS):
                await self._stirred.wait()
        except TimeoutError:
            pass


def _fault(bound: Bound) -> str | None:
    """Why the AMQP library would not send this binding: it refuses names that a user may well have typed."""
    try:
        Queue.Bind(exchange=bound.exchange, routing_key=bound.pattern)
    except ValueError as error:
        return str(error)
    return None
