"""Firing a trigger because somebody wants it (TR-10)."""

from functools import partial
from typing import Any

from queue_service.features.triggers import rules, store
from queue_service.features.triggers.fires import Fire
from queue_service.features.triggers.firing import Cause, Plan, Rendered, TriggerFiring, told
from queue_service.features.triggers.rules import Key, NewId, Step, Trigger, trigger_not_found
from queue_service.features.triggers.transient import with_retries
from queue_service.store.database import ATTEMPTS, Database, StoreUnavailable, Tx


async def fire_by_hand(
    database: Database, firing: TriggerFiring, key: Key, payload: dict[str, Any], new_id: NewId
) -> Fire | None:
    """Fire once; the record of it, None when the template renders to nothing.

    Raises ResourceNotFound, RequestConflict when no range is due, and StoreUnavailable.
    """
    now, task_id = database.clock.now(), new_id()

    def step_of(trigger: Trigger) -> Step:
        return rules.by_hand(trigger, now, lambda: task_id)

    async def carry_out(tx: Tx, trigger: Trigger, rendered: Rendered) -> list[Fire] | None:
        """The records; None when the trigger has changed, or another firing covers the range that was due."""
        current = (await store.lock(tx, [key])).get(key)
        if current is None or current.definition != trigger.definition:
            return None
        step = step_of(current)
        if step.firings != (rendered.firing,):
            return None
        (recorded,) = await firing.carry_out(tx, [Plan(current, step.trigger, (rendered,))])
        return recorded

    for _ in range(ATTEMPTS):
        async with database.read() as connection:
            trigger = await store.get(connection, key)
        if trigger is None:
            raise trigger_not_found(key)
        (wanted,) = step_of(trigger).firings
        rendered = await firing.render(trigger, wanted, Cause(payload=payload))
        attempt = partial(carry_out, trigger=trigger, rendered=rendered)
        recorded = await with_retries(partial(database.write, attempt), trigger.definition.retry)
        if recorded is not None:
            told(trigger, recorded)
            return recorded[0] if recorded else None
    raise StoreUnavailable("the trigger changes all the time")
