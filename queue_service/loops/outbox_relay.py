"""The relay: the only part that publishes. It moves recorded messages to the broker, in order.

A row is deleted after its confirm. A crash between the two publishes it again with the same message-id. A
row that the broker refuses is set aside with what must not overtake it (``store/outbox.py``), so that it
holds up nothing else, and is tried again now and then (``retries.py``).
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from operator import attrgetter
from typing import Final

import structlog

from events.errors import BrokerUnavailable
from events.publisher import Publisher
from queue_service import faults
from queue_service.loops.outbox_alarm import OutboxAlarm, Threshold
from queue_service.loops.retries import Retries
from queue_service.loops.sequencer import Sequencer
from queue_service.store import event_log, leases, outbox
from queue_service.store.database import Database, StoreUnavailable, Tx
from queue_service.store.outbox import OutboxRow

logger = structlog.get_logger(__name__)

_ID: Final = attrgetter("id")
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
LOOK_EVERY: Final = 10.0
"""Seconds between two looks at how much waits."""


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
        threshold: Threshold | None = None,
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
        self._retries = Retries()
        self._barriers_are_known = False
        self._refusing = False
        self._alarm = OutboxAlarm(threshold or Threshold())
        self._look_at = 0.0
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
                settled = await self.run_once()
                pause = FIRST_PAUSE
                await self._look()
            except BrokerUnavailable as error:
                self.losses += 1
                await self._broker_lost(error, pause)
                pause = min(pause * 2, LONGEST_PAUSE)
                continue
            except StoreUnavailable as error:
                logger.warning("relay waits for the database", reason=str(error))
                settled = 0
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
            if settled == 0:
                await self._wait()
            elif settled < SMALL_BATCH:
                await asyncio.sleep(PACE)

    async def run_once(self) -> int:
        """Publish one batch, forget what was confirmed and set aside what was not; how many rows that were.

        Raises BrokerUnavailable when the broker is lost; what was confirmed before is forgotten all the same.
        Raises LeaseLost when another process publishes.
        """
        await self.connect()
        if not await self._hold_lease():  # connecting may have taken longer than it lasts
            raise LeaseLost
        if not self._barriers_are_known:
            await self._database.write(outbox.delete_orphans)
            self._barriers_are_known = True
        sequencer, again = await self._next_batch()
        if not sequencer.rows:
            return self._learn(sequencer, again)
        left: Sequence[OutboxRow] = ()
        try:
            await self._publish(sequencer)
            left = sequencer.left
            self._expect_refused(sequencer)
        finally:
            faults.point("outbox.published")
            await self._settle(sequencer.confirmed, left)
            faults.point("outbox.deleted")
        return self._learn(sequencer, again)

    async def _next_batch(self) -> tuple[Sequencer, int]:
        """The oldest rows, and of those set aside as many as are to be tried again now."""
        again = self._retries.wanted(self._time())
        async with self._database.read() as connection:
            rows = await outbox.next_batch(connection, BATCH)
            if again:
                rows = sorted([*rows, *await outbox.next_set_aside(connection, again)], key=_ID)
            barred = await outbox.barred(connection, rows) if rows and self._retries.some else frozenset()
        return Sequencer(rows, barred), again

    def _learn(self, sequencer: Sequencer, again: int) -> int:
        """What this batch tells about the next; how many rows were dealt with for the first or last time."""
        confirmed = set(sequencer.confirmed)
        tried = [row for row in sequencer.rows if row.set_aside]
        self._retries.tried(self._time(), again, len(tried), sum(row.id in confirmed for row in tried))
        added = _new(sequencer.left)
        if added:
            self._retries.added(self._time())
        self._refusing = self._retries.some
        return len(confirmed) + len(added)

    def _expect_refused(self, sequencer: Sequencer) -> None:
        """Rows are about to be set aside. Known before the commit, whose outcome may stay unknown."""
        added = _new(sequencer.left)
        if not added:
            return
        self._retries.added(self._time())
        if not self._refusing:
            self._refusing = True
            logger.warning(
                "the broker refused messages; they are set aside and tried again, the others go on",
                refused=len(sequencer.refused),
                first_id=added[0].id,
                advice="look for a full queue with overflow=reject-publish bound to these exchanges",
            )

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
            if sequencer.under_way:
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

    async def _settle(self, confirmed: Sequence[int], left: Sequence[OutboxRow]) -> None:
        if not (confirmed or left):
            return

        async def script(tx: Tx) -> None:
            await event_log.take(tx, confirmed)
            await outbox.delete_confirmed(tx, confirmed, barriers=self._retries.some)
            if left and (self._database.is_sqlite or await self._acquire(tx)):
                await event_log.take(tx, [row.id for row in _new(left)])
                await outbox.set_aside(tx, left)

        await self._database.write(script)

    async def _disconnect(self) -> None:
        self._connected = False
        await self._publisher.close()

    async def _broker_lost(self, error: BrokerUnavailable, pause: float) -> None:
        self._connected = False
        waiting = ""
        try:
            async with self._database.read() as connection:
                waiting = str(await outbox.depth(connection))
            await self._look()
        except StoreUnavailable:
            waiting = "unknown"
        logger.warning(
            "the broker is away; events wait in the outbox, in order",
            reason=str(error),
            waiting=waiting,
            next_try_seconds=pause,
        )
        await asyncio.sleep(pause)

    async def _look(self) -> None:
        """Now and then, tell when too much waits."""
        if self._time() < self._look_at:
            return
        self._look_at = self._time() + LOOK_EVERY
        async with self._database.read() as connection:
            backlog = await outbox.backlog(connection)
        self._alarm.look(backlog, self._database.clock.now(), connected=self._connected)

    async def _hold_lease(self) -> bool:
        """Take or renew the lease. On SQLite there is only one process, and nothing to hold."""
        if self._database.is_sqlite:
            return True
        loop_time = self._time()
        if loop_time < self._lease_until - self._lease.total_seconds() * 2 / 3:
            return True

        granted = await self._database.write(self._acquire)
        if granted and not self._lease_until:
            logger.info("this process publishes the outbox now", holder=self._holder)
            self._retries, self._barriers_are_known = Retries(), False
        self._lease_until = loop_time + self._lease.total_seconds() if granted else 0.0
        return granted

    async def _acquire(self, tx: Tx) -> bool:
        return await leases.acquire(tx, LEASE, self._holder, self._lease)

    def _check_lease(self) -> None:
        if not self._database.is_sqlite and self._time() > self._lease_until:
            raise LeaseLost

    async def _wait(self) -> None:
        wait = self._idle
        if self._retries.some:
            wait = min(wait, max(FIRST_PAUSE, self._retries.wait(self._time())))
        try:
            async with asyncio.timeout(wait):
                await self._nudged.wait()
        except TimeoutError:
            pass

    @staticmethod
    def _time() -> float:
        return asyncio.get_running_loop().time()


def _new(left: Sequence[OutboxRow]) -> list[OutboxRow]:
    """Those of the rows that were not confirmed that are not set aside yet."""
    return [row for row in left if not row.set_aside]
