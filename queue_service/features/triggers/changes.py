"""Writing what became of triggers: their rows, their watermarks and what is told, in one transaction."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from pydantic_core import from_json, to_json

from queue_service.features.kv import operations
from queue_service.features.kv import store as kv_store
from queue_service.features.kv.rules import Place, Put, visible
from queue_service.features.triggers import store
from queue_service.features.triggers.rules import Trigger
from queue_service.store import outbox
from queue_service.store.database import Tx
from queue_service.store.outbox import Outgoing
from queue_service.store.signals import TopicStirred
from queue_service.store.statements import Connection
from schemas.times import format_time, parse_time
from schemas.triggers import TriggerBlockedMessage, TriggerExhaustedMessage, TriggerMessage

TOPIC: Final = "triggers"
"""Of the signal that triggers have changed."""
NAMESPACE: Final = "taskbus:triggers"
"""Where the KV service keeps watermarks (TR-5)."""


async def watermark(connection: Connection, trigger: Trigger, now: datetime) -> datetime | None:
    """The watermark that is kept under the trigger's name for it; None when there is none."""
    window = trigger.definition.window
    if window is None or window.start is None:
        return None
    place = Place(NAMESPACE, trigger.watermark_name)
    entry = visible((await kv_store.find(connection, [place])).get(place), now)
    if entry is None:
        return None
    try:
        return parse_time(from_json(entry.text))
    except ValueError:
        return None


async def write(tx: Tx, changes: Sequence[tuple[Trigger, Trigger]]) -> None:
    """Save triggers, each as it was locked and as it is now."""
    changed = [(before, after) for before, after in changes if before != after]
    await store.save(tx, changed)
    marks = [_mark(after) for before, after in changed if _moved(before, after)]
    if marks:
        await operations.write(tx, marks)
    await outbox.record(tx, [told for before, after in changed for told in _told(before, after)])
    if any(_stirs(before, after, tx) for before, after in changed):
        tx.announce(TopicStirred(TOPIC))


def message(kind: type[TriggerMessage], trigger: Trigger, reason: str) -> Outgoing:
    """A message about a trigger, to be recorded."""
    body = kind.trusted(group=trigger.group_id, trigger_id=trigger.trigger_id, reason=reason)
    return Outgoing(body, (), (f"trigger {trigger.group_id}/{trigger.trigger_id}",))


def _moved(before: Trigger, after: Trigger) -> bool:
    return after.coverage is not None and (
        before.coverage is None or before.coverage.mark != after.coverage.mark
    )


def _mark(trigger: Trigger) -> Put:
    assert trigger.coverage is not None
    text = to_json(format_time(trigger.coverage.mark)).decode()
    return Put(Place(NAMESPACE, trigger.watermark_name), text, "json")


def _told(before: Trigger, after: Trigger) -> list[Outgoing]:
    if before.state == after.state:
        return []
    if after.state == "blocked":
        return [message(TriggerBlockedMessage, after, after.blocked_because or "")]
    if after.state == "exhausted":
        return [message(TriggerExhaustedMessage, after, f"It has fired {after.counted} times.")]
    return []


def _stirs(before: Trigger, after: Trigger, tx: Tx) -> bool:
    """Whether others must look: at queues, or at something that falls due earlier than it did."""
    if before.state != after.state or before.definition != after.definition:
        return True
    return after.due is not None and after.due <= tx.now and (before.due is None or before.due > tx.now)
