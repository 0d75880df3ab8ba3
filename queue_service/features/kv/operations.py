"""Writing values: many puts and deletes in one transaction, each with a version, each told."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from queue_service.core.errors import QueueError
from queue_service.features.kv import rules, store
from queue_service.features.kv.rules import Delete, Entry, Place, Put, visible
from queue_service.store import outbox
from queue_service.store.database import Tx
from queue_service.store.outbox import Outgoing
from schemas.kv import KvChangedMessage

WriteCall = Put | Delete


class Written:
    """What a call did: the entry that is there now, and the one that was."""

    __slots__ = ("after", "before")

    def __init__(self, before: Entry | None, after: Entry | None) -> None:
        self.before = before
        self.after = after


async def write(tx: Tx, calls: Sequence[WriteCall]) -> list[Written | QueueError]:
    """Apply calls in their order; each gets its own outcome (KV-5, KV-7, KV-8, KV-12)."""
    versions = await _versions(tx, calls)
    found = await store.find(tx.connection, {call.place for call in calls})
    current: dict[Place, Entry | None] = {place: visible(entry, tx.now) for place, entry in found.items()}
    outcomes: list[Written | QueueError] = []
    changed: dict[Place, None] = {}
    told: list[Outgoing] = []
    for call, version in zip(calls, versions, strict=True):
        before = current.get(call.place)
        try:
            after = _applied(call, before, version, tx)
        except QueueError as error:
            outcomes.append(error)
            continue
        outcomes.append(Written(before, after))
        if before is not None or after is not None:
            current[call.place] = after
            changed[call.place] = None
            told.append(_changed(call.place, after, version, "put" if after else "delete"))
    after_all = {place: current[place] for place in changed}
    await store.write(tx, [entry for entry in after_all.values() if entry is not None])
    await store.remove(tx, [place for place, entry in after_all.items() if entry is None])
    await outbox.record(tx, told)
    return outcomes


async def delete_expired(tx: Tx, limit: int) -> int:
    """Forget values that have expired, and tell it; how many there were (KV-10)."""
    gone = await store.expired(tx, limit)
    await store.remove(tx, [entry.place for entry in gone])
    await outbox.record(tx, [_changed(entry.place, None, entry.version, "expire") for entry in gone])
    return len(gone)


async def _versions(tx: Tx, calls: Sequence[WriteCall]) -> list[int]:
    """A version for each call, growing in their order within each namespace."""
    counts = Counter(call.place.namespace for call in calls)
    last = await store.take_versions(tx, counts)
    following = {namespace: last[namespace] - count for namespace, count in counts.items()}
    versions = []
    for call in calls:
        following[call.place.namespace] += 1
        versions.append(following[call.place.namespace])
    return versions


def _applied(call: WriteCall, present: Entry | None, version: int, tx: Tx) -> Entry | None:
    if isinstance(call, Put):
        return rules.put(call, present, version, tx.now)
    if present is not None:
        rules.check_version(call.place, call.if_version, present)
    return None


_ORDER: Final = "kv/"


def _changed(place: Place, entry: Entry | None, version: int, op: str) -> Outgoing:
    tenant, _, namespace = place.namespace.partition(":")
    message = KvChangedMessage.trusted(
        tenant=tenant,
        namespace=namespace,
        key=place.key,
        op=op,
        entry_version=version,
        value_format=None if entry is None else entry.value_format,
        expires=None if entry is None else entry.expires,
    )
    return Outgoing(message, (), (f"{_ORDER}{place.namespace}/{place.key}",))
