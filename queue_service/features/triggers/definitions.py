"""What owners do to triggers, and what the ends of tasks do to them, each in a transaction."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from queue_service.features.triggers import batches, changes, fires, rules, store
from queue_service.features.triggers.rules import Key, Trigger, trigger_not_found
from queue_service.store.database import Tx
from queue_service.store.dependencies import Resolution
from queue_service.store.signals import TopicStirred
from schemas.triggers import CreateTriggerRequest

Draw = Callable[[], float]
"""Draws a number from [0, 1)."""


async def create(tx: Tx, key: Key, definition: CreateTriggerRequest, draw: Draw) -> Trigger:
    """The new trigger, or the stored one when it says the same. Raises RequestConflict (R-6)."""
    stored = (await store.lock(tx, [key])).get(key)
    if stored is not None:
        rules.refuse_different(stored.definition, definition)
        return stored
    blank = Trigger(*key, definition, tx.now)
    mark = await changes.watermark(tx.connection, blank, tx.now)
    trigger = rules.created(key, definition, tx.now, rules.drawn(definition, draw()), mark)
    await store.create(tx, trigger)
    tx.announce(TopicStirred(changes.TOPIC))
    return trigger


async def update(tx: Tx, key: Key, definition: CreateTriggerRequest, draw: Draw) -> Trigger:
    """Replace the definition. Raises ResourceNotFound."""
    before = await _locked(tx, key)
    mark = await changes.watermark(tx.connection, replace(before, definition=definition), tx.now)
    after = rules.edited(before, definition, tx.now, rules.drawn(definition, draw()), mark)
    await changes.write(tx, [(before, after)])
    tx.announce(TopicStirred(changes.TOPIC))
    return after


async def pause(tx: Tx, key: Key) -> Trigger:
    """Let nothing but calls fire it. Raises ResourceNotFound, RequestConflict."""
    before = await _locked(tx, key)
    after = rules.paused(before)
    await changes.write(tx, [(before, after)])
    return after


async def resume(tx: Tx, key: Key) -> Trigger:
    """Let it fire again. Raises ResourceNotFound, RequestConflict."""
    before = await _locked(tx, key)
    after = rules.resumed(before, tx.now)
    await changes.write(tx, [(before, after)])
    return after


async def remove(tx: Tx, key: Key) -> bool:
    """Delete the trigger with what is known of its firings; whether there was one."""
    removed = await store.remove(tx, key)
    await fires.forget(tx, key)
    tx.announce(TopicStirred(changes.TOPIC))
    return removed


async def follow(tx: Tx, ended: Sequence[Resolution]) -> None:
    """Tell triggers that their tasks have ended: ranges are covered, waiting ticks may fire (TR-1, TR-5)."""
    found = await fires.of_tasks(tx.connection, [entry.task_id for entry in ended])
    if not found:
        return
    locked = await store.lock(tx, {fire.key for fire in found})
    after = dict(locked)
    states = {entry.task_id: entry.state for entry in ended}
    for fire in found:
        if fire.key in after:
            task_id = fire.firing.task_id
            state = states[task_id]
            trigger = rules.task_ended(after[fire.key], task_id, completed=state == "completed")
            after[fire.key] = await batches.ended(tx, trigger, task_id, state) if fire.lease_id else trigger
    await changes.write(tx, [(locked[key], trigger) for key, trigger in after.items()])


async def _locked(tx: Tx, key: Key) -> Trigger:
    trigger = (await store.lock(tx, [key])).get(key)
    if trigger is None:
        raise trigger_not_found(key)
    return trigger
