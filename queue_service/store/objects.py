"""Rows of the object service."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from pydantic_core import from_json, to_json
from sqlalchemy import BigInteger, Integer, Select, SmallInteger, Text, bindparam, select, true
from sqlalchemy import delete as deletion
from sqlalchemy.dialects.postgresql import insert as upsert

from queue_service.core.objects import Object
from queue_service.store.database import Concurrent, Tx
from queue_service.store.rows import Rows
from queue_service.store.statements import Connection, Row
from queue_service.store.tables import objects
from queue_service.store.types import Milliseconds
from schemas.times import to_ms

_names = Rows("names", name=Text)

SELECT_OBJECTS: Final = (
    select(objects)
    .select_from(_names.join(objects, objects.c.name == _names.c.name))
    .order_by(objects.c.name)
)
LOCK_OBJECTS: Final = SELECT_OBJECTS.with_for_update(of=objects)

_COLUMN_TYPES: Final[dict[str, Any]] = {
    "name": Text,
    "project_id": Text,
    "upload_id": Text,
    "expires": BigInteger,
    "key": Text,
    "upload_until": BigInteger,
    "kept_until": BigInteger,
    "hashes": Text,
    "finished": SmallInteger,
}
_given = Rows("given", **_COLUMN_TYPES)
_insert = upsert(objects).from_select(
    list(_COLUMN_TYPES),
    select(*(_given.c[name] for name in _COLUMN_TYPES)).where(true()).order_by(_given.c.name),
)
SAVE_OBJECTS: Final = _insert.on_conflict_do_update(
    index_elements=["name"],
    set_={name: _insert.excluded[name] for name in ("upload_until", "kept_until", "hashes", "finished")},
    where=(objects.c.key == _insert.excluded.key) & (objects.c.finished == 0),
).returning(objects.c.name)
EXPIRED_OBJECTS: Final = (
    select(objects)
    .where(objects.c.kept_until < bindparam("before", type_=Milliseconds))
    .order_by(objects.c.kept_until)
    .limit(bindparam("wanted", type_=Integer))
    .with_for_update(skip_locked=True)
)
DELETE_OBJECTS: Final = deletion(objects).where(objects.c.name.in_(select(_names.c.name)))


async def get(connection: Connection, names: Sequence[str]) -> dict[str, Object]:
    """The objects that exist, by name; without a lock."""
    return await _objects(connection, SELECT_OBJECTS, names)


async def lock(tx: Tx, names: Sequence[str]) -> dict[str, Object]:
    """The objects that exist, by name, locked until the end of the transaction (in name order)."""
    return await _objects(tx.connection, LOCK_OBJECTS, names)


async def save(tx: Tx, changed: Sequence[Object]) -> None:
    """Insert new objects, and write stored ones that were not finished yet.

    Raises Concurrent when somebody else created or finished one of them meanwhile.
    """
    if not changed:
        return
    rows = [
        {
            "name": item.name,
            "project_id": item.project_id,
            "upload_id": item.upload_id,
            "expires": to_ms(item.expires),
            "key": item.key,
            "upload_until": to_ms(item.upload_until),
            "kept_until": to_ms(item.kept_until),
            "hashes": to_json(item.hashes).decode(),
            "finished": int(item.finished),
        }
        for item in changed
    ]
    saved = await tx.connection.execute(SAVE_OBJECTS, _given.parameters(rows))
    if len(saved.all()) != len(rows):
        raise Concurrent("an object changed between reading and writing it")


async def expired(tx: Tx, before: datetime, limit: int) -> list[Object]:
    """Objects that are kept no longer than until before this time, locked; those in use are left out."""
    rows = await tx.connection.execute(EXPIRED_OBJECTS, {"before": before, "wanted": limit})
    return [_object(row) for row in rows]


async def delete(tx: Tx, names: Sequence[str]) -> None:
    """Forget objects."""
    if names:
        await tx.connection.execute(DELETE_OBJECTS, _names.of(names))


async def _objects(connection: Connection, statement: Select[Any], names: Iterable[str]) -> dict[str, Object]:
    wanted = list(dict.fromkeys(names))
    if not wanted:
        return {}
    return {row.name: _object(row) for row in await connection.execute(statement, _names.of(wanted))}


def _object(row: Row) -> Object:
    return Object(
        name=row.name,
        project_id=row.project_id,
        upload_id=row.upload_id,
        expires=row.expires,
        key=row.key,
        upload_until=row.upload_until,
        kept_until=row.kept_until,
        hashes=from_json(row.hashes),
        finished=bool(row.finished),
    )
