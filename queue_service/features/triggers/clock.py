"""The clock that fires triggers: each tick once, whichever process comes first (R-4, TR-13)."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from queue_service.features.firing.scheduler import scheduler
from queue_service.features.firing.task_maker import is_plain
from queue_service.features.triggers import rules, store
from queue_service.features.triggers.batches import Batches
from queue_service.features.triggers.changes import TOPIC
from queue_service.features.triggers.fires import Fire
from queue_service.features.triggers.firing import Plan, TriggerFiring, told
from queue_service.features.triggers.rules import NewId, Trigger
from queue_service.features.triggers.ticks import TOGETHER
from queue_service.store.database import Database, Tx

BATCH: Final = 250
"""Triggers of one transaction, and their firings: it holds up everything else in this process so long."""
PATIENCE: Final = timedelta(milliseconds=50)
"""Before a look at triggers that were due and locked by others, who may be killed."""

Fired = list[tuple[Trigger, list[Fire]]]


class Clock:
    """Fires what is due, and drains worksets. Its loop sleeps until the next tick."""

    def __init__(self, database: Database, firing: TriggerFiring, new_id: NewId) -> None:
        self._database = database
        self._firing = firing
        self._new_id = new_id
        self.loop = scheduler("triggers", TOPIC, database, self.run_once, self._next_due, batch=BATCH)
        self._batches = Batches(database, firing, new_id, self.loop.nudge)
        self._found = 0
        """How many triggers the last pass had."""

    async def run_once(self) -> int:
        """Fire the triggers that are due; how many there were. Raises StoreUnavailable, having done nothing.

        A plain template is fired in the transaction that finds its trigger due. What must be computed is
        computed outside, and fired if nobody was faster.
        """
        for trigger in await self._batches.stirred():
            await self._batches.work(trigger, stirred=True)
        count, fired, others = await self._database.write(self._fire_due)
        self._found = count
        computed = [trigger for trigger in others if trigger.definition.pop_batch is None]
        if computed:
            plans = [await self._planned(trigger) for trigger in computed]
            fired += await self._database.write(lambda tx: self._fire_computed(tx, plans))
        for trigger, recorded in fired:
            told(trigger, recorded)
        for trigger in others:
            if trigger.definition.pop_batch is not None:
                await self._batches.work(trigger)
        return count

    async def _fire_due(self, tx: Tx) -> tuple[int, Fired, list[Trigger]]:
        due = await store.pick_due(tx, tx.now + TOGETHER, BATCH)
        plans: list[Plan] = []
        others: list[Trigger] = []
        firings = 0
        for trigger in due:
            if not _is_simple(trigger):
                others.append(trigger)
            elif firings < BATCH:
                plans.append(await self._planned(trigger))
                firings += len(plans[-1].rendered)
        return len(due), await self._carry_out(tx, plans), others

    async def _fire_computed(self, tx: Tx, plans: Sequence[Plan]) -> Fired:
        current = await store.lock(tx, [plan.before.key for plan in plans])
        still = [plan for plan in plans if current.get(plan.before.key) == plan.before]
        return await self._carry_out(tx, still)

    async def _planned(self, trigger: Trigger) -> Plan:
        step = rules.tick(trigger, self._database.clock.now(), self._new_id)
        rendered = [await self._firing.render(trigger, firing) for firing in step.firings]
        return Plan(trigger, step.trigger, tuple(rendered))

    async def _carry_out(self, tx: Tx, plans: Sequence[Plan]) -> Fired:
        if not plans:
            return []
        recorded = await self._firing.carry_out(tx, plans)
        return [(plan.before, fires) for plan, fires in zip(plans, recorded, strict=True)]

    async def _next_due(self) -> datetime | None:
        async with self._database.read() as connection:
            due = await store.next_due(connection)
        if due is None or self._found:
            return due
        return max(due, self._database.clock.now() + PATIENCE)  # what was due already, others work on


def _is_simple(trigger: Trigger) -> bool:
    """Whether its task is known without computing or reading anything."""
    definition = trigger.definition
    return definition.pop_batch is None and definition.input is None and is_plain(definition.task)
