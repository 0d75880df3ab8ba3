"""Requests to purge caches: the newest of each cache of a worker pool."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import BigInteger, Integer, Text, bindparam, delete, select, true, tuple_
from sqlalchemy.dialects.postgresql import insert as upsert

from queue_service.store.database import Tx
from queue_service.store.rows import Rows
from queue_service.store.statements import Connection, Row
from queue_service.store.tables import purge_requests
from queue_service.store.types import Milliseconds
from schemas.times import to_ms

_now = bindparam("now", type_=Milliseconds)
_limit = bindparam("wanted", type_=Integer)
_given = Rows("given", worker_pool_id=Text, cache_name=Text, before=BigInteger, expires=BigInteger)
_insert = upsert(purge_requests).from_select(
    [column.name for column in _given.c], select(*_given.c).where(true())
)
INSERT: Final = _insert.on_conflict_do_update(
    index_elements=["worker_pool_id", "cache_name"],
    set_={"before": _insert.excluded.before, "expires": _insert.excluded.expires},
)
OF_POOL: Final = (
    select(purge_requests)
    .where(
        purge_requests.c.worker_pool_id == bindparam("worker_pool_id"),
        purge_requests.c.before > bindparam("since", type_=Milliseconds),
        purge_requests.c.expires > _now,
    )
    .order_by(purge_requests.c.cache_name)
)
EVERY: Final = (
    select(purge_requests)
    .where(
        tuple_(purge_requests.c.worker_pool_id, purge_requests.c.cache_name)
        > tuple_(bindparam("after_pool", type_=Text), bindparam("after_cache", type_=Text)),
        purge_requests.c.expires > _now,
    )
    .order_by(purge_requests.c.worker_pool_id, purge_requests.c.cache_name)
    .limit(_limit)
)
_before = bindparam("before", type_=Milliseconds)
EXPIRED: Final = (
    select(purge_requests.c.worker_pool_id, purge_requests.c.cache_name)
    .where(purge_requests.c.expires < _before)
    .order_by(purge_requests.c.expires)
    .limit(_limit)
    .with_for_update(skip_locked=True)
)
_keys = Rows("keys", worker_pool_id=Text, cache_name=Text)
DELETE: Final = delete(purge_requests).where(
    tuple_(purge_requests.c.worker_pool_id, purge_requests.c.cache_name).in_(
        select(_keys.c.worker_pool_id, _keys.c.cache_name)
    )
)


@dataclass(frozen=True, slots=True)
class PurgeEntry:
    """Caches of this name that are from ``before`` or earlier are not to be used by workers of the pool."""

    worker_pool_id: str
    cache_name: str
    before: datetime


async def insert(tx: Tx, worker_pool_id: str, cache_name: str, *, expires: datetime) -> None:
    """Ask for a purge of what is from now or earlier; a request that exists is renewed."""
    row = {
        "worker_pool_id": worker_pool_id,
        "cache_name": cache_name,
        "before": to_ms(tx.now),
        "expires": to_ms(expires),
    }
    await tx.connection.execute(INSERT, _given.parameters([row]))


async def of_pool(
    connection: Connection, worker_pool_id: str, *, since: datetime, now: datetime
) -> list[PurgeEntry]:
    """The open requests of a worker pool that are younger than ``since``."""
    rows = await connection.execute(OF_POOL, {"worker_pool_id": worker_pool_id, "since": since, "now": now})
    return _entries(rows)


async def every(
    connection: Connection, *, after: tuple[str, str], wanted: int, now: datetime
) -> list[PurgeEntry]:
    """The open requests after a pool and cache name, in order."""
    after_pool, after_cache = after
    rows = await connection.execute(
        EVERY, {"after_pool": after_pool, "after_cache": after_cache, "wanted": wanted, "now": now}
    )
    return _entries(rows)


async def delete_expired(tx: Tx, before: datetime, limit: int) -> int:
    """Delete requests that expired before this time; how many there were."""
    found = (await tx.connection.execute(EXPIRED, {"before": before, "wanted": limit})).all()
    if found:
        rows = [{"worker_pool_id": pool, "cache_name": cache} for pool, cache in found]
        await tx.connection.execute(DELETE, _keys.parameters(rows))
    return len(found)


def _entries(rows: Iterable[Row]) -> list[PurgeEntry]:
    return [PurgeEntry(row.worker_pool_id, row.cache_name, row.before) for row in rows]
