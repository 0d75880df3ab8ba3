"""The relay: the only part that publishes. It moves recorded messages to the broker, in order.

A row is deleted after its confirm. A crash between the two publishes it again with the same message-id.
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Final

import structlog

from events.errors import BrokerUnavailable
from events.publisher import Publisher
from queue_service import faults
from queue_service.loops.sequencer import Sequencer
from queue_service.store import leases, outbox
from queue_service.store.database import Database, StoreUnavailable, Tx
from queue_service.store.outbox import OutboxRow

logger = structlog.get_logger(__name__)

BATCH: Final = 500
SMALL_BATCH: Final = 100
PACE: Final = 0.003
"""Seconds after a small batch: a busy time makes larger batches, not more of them."""
SEND_AT_ONCE: Final = 64
"""Messages sent between two looks at the socket's buffer."""
LEASE: Final = "outbox relay"
LEASE_DURATION: Final = timedelta(seconds=10)
FIRST_PAUSE: Final = 0.2
LONGEST_PAUSE: Final = 10.0


class LeaseLost(Exception):
    """The lease ran out; another process may publish now, so this one must not."""


class OutboxRelay:
    """Publishes the outbox through ``publisher``. One process at a time does so.

    It holds a ``lease``, which it renews; when it is killed, another one takes over once that has run out.
    """

    name = LEASE

    def __init__(
        self,
        database: Database,
        publisher: Publisher,
        holder: str,
        *,
        idle: timedelta,
        lease: timedelta = LEASE_DURATION,
    ) -> None:
        self._database = database
        self._publisher = publisher
        self._holder = holder
        self._idle = idle.total_seconds()
        self._lease = lease
        self._nudged = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._connected = False
        self._lease_until = 0.0
        self.published = self.refused = self.losses = 0
        """Messages that were confirmed, and refused; how often the broker was found away."""

    # ---- life -----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin; does nothing when running already."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="outbox relay")

    async def connect(self) -> None:
        """Connect, which declares the exchanges; does nothing while connected. Raises BrokerUnavailable."""
        if self._connected and not self._publisher.lost.done():
            return
        self._connected = False
        await self._publisher.connect()
        self._connected = True
        logger.info("relay connected to the broker")

    async def stop(self) -> None:
        """Stop publishing, give the lease back and leave the broker. Unpublished rows stay in the outbox."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
        await self._disconnect()
        if not self._database.is_sqlite:
            try:
                await self._database.write(lambda tx: leases.release(tx, LEASE, self._holder))
            except StoreUnavailable:
                logger.warning("the relay's lease was not given back; it expires by itself")

    @property
    def connected(self) -> bool:
        """Whether the broker was reached when last tried."""
        return self._connected

    @property
    def trouble(self) -> str | None:
        """What is wrong, for health checks; None while it runs, be the broker there or not."""
        return "does not run" if self._task is None or self._task.done() else None

    def nudge(self) -> None:
        """The outbox was filled."""
        self._nudged.set()

    # ---- work -----------------------------------------------------------------------------------------

    async def _run(self) -> None:
        pause = FIRST_PAUSE
        while True:
            self._nudged.clear()
            try:
                if not await self._hold_lease():
                    await asyncio.sleep(self._lease.total_seconds() / 10)
                    continue
                published = await self.run_once()
                pause = FIRST_PAUSE
            except BrokerUnavailable as error:
                self.losses += 1
                await self._broker_lost(error, pause)
                pause = min(pause * 2, LONGEST_PAUSE)
                continue
            except StoreUnavailable as error:
                logger.warning("relay waits for the database", reason=str(error))
                published = 0
            except LeaseLost:
                logger.warning("the relay's lease ran out; another process may publish now")
                self._lease_until = 0.0
                await self._disconnect()
                continue
            except Exception:
                logger.exception("relay failed; it tries again", seconds=pause)
                await self._disconnect()
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
                continue
            if published == 0:
                await self._wait()
            elif published < SMALL_BATCH:
                await asyncio.sleep(PACE)

    async def run_once(self) -> int:
        """Publish one batch and forget what was confirmed; how many were confirmed.

        Raises BrokerUnavailable when the broker is lost; what was confirmed before is forgotten all the same.
        """
        await self.connect()
        async with self._database.read() as connection:
            rows = await outbox.next_batch(connection, BATCH)
        if not rows:
            return 0
        sequencer = Sequencer(rows)
        try:
            await self._publish(sequencer)
        finally:
            faults.point("outbox.published")
            await self._forget(sequencer.confirmed)
            faults.point("outbox.deleted")
        if sequencer.refused:
            logger.warning(
                "the broker refused messages; they are tried again",
                refused=len(sequencer.refused),
                first_id=sequencer.refused[0],
                advice="look for a full queue with overflow=reject-publish that is bound to these exchanges",
            )
            await asyncio.sleep(FIRST_PAUSE)
        return len(sequencer.confirmed)

    async def _publish(self, sequencer: Sequencer) -> None:
        """Send what is ready and, as confirms come in, what becomes ready.

        Raises BrokerUnavailable or LeaseLost; rows that were confirmed before are in ``sequencer``.
        """
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def send(rows: Sequence[OutboxRow]) -> None:
            if rows:
                self._check_lease()
            for row in rows:
                self._publisher.send(row.message, partial(settled, row))

        def settled(row: OutboxRow, confirmed: bool) -> None:
            freed = sequencer.settle(row, confirmed)
            self.published += confirmed
            self.refused += not confirmed
            if ended.done():
                return
            try:
                send(freed)
            except Exception as error:
                ended.set_exception(error)
            else:
                if sequencer.under_way == 0:
                    ended.set_result(None)

        try:
            for start in range(0, len(sequencer.ready), SEND_AT_ONCE):
                send(sequencer.ready[start : start + SEND_AT_ONCE])
                await self._publisher.writable()
            await self._all_settled(ended)
        finally:
            ended.cancel()  # confirms that come later find a batch that was given up, and send nothing

    async def _all_settled(self, ended: asyncio.Future[None]) -> None:
        """Wait for the end of a batch, keeping the lease. Raises BrokerUnavailable or LeaseLost."""
        lost = self._publisher.lost
        while not ended.done():
            await asyncio.wait(
                (ended, lost),
                timeout=self._lease.total_seconds() / 3,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if lost.done() and not ended.done():
                raise lost.result()
            if not await self._hold_lease():
                raise LeaseLost
        ended.result()

    async def _forget(self, confirmed: Sequence[int]) -> None:
        if confirmed:
            await self._database.write(lambda tx: outbox.delete_confirmed(tx, confirmed))

    async def _disconnect(self) -> None:
        self._connected = False
        await self._publisher.close()

    async def _broker_lost(self, error: BrokerUnavailable, pause: float) -> None:
        waiting = ""
        try:
            async with self._database.read() as connection:
                waiting = str(await outbox.depth(connection))
        except StoreUnavailable:
            waiting = "unknown"
        logger.warning(
            "the broker is away; events wait in the outbox, in order",
            reason=str(error),
            waiting=waiting,
            next_try_seconds=pause,
        )
        self._connected = False
        await asyncio.sleep(pause)

    async def _hold_lease(self) -> bool:
        """Take or renew the lease. On SQLite there is only one process, and nothing to hold."""
        if self._database.is_sqlite:
            return True
        loop_time = asyncio.get_running_loop().time()
        if loop_time < self._lease_until - self._lease.total_seconds() * 2 / 3:
            return True

        async def acquire(tx: Tx) -> bool:
            return await leases.acquire(tx, LEASE, self._holder, self._lease)

        granted = await self._database.write(acquire)
        if granted and not self._lease_until:
            logger.info("this process publishes the outbox now", holder=self._holder)
        self._lease_until = loop_time + self._lease.total_seconds() if granted else 0.0
        return granted

    def _check_lease(self) -> None:
        if not self._database.is_sqlite and asyncio.get_running_loop().time() > self._lease_until:
            raise LeaseLost

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(self._idle):
                await self._nudged.wait()
        except TimeoutError:
            pass
