"""Worksets that triggers drain: each batch becomes a task, and lives as long as it (WK-11).

The lease of a batch has the id of its task. It is extended while the task is not resolved; a task that has
completed acks it, any other end gives the members back with the reason.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from pydantic_core import from_json

from queue_service.features.kv.workset_operations import LeaseCall, Pop, Popped, pop, settle_leases, topic_of
from queue_service.features.kv.workset_rules import Ack, Extend, LeaseVerb, Nack, SetKey
from queue_service.features.triggers import changes, store
from queue_service.features.triggers.fires import Fire
from queue_service.features.triggers.firing import Cause, Plan, Rendered, TriggerFiring, told
from queue_service.features.triggers.rules import Firing, NewId, Trigger
from queue_service.features.triggers.ticks import due_ticks
from queue_service.features.triggers.transient import with_retries
from queue_service.store import attempts, tasks
from queue_service.store.database import Database, Tx
from queue_service.store.signals import Signal, TopicStirred
from queue_service.store.statements import Connection
from schemas.times import format_time
from schemas.triggers import PopBatch

MAX_OPEN: Final = 100
"""Tasks of one trigger that are not resolved; further batches wait for their ends."""
IN_A_ROW: Final = 20
"""Batches of one trigger before others have their turn."""
LOOK_AGAIN: Final = timedelta(seconds=60)
"""When an empty set is looked at without a signal, which may have been lost."""
REFUSED_DELAY: Final = timedelta(seconds=30)
"""When the members come again of a batch whose task could not be created."""
MAX_ERROR: Final = 4000


class Batches:
    """Pops for triggers, and keeps the leases of their tasks. ``nudge`` is called when a set has stirred."""

    def __init__(
        self, database: Database, firing: TriggerFiring, new_id: NewId, nudge: Callable[[], None]
    ) -> None:
        self._database = database
        self._firing = firing
        self._new_id = new_id
        self._nudge = nudge
        self._topics: set[str] | None = None
        """Of the sets that triggers drain; None before anybody looked."""
        self._stirred: set[str] = set()
        database.subscribe(self._on_signal)

    async def stirred(self) -> list[Trigger]:
        """The triggers whose sets may have new members."""
        if not self._stirred and self._topics is not None:
            return []
        stirred, self._stirred = self._stirred, set()
        async with self._database.read() as connection:
            found = await store.popping(connection)
        self._topics = set(map(_topic, found))
        return [trigger for trigger in found if trigger.schedule is None and _topic(trigger) in stirred]

    async def work(self, trigger: Trigger, *, stirred: bool = False) -> None:
        """Do what is due: extend leases, and make batches into tasks. Raises StoreUnavailable."""
        if self._topics is not None:
            self._topics.add(_topic(trigger))
        for _ in range(IN_A_ROW):
            if not await self._work_once(trigger, stirred) or trigger.schedule is not None:
                return
            stirred = True

    async def _work_once(self, trigger: Trigger, stirred: bool) -> bool:
        """Whether there was a batch."""
        task_id, retry = self._new_id(), trigger.definition.retry
        look = partial(_look, trigger=trigger, task_id=task_id, stirred=stirred)
        popped = await with_retries(partial(self._database.write, look), retry)
        if popped is None or popped.lease is None:
            return False
        cause = Cause(f"batch {task_id}", facts={"batch": _shown(popped)}, lease_id=task_id)
        rendered = await self._firing.render(trigger, Firing(task_id, "workset"), cause)
        create = partial(self._create, trigger=trigger, rendered=rendered)
        told(trigger, await with_retries(partial(self._database.write, create), retry))
        return True

    async def _create(self, tx: Tx, trigger: Trigger, rendered: Rendered) -> list[Fire]:
        """Create the task of a batch; without one its members are done with, or go back with the reason."""
        current = (await store.lock(tx, [trigger.key])).get(trigger.key)
        wanted = None if current is None else current.definition.pop_batch
        if current is None or wanted is None:
            return []  # and the lease runs out
        task_id = rendered.firing.task_id
        after = replace(
            current,
            unfinished=(*current.unfinished, task_id),
            waiting=current.waiting or tx.now + _ttl(wanted) / 3,
        )
        (recorded,) = await self._firing.carry_out(tx, [Plan(current, after, (rendered,))])
        if not recorded:
            await settle_leases(tx, [LeaseCall(wanted.namespace, task_id, Ack())])
        elif recorded[0].error is not None:
            nack = Nack(delay=REFUSED_DELAY, error=recorded[0].error[:MAX_ERROR])
            await settle_leases(tx, [LeaseCall(wanted.namespace, task_id, nack)])
        return recorded

    def _on_signal(self, signal: Signal) -> None:
        if isinstance(signal, TopicStirred) and self._topics and signal.topic in self._topics:
            self._stirred.add(signal.topic)
            self._nudge()


async def ended(tx: Tx, trigger: Trigger, task_id: str, state: str) -> Trigger:
    """The task of a batch has ended: its members are done with, or go back."""
    wanted = trigger.definition.pop_batch
    if wanted is None:
        return trigger
    verbs = await _verbs(tx.connection, wanted, task_id, state)
    await settle_leases(tx, [LeaseCall(wanted.namespace, task_id, verb) for verb in verbs])
    return trigger if trigger.schedule is not None else replace(trigger, next_tick=tx.now)


async def _look(tx: Tx, trigger: Trigger, task_id: str, stirred: bool) -> Popped | None:
    """Extend leases and pop a batch, if the trigger is due; what was popped."""
    before = (await store.lock(tx, [trigger.key])).get(trigger.key)
    wanted = None if before is None else before.definition.pop_batch
    if before is None or wanted is None or before.due is None or (before.due > tx.now and not stirred):
        return None
    after = await _extended(tx, before, wanted)
    popped = None
    ticks, following = _ticks(before, tx.now)
    if before.state == "active" and len(after.unfinished) < MAX_OPEN and ticks:
        key = SetKey(wanted.namespace, wanted.set)
        request = Pop(key, wanted.limit, _ttl(wanted), wanted.ack_mode, _consumer(before), task_id)
        (popped,) = await pop(tx, [request])
    next_look = _next_look(tx.now, popped) if before.schedule is None else following
    await changes.write(tx, [(before, replace(after, next_tick=next_look))])
    return popped


def _ticks(trigger: Trigger, now: datetime) -> tuple[bool, datetime | None]:
    """Whether a batch is due, and the next tick; without a schedule one is always due."""
    if trigger.schedule is None:
        return True, None
    ticks, following = due_ticks(trigger.schedule, trigger.next_tick, now, trigger.definition.misfire)
    return bool(ticks), following


async def _extended(tx: Tx, trigger: Trigger, wanted: PopBatch) -> Trigger:
    """With its leases extended when a third of their time has passed; those of ended tasks are left alone."""
    if trigger.waiting is None or trigger.waiting > tx.now:
        return trigger
    known = await tasks.get(tx.connection, trigger.unfinished)
    unfinished = tuple(
        task_id for task_id in trigger.unfinished if task_id in known and not known[task_id].resolved
    )
    extend = Extend(_ttl(wanted))
    await settle_leases(tx, [LeaseCall(wanted.namespace, task_id, extend) for task_id in unfinished])
    waiting = tx.now + _ttl(wanted) / 3 if unfinished else None
    return replace(trigger, unfinished=unfinished, waiting=waiting)


async def _verbs(connection: Connection, wanted: PopBatch, task_id: str, state: str) -> Sequence[LeaseVerb]:
    """What the end of a task says about its lease."""
    if state != "completed":
        errors = await attempts.errors_of(connection, task_id)
        error = errors[-1].error if errors else f"The task {task_id} ended as {state}."
        return [Nack(error=error[:MAX_ERROR].replace("\0", ""))]
    if wanted.ack_mode == "ack-batch":
        return [Ack()]
    output = await attempts.output_of(connection, task_id)
    listed = output.get("ack") if isinstance(output, dict) else None
    done = [one for one in listed if isinstance(one, str)] if isinstance(listed, list) else []
    rest = Nack(error=f"The task {task_id} did not list it in `ack` of its output.")
    return [Ack(done), rest] if done else [rest]


def _shown(popped: Popped) -> dict[str, Any]:
    """A batch as its task is told of it."""
    assert popped.lease is not None
    members = [
        {
            "id": member.member_id,
            "payload": None if member.payload is None else from_json(member.payload),
            "deliveries": member.deliveries,
            "token": member.token,
        }
        for member in popped.members
    ]
    lease = popped.lease
    return {
        "leaseId": lease.lease_id,
        "expires": format_time(lease.expires),
        "ackMode": lease.ack_mode,
        "members": members,
    }


def _next_look(now: datetime, popped: Popped | None) -> datetime:
    """When a set is looked at again: at once after a batch, else when a member is free."""
    if popped is not None and popped.lease is not None:
        return now
    later = now + LOOK_AGAIN
    if popped is None or popped.next_free is None:
        return later
    return min(max(popped.next_free, now + timedelta(milliseconds=10)), later)


def _consumer(trigger: Trigger) -> str:
    return f"trigger {trigger.group_id}/{trigger.trigger_id}"[:200]


def _topic(trigger: Trigger) -> str:
    wanted = trigger.definition.pop_batch
    return "" if wanted is None else topic_of(SetKey(wanted.namespace, wanted.set))


def _ttl(wanted: PopBatch) -> timedelta:
    return timedelta(milliseconds=wanted.lease_ttl_ms)
