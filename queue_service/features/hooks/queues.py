"""The queues of hooks on the broker: declared, bound and consumed as the definitions say, whatever happens.

What a queue is bound to is kept in the database, so that a change that was made while no process ran, or
without a broker, is caught up with.
"""

import asyncio
import hashlib
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage, AbstractQueue

from events.address import Address
from events.connection import BROKER_ERRORS, Backoff, connect, disconnect
from events.errors import BrokerUnavailable
from queue_service.features.hooks import queue_rows, store
from queue_service.features.hooks.definitions import TOPIC
from queue_service.features.hooks.hook import Key
from queue_service.features.hooks.on_message import MessageHandler
from queue_service.features.hooks.queue_rows import Bound
from queue_service.store.database import Database, StoreUnavailable
from queue_service.store.signals import Signal, TopicStirred

logger = structlog.get_logger(__name__)

PREFETCH: Final = 5
MAX_LENGTH: Final = 50
LOOK_AGAIN_SECONDS: Final = 60.0
MAX_NAME: Final = 255
STOP_SECONDS: Final = 5.0
PAUSE_SECONDS: Final = 1.0
"""Before a message goes back because the database is away."""


@dataclass(slots=True)
class _Consuming:
    queue: AbstractQueue
    tag: str


class HookQueues:
    """Keeps the queues of all hooks with bindings, and fires hooks by what arrives there."""

    def __init__(self, database: Database, url: str, handler: MessageHandler) -> None:
        self._database = database
        self._url = url
        self._user = Address.parse(url).user
        self._handler = handler
        self._stirred = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._consuming: dict[Key, _Consuming] = {}
        self.reconciled = asyncio.Event()
        """Set whenever all queues are as the definitions say; for tests and health checks."""
        database.subscribe(self._on_signal)

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="queues of hooks")

    async def stop(self) -> None:
        """Stop listening; the queues stay and collect."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=STOP_SECONDS)
            self._task = None

    def name_of(self, key: Key) -> str:
        """The name of the hook's queue."""
        name = f"queue/{self._user}/{'/'.join(key)}"
        if len(name) <= MAX_NAME:
            return name
        return f"queue/{self._user}/{hashlib.sha256('/'.join(key).encode()).hexdigest()}"

    def _on_signal(self, signal: Signal) -> None:
        if signal == TopicStirred(TOPIC):
            self._stirred.set()

    async def _run(self) -> None:
        backoff = Backoff()
        while True:
            try:
                if not await self._anything_to_do():
                    await self._wait()
                    continue
                connection = await connect(self._url, "taskbus hooks")
                try:
                    backoff.reset()
                    await self._session(connection)
                finally:
                    self._consuming.clear()
                    await disconnect(connection)
            except (BrokerUnavailable, StoreUnavailable, *BROKER_ERRORS) as error:
                seconds = backoff.next()
                logger.warning("hooks wait for messages in vain", reason=str(error), next_try_seconds=seconds)
                await asyncio.sleep(seconds)
            except Exception:
                logger.exception("the queues of hooks failed; they are set up again")
                await asyncio.sleep(backoff.next())

    async def _anything_to_do(self) -> bool:
        """Whether a hook has bindings, or had some: else no connection is needed."""
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
                raise BrokerUnavailable("the connection of the hooks was lost")

    async def _definitions(self) -> tuple[dict[Key, frozenset[Bound]], dict[Key, frozenset[Bound]]]:
        """What queues should be bound to, and what they are bound to."""
        async with self._database.read() as connection:
            hooks = await store.every(connection)
            bound = await queue_rows.every(connection)
        wanted = {
            hook.key: frozenset(
                Bound(binding.exchange, binding.routing_key_pattern) for binding in hook.bindings
            )
            for hook in hooks
            if hook.bindings
        }
        return wanted, dict(bound)

    async def _keep(
        self,
        connection: AbstractConnection,
        channel: AbstractChannel,
        key: Key,
        wanted: frozenset[Bound],
        bound: frozenset[Bound],
    ) -> None:
        """Declare, bind and consume the queue of a hook."""
        name = self.name_of(key)
        known = self._consuming.get(key)
        if known is not None and wanted == bound:
            return
        queue = await channel.declare_queue(name, durable=True, arguments={"x-max-length": MAX_LENGTH})
        # Written down first: a binding that we forget would bring messages for ever.
        if not wanted <= bound:
            await self._database.write(lambda tx: queue_rows.save(tx, key, wanted | bound))
        missing = {one for one in wanted if not await self._bind(connection, name, one)}
        for one in bound - wanted:
            await queue.unbind(one.exchange, one.pattern)
        now = wanted - missing
        if now != bound:
            await self._database.write(lambda tx: queue_rows.save(tx, key, frozenset(now)))
        if known is None:
            tag = await queue.consume(partial(self._on_message, key))
            self._consuming[key] = _Consuming(queue, tag)

    async def _bind(self, connection: AbstractConnection, name: str, bound: Bound) -> bool:
        """Bind a queue, on a channel of its own: the broker closes it when there is no such exchange."""
        try:
            channel = await connection.channel(publisher_confirms=False)
            queue = await channel.get_queue(name, ensure=False)
            await queue.bind(bound.exchange, bound.pattern)
            await channel.close()
        except BROKER_ERRORS as error:
            if connection.is_closed:
                raise
            logger.info(
                "a hook waits for an exchange that is not there, or that we may not read",
                queue=name,
                exchange=bound.exchange,
                reason=str(error),
            )
            return False
        return True

    async def _drop(self, channel: AbstractChannel, key: Key) -> None:
        """Delete the queue of a hook that is gone, or has no bindings any more."""
        known = self._consuming.pop(key, None)
        if known is not None:
            with suppress(*BROKER_ERRORS):
                await known.queue.cancel(known.tag)
        await channel.queue_delete(self.name_of(key))
        await self._database.write(lambda tx: queue_rows.remove(tx, key))

    async def _on_message(self, key: Key, message: AbstractIncomingMessage) -> None:
        try:
            await self._handler.handle(key, message.exchange or "", message.message_id, message.body)
        except StoreUnavailable:
            await asyncio.sleep(PAUSE_SECONDS)
            await message.nack(requeue=True)
        except Exception:
            logger.exception(
                "a message could not fire a hook", hook="/".join(key), again=not message.redelivered
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
