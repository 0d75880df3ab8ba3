"""What happens to values and members without a caller: values that expire, members that die."""

from datetime import datetime, timedelta
from typing import Final

from queue_service.features.kv import operations, workset_operations, workset_store
from queue_service.loops.loop import Loop
from queue_service.loops.schedule import idle
from queue_service.store.database import Database

VALUES: Final = 500
MEMBERS: Final = 500
EXPIRY_SECONDS: Final = 30.0


class KvLoops:
    """The background work of values and worksets; safe in many processes by row locks."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.expiry = Loop(
            "expiry of values",
            database.clock,
            self._delete_values,
            batch=VALUES,
            idle=timedelta(seconds=EXPIRY_SECONDS),
        )
        self.deaths = Loop(
            "deaths in worksets",
            database.clock,
            self._bury,
            batch=MEMBERS,
            idle=idle(database, 1),
            next_due=self._next_death,
        )
        self.every = (self.expiry, self.deaths)

    async def _delete_values(self) -> int:
        return await self._database.write(lambda tx: operations.delete_expired(tx, VALUES))

    async def _bury(self) -> int:
        return await self._database.write(lambda tx: workset_operations.bury(tx, MEMBERS))

    async def _next_death(self) -> datetime | None:
        async with self._database.read() as connection:
            return await workset_store.next_death(connection)
