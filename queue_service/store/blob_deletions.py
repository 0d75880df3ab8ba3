"""Keys of bytes whose record is gone.

They stay on this list until the bytes are deleted, so that a crash leaks none.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import BigInteger, Integer, Text, bindparam, func, select, true
from sqlalchemy import delete as deletion
from sqlalchemy.dialects.postgresql import insert as upsert

from queue_service.store.database import Tx
from queue_service.store.rows import Rows
from queue_service.store.statements import Connection
from queue_service.store.tables import blob_deletions
from queue_service.store.types import Milliseconds
from schemas.times import to_ms

_given = Rows("given", key=Text, due=BigInteger)
INSERT: Final = (
    upsert(blob_deletions)
    .from_select(["key", "due"], select(_given.c.key, _given.c.due).where(true()).order_by(_given.c.key))
    .on_conflict_do_nothing()
)
DUE: Final = (
    select(blob_deletions.c.key)
    .where(blob_deletions.c.due <= bindparam("now", type_=Milliseconds))
    .order_by(blob_deletions.c.due)
    .limit(bindparam("wanted", type_=Integer))
)
NEXT_DUE: Final = select(func.min(blob_deletions.c.due))
_keys = Rows("keys", key=Text)
DELETE: Final = deletion(blob_deletions).where(blob_deletions.c.key.in_(select(_keys.c.key)))


async def insert(tx: Tx, keys: Iterable[tuple[str, datetime]]) -> None:
    """Put keys on the list, each with the time from which on nothing can be uploaded to it any more."""
    rows = [{"key": key, "due": to_ms(moment)} for key, moment in keys]
    if rows:
        await tx.connection.execute(INSERT, _given.parameters(rows))


async def due(connection: Connection, now: datetime, limit: int) -> list[str]:
    """Keys whose time has come, the oldest first."""
    return list((await connection.execute(DUE, {"now": now, "wanted": limit})).scalars())


async def next_due(connection: Connection) -> datetime | None:
    """When the next key's time comes."""
    moment: datetime | None = (await connection.execute(NEXT_DUE)).scalar()
    return moment


async def delete(tx: Tx, keys: Sequence[str]) -> None:
    """Forget keys: their bytes are gone."""
    if keys:
        await tx.connection.execute(DELETE, _keys.of(keys))
