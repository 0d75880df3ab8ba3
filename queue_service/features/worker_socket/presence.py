"""Who is connected where: the connections of this process, what other gateways take, and the word between.

Each gateway has a row with what its connections take, which it renews; a row that is not renewed any more
stands for a process that is gone (WI-2, WI-3).
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import structlog

from queue_service.core.workers import KEPT, Seen
from queue_service.features.worker_socket import store
from queue_service.features.worker_socket.connection import Connection
from queue_service.features.worker_socket.items import QUEUES, is_queue
from queue_service.features.worker_socket.matching import Description
from queue_service.operations.sightings import REFRESH
from queue_service.store import outbox, workers
from queue_service.store.database import Database, StoreUnavailable, Tx
from queue_service.store.outbox import Outgoing
from queue_service.store.signals import TopicStirred
from schemas.times import EPOCH
from schemas.work import WorkerAttachedMessage, WorkerDetachedMessage

logger = structlog.get_logger(__name__)

TOPIC: Final = "work"
"""Of the signal that a gateway's connections take other items now."""
LEASE: Final = timedelta(seconds=30)
RENEW_SECONDS: Final = 10.0


class Presence:
    """The connections of ``gateway``, in the order of their attaching, and its row beside those of others."""

    def __init__(self, database: Database, gateway: str) -> None:
        self.connections: dict[str, Connection] = {}
        self.elsewhere: Sequence[Description] = ()
        """What connections of other gateways take."""
        self._database = database
        self._gateway = gateway
        self._told: list[Any] = []
        self._noted: dict[str, datetime] = {}
        """When the task queue of each name was last written down."""
        self._row = asyncio.Lock()
        """The row says what the connections take when it is written: one after the other."""

    async def attach(self, connection: Connection) -> None:
        """Tell of a connection, and have it. Raises StoreUnavailable."""
        message = WorkerAttachedMessage.trusted(
            worker_group=self._gateway,
            worker_id=connection.worker_id,
            task_name=connection.described[0].name,
            first_seen=True,
        )
        async with self._row:
            told = self._descriptions(connection)
            await self._write(told, lambda tx: outbox.record(tx, [_outgoing(message)]))
            self.connections[connection.worker_id] = connection

    async def detach(
        self, connection: Connection, reason: str, first: Callable[[Tx], Awaitable[object]]
    ) -> None:
        """Tell that a connection is gone that was forgotten already, after this was done. Raises
        StoreUnavailable."""
        message = WorkerDetachedMessage.trusted(
            worker_group=self._gateway,
            worker_id=connection.worker_id,
            task_name=connection.described[0].name,
            reason=reason,
        )

        async def script(tx: Tx) -> None:
            await first(tx)
            await store.renew(tx, self._gateway, self._descriptions(), LEASE)
            await outbox.record(tx, [_outgoing(message)])
            tx.announce(TopicStirred(TOPIC))

        async with self._row:
            await self._database.write(script)

    async def advertise(self) -> None:
        """Renew the word of what the connections take. Raises StoreUnavailable."""
        async with self._row:
            if not self.connections and not self._told:
                return
            told = self._told = self._descriptions()
            await self._write(told)

    async def read_others(self) -> None:
        """Learn what workers of other gateways take. Raises StoreUnavailable."""
        if self._database.is_sqlite:
            return
        async with self._database.read() as connection:
            found = await store.others(connection, self._gateway, self._database.clock.now())
        self.elsewhere = [
            Description(name, {key: frozenset(values) for key, values in filters.items()})
            for name, filters in found
        ]

    async def sign_off(self) -> None:
        """The gateway leaves."""
        try:
            await self._database.write(lambda tx: store.forget(tx, self._gateway))
        except StoreUnavailable:
            logger.warning("the gateway could not sign off; others will notice")

    async def _write(self, told: list[Any], beside: Callable[[Tx], Awaitable[object]] | None = None) -> None:
        """Write what the connections take, and, once a minute, that their task queues are in use (Q-1)."""
        now = self._database.clock.now()
        queues = {QUEUES + name for name, _ in told if is_queue(name)}
        due = sorted(each for each in queues if now - self._noted.get(each, EPOCH) >= REFRESH)

        async def script(tx: Tx) -> None:
            await store.renew(tx, self._gateway, told, LEASE)
            if beside is not None:
                await beside(tx)
            await workers.note_queues(tx, dict.fromkeys(due, Seen(tx.now, tx.now + KEPT)))
            tx.announce(TopicStirred(TOPIC))

        await self._database.write(script)
        self._noted = {each: now if each in due else self._noted[each] for each in queues}

    def _descriptions(self, *further: Connection) -> list[Any]:
        """What the connections take, each once: thousands may take the same."""
        present = (one for one in (*self.connections.values(), *further) if not one.draining)
        distinct = dict.fromkeys(told for connection in present for told in connection.told)
        return [(name, dict(filter)) for name, filter in distinct]


def _outgoing(message: WorkerAttachedMessage | WorkerDetachedMessage) -> Outgoing:
    return Outgoing(message, (), (f"worker {message.worker_id}",))
