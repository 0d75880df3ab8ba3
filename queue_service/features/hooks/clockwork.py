"""The clock that fires hooks: each date of a schedule once, whichever process comes first (section 6)."""

from datetime import datetime

from queue_service.features.firing.scheduler import BATCH, scheduler
from queue_service.features.hooks import store
from queue_service.features.hooks.definitions import TOPIC, NewId
from queue_service.features.hooks.firing import Firing, Occasion, Prepared, told
from queue_service.features.hooks.hook import Hook
from queue_service.store.database import Database, Tx


class Clockwork:
    """Fires what is due. Its loop sleeps until the next date."""

    def __init__(self, database: Database, firing: Firing, new_id: NewId) -> None:
        self._database = database
        self._firing = firing
        self._new_id = new_id
        self.loop = scheduler("hooks", TOPIC, database, self.run_once, self._next_date)

    async def run_once(self) -> int:
        """Fire the hooks that are due; how many there were. Raises StoreUnavailable, having done nothing."""
        async with self._database.read() as connection:
            due = await store.due(connection, self._database.clock.now(), BATCH)
        prepared = [(hook, await self._firing.prepare(hook, _occasion(hook))) for hook in due]
        for hook, fired in await self._database.write(lambda tx: self._carry_out(tx, prepared)):
            told(hook, fired)
        return len(due)

    async def _carry_out(self, tx: Tx, prepared: list[tuple[Hook, Prepared]]) -> list[tuple[Hook, Prepared]]:
        if not prepared:
            return []
        current = await store.lock(tx, [hook.key for hook, _ in prepared])
        # Another process may have fired it meanwhile, and who changes a hook gives it another task id, too.
        still = [
            (hook, what)
            for hook, what in prepared
            if hook.key in current and current[hook.key].next_task_id == hook.next_task_id
        ]
        fired = await self._firing.carry_out(tx, still)
        await store.save(tx, [current[hook.key].scheduled(tx.now, self._new_id()) for hook, _ in still])
        return [(hook, what) for (hook, _), what in zip(still, fired, strict=True)]

    async def _next_date(self) -> datetime | None:
        async with self._database.read() as connection:
            return await store.next_date(connection)


def _occasion(hook: Hook) -> Occasion:
    assert hook.next_date is not None
    return Occasion("schedule", hook.next_task_id, hook.next_date)
