"""Values in the database: read, versioned, written and swept, many at a time."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import (
    BigInteger,
    Integer,
    Text,
    bindparam,
    delete,
    func,
    or_,
    select,
    text,
    true,
    tuple_,
)
from sqlalchemy.dialects.postgresql import insert as upsert

from queue_service.features.kv.rules import Entry, Place, end_of
from queue_service.features.kv.tables import EXPIRING, kv_entries, kv_namespaces
from queue_service.store.database import Tx
from queue_service.store.rows import Rows
from queue_service.store.statements import Connection, Row
from queue_service.store.types import Milliseconds
from schemas.kv import ValueFormat
from schemas.times import to_ms

_now = bindparam("now", type_=Milliseconds)
_limit = bindparam("wanted", type_=Integer)
_namespace = bindparam("namespace", type_=Text)
_living = or_(kv_entries.c.expires.is_(None), kv_entries.c.expires > _now)

_wanted_versions = Rows("given", namespace=Text, version=BigInteger)
_versions = upsert(kv_namespaces).from_select(
    ["namespace", "version"],
    select(*_wanted_versions.c).where(true()).order_by(_wanted_versions.c.namespace),
)
TAKE_VERSIONS: Final = _versions.on_conflict_do_update(
    index_elements=["namespace"],
    set_={"version": kv_namespaces.c.version + _versions.excluded.version},
).returning(kv_namespaces.c.namespace, kv_namespaces.c.version)
_places = Rows("places", namespace=Text, key=Text)
_found = (kv_entries.c.namespace == _places.c.namespace) & (kv_entries.c.key == _places.c.key)
FIND: Final = select(kv_entries).select_from(_places.join(kv_entries, _found))
_entries = Rows(
    "given",
    namespace=Text,
    key=Text,
    value=Text,
    format=Text,
    size=Integer,
    version=BigInteger,
    updated=BigInteger,
    expires=BigInteger,
)
_write = upsert(kv_entries).from_select(
    [column.name for column in _entries.c],
    select(*_entries.c).where(true()).order_by(_entries.c.namespace, _entries.c.key),
)
WRITE: Final = _write.on_conflict_do_update(
    index_elements=["namespace", "key"],
    set_={
        name: _write.excluded[name] for name in ("value", "format", "size", "version", "updated", "expires")
    },
)
DELETE: Final = delete(kv_entries).where(
    tuple_(kv_entries.c.namespace, kv_entries.c.key).in_(select(_places.c.namespace, _places.c.key))
)
LIST: Final = (
    select(
        kv_entries.c.key,
        kv_entries.c.format,
        kv_entries.c.size,
        kv_entries.c.version,
        kv_entries.c.updated,
        kv_entries.c.expires,
    )
    .where(
        kv_entries.c.namespace == _namespace,
        kv_entries.c.key > bindparam("after", type_=Text),
        kv_entries.c.key >= bindparam("first", type_=Text),
        kv_entries.c.key < bindparam("end", type_=Text),
        _living,
    )
    .order_by(kv_entries.c.key)
    .limit(_limit)
)
EXPIRED: Final = (
    select(kv_entries)
    .where(text(EXPIRING), kv_entries.c.expires <= _now)
    .order_by(kv_entries.c.expires)
    .limit(_limit)
    .with_for_update(skip_locked=True)
)
NEXT_EXPIRY: Final = select(func.min(kv_entries.c.expires)).where(text(EXPIRING))


@dataclass(frozen=True, slots=True)
class Listed:
    """A key in a list: everything but its value."""

    key: str
    value_format: ValueFormat
    size: int
    version: int
    updated: datetime
    expires: datetime | None


async def take_versions(tx: Tx, wanted: Mapping[str, int]) -> dict[str, int]:
    """Take so many versions of each namespace; the last of them. Other writers of these namespaces wait."""
    rows = [{"namespace": namespace, "version": count} for namespace, count in sorted(wanted.items())]
    found = await tx.connection.execute(TAKE_VERSIONS, _wanted_versions.parameters(rows))
    return {row.namespace: row.version for row in found}


async def find(connection: Connection, places: Iterable[Place]) -> dict[Place, Entry]:
    """What is stored at these places, expired or not."""
    rows = await connection.execute(FIND, _places.parameters(map(_place, places)))
    return {entry.place: entry for entry in map(_entry, rows)}


async def write(tx: Tx, entries: Sequence[Entry]) -> None:
    """Store these, one for each place."""
    rows = [
        {
            **_place(entry.place),
            "value": entry.text,
            "format": entry.value_format,
            "size": len(entry.text.encode()),
            "version": entry.version,
            "updated": to_ms(entry.updated),
            "expires": None if entry.expires is None else to_ms(entry.expires),
        }
        for entry in entries
    ]
    if rows:
        await tx.connection.execute(WRITE, _entries.parameters(rows))


async def remove(tx: Tx, places: Sequence[Place]) -> None:
    """Forget what is at these places."""
    if places:
        await tx.connection.execute(DELETE, _places.parameters(map(_place, places)))


async def page(
    connection: Connection, namespace: str, prefix: str, after: str, wanted: int, now: datetime
) -> list[Listed]:
    """The living keys that begin with ``prefix`` and come after ``after``, in the order of their bytes."""
    rows = await connection.execute(
        LIST,
        {
            "namespace": namespace,
            "after": after,
            "first": prefix,
            "end": end_of(prefix),
            "wanted": wanted,
            "now": now,
        },
    )
    return [Listed(row.key, row.format, row.size, row.version, row.updated, row.expires) for row in rows]


async def expired(tx: Tx, limit: int) -> list[Entry]:
    """What has expired, locked."""
    rows = await tx.connection.execute(EXPIRED, {"now": tx.now, "wanted": limit})
    return list(map(_entry, rows))


async def next_expiry(connection: Connection) -> datetime | None:
    """When the next value expires."""
    due: datetime | None = (await connection.execute(NEXT_EXPIRY)).scalar()
    return due


def _place(place: Place) -> dict[str, str]:
    return {"namespace": place.namespace, "key": place.key}


def _entry(row: Row) -> Entry:
    return Entry(Place(row.namespace, row.key), row.value, row.format, row.version, row.updated, row.expires)
