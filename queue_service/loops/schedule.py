"""The list of background loops, by hand, and who is nudged by which signal."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from queue_service.blobs.store import BlobStore
from queue_service.core.limits import Limits
from queue_service.loops.loop import Loop
from queue_service.operations import due, forgetting, resolutions
from queue_service.operations.due import Sweep
from queue_service.operations.resolutions import Follower
from queue_service.store import blob_deletions, claims, delays, expiry
from queue_service.store.database import Database
from queue_service.store.signals import Signal, TasksResolved, TimerSet

CLAIMS = 100
DEADLINES = 100
DELAYS = 500
RESOLUTIONS = 100
RECORDS = 500
BLOBS = 500
RESOLUTIONS_PACE = 0.01
LONGEST_SLEEP = timedelta(seconds=60)


def idle(database: Database, seconds: float) -> timedelta:
    """How long a loop may sleep without a signal.

    On PostgreSQL another process may have added work, and its signal may have been lost. On SQLite there
    is no other process, and no signal is lost.
    """
    return LONGEST_SLEEP if database.is_sqlite else timedelta(seconds=seconds)


class Loops:
    """Everything that happens without a caller, but for the relay.

    ``followers`` and ``sweeps``: what the other services do when tasks have ended, and with what has expired.
    """

    def __init__(
        self,
        database: Database,
        limits: Limits,
        blobs: BlobStore,
        *,
        followers: Sequence[Follower] = (),
        sweeps: Sequence[Sweep] = (),
    ) -> None:
        self._database = database
        self._limits = limits
        self._blobs = blobs
        self._followers = followers
        self._sweeps = sweeps
        clock = database.clock
        self.claims = Loop(
            "claim expiry",
            clock,
            self._expire_claims,
            batch=CLAIMS,
            idle=idle(database, 5),
            next_due=self._next_claim,
        )
        self.delays = Loop(
            "delays",
            clock,
            self._release,
            batch=DELAYS,
            idle=idle(database, 1),
            next_due=self._next_release,
        )
        self.deadlines = Loop(
            "deadlines",
            clock,
            self._pass_deadlines,
            batch=DEADLINES,
            idle=idle(database, 5),
            next_due=self._next_deadline,
        )
        self.resolutions = Loop(
            "resolutions",
            clock,
            self._work_off_resolutions,
            batch=1,
            idle=idle(database, 1),
            pace=RESOLUTIONS_PACE,
        )
        self.expiry = Loop(
            "expiry",
            clock,
            self._delete_expired,
            batch=RECORDS,
            idle=LONGEST_SLEEP,
            next_due=self._next_expiry,
        )
        self.blobs = Loop(
            "bytes",
            clock,
            self._delete_blobs,
            batch=BLOBS,
            idle=LONGEST_SLEEP,
            next_due=self._next_blob,
        )
        self.every = (self.claims, self.delays, self.deadlines, self.resolutions, self.expiry, self.blobs)

    def start(self) -> None:
        for loop in self.every:
            loop.start()

    async def stop(self) -> None:
        for loop in self.every:
            await loop.stop()

    def on_signal(self, signal: Signal) -> None:
        """Subscribe this to the database's signals."""
        match signal:
            case TasksResolved():
                self.resolutions.nudge()
            case TimerSet("claim", moment):
                self.claims.nudge_at(moment)
            case TimerSet("delay", moment):
                self.delays.nudge_at(moment)
            case TimerSet("deadline", moment):
                self.deadlines.nudge_at(moment + self._limits.deadline_delay)
            case TimerSet("expiry", moment):
                self.expiry.nudge_at(_later(moment, self._limits.expiry_grace))
            case _:
                pass

    async def _expire_claims(self) -> int:
        return await self._database.write(lambda tx: due.expire_claims(tx, CLAIMS))

    async def _release(self) -> int:
        return await self._database.write(lambda tx: due.release(tx, DELAYS))

    async def _pass_deadlines(self) -> int:
        delay = self._limits.deadline_delay
        return await self._database.write(lambda tx: due.pass_deadlines(tx, DEADLINES, delay=delay))

    async def _work_off_resolutions(self) -> int:
        return await self._database.write(lambda tx: resolutions.work_off(tx, RESOLUTIONS, self._followers))

    async def _delete_expired(self) -> int:
        grace = self._limits.expiry_grace
        return await self._database.write(
            lambda tx: due.delete_expired(tx, RECORDS, grace=grace, sweeps=self._sweeps)
        )

    async def _delete_blobs(self) -> int:
        return await forgetting.delete_blobs(self._database, self._blobs, BLOBS)

    async def _next_claim(self) -> datetime | None:
        async with self._database.read() as connection:
            return await claims.next_expiring(connection, self._database.clock.now())

    async def _next_release(self) -> datetime | None:
        async with self._database.read() as connection:
            return await delays.next_due(connection, self._database.clock.now())

    async def _next_deadline(self) -> datetime | None:
        async with self._database.read() as connection:
            deadline = await claims.next_deadline(connection)
        return None if deadline is None else deadline + self._limits.deadline_delay

    async def _next_expiry(self) -> datetime | None:
        async with self._database.read() as connection:
            expires = await expiry.next_expiry(connection)
        return None if expires is None else _later(expires, self._limits.expiry_grace)

    async def _next_blob(self) -> datetime | None:
        async with self._database.read() as connection:
            return await blob_deletions.next_due(connection)


def _later(moment: datetime, delay: timedelta) -> datetime:
    try:
        return moment + delay
    except OverflowError:
        return moment
