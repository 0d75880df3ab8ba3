"""What a firing reads from the KV service for its task (``seed-systems.md`` KV-6, D.1)."""

from typing import Any, Final

from queue_service.features.kv import rules, store
from queue_service.features.kv.rules import Entry, Place, visible
from queue_service.store.database import Database
from schemas.triggers import KvInput

MAX_BYTES: Final = 256 * 1024
"""Of all values together; a larger first one comes alone."""

JsonObject = dict[str, Any]


async def read(database: Database, wanted: KvInput) -> JsonObject | None:
    """What there is, as ``trigger.input``; None for nothing. Raises DecodeError, StoreUnavailable."""
    if wanted.get is not None:
        found = await _entries(database, wanted, [wanted.get.key])
        return found[0] if found else None
    assert wanted.iterate is not None
    size = wanted.iterate.page_size
    now = database.clock.now()
    async with database.read() as connection:
        listed = await store.page(connection, wanted.namespace, wanted.iterate.prefix, "", size + 1, now)
    kept: list[str] = []
    room = MAX_BYTES
    for entry in listed[:size]:
        room -= entry.size
        if room < 0 and kept:
            break
        kept.append(entry.key)
    entries = await _entries(database, wanted, kept)
    return {"entries": entries, "more": len(kept) < len(listed)} if entries else None


async def _entries(database: Database, wanted: KvInput, keys: list[str]) -> list[JsonObject]:
    places = [Place(wanted.namespace, key) for key in keys]
    async with database.read() as connection:
        found = await store.find(connection, places)
    living = [entry for place in places if (entry := visible(found.get(place), database.clock.now()))]
    return [_shown(entry, wanted) for entry in living]


def _shown(entry: Entry, wanted: KvInput) -> JsonObject:
    value = rules.read_as(entry, wanted.value_format)
    return {"key": entry.place.key, "value": value, "version": entry.version}
