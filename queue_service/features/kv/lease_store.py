"""Leases in the database: what consumers hold, and how it ended, until some time after its end."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import BigInteger, Integer, Text, bindparam, delete, insert, select, update

from queue_service.features.kv.tables import workset_leases
from queue_service.features.kv.workset_rules import Lease, SetKey
from queue_service.store.database import Tx
from queue_service.store.rows import Rows
from queue_service.store.types import Milliseconds
from schemas.times import to_ms

_given = Rows(
    "given",
    lease_id=Text,
    namespace=Text,
    set_name=Text,
    ack_mode=Text,
    consumer=Text,
    expires=BigInteger,
    remaining=Integer,
)
INSERT: Final = insert(workset_leases).from_select([column.name for column in _given.c], select(*_given.c))
_ids = Rows("leases", lease_id=Text)
LOCK: Final = (
    select(workset_leases)
    .select_from(_ids.join(workset_leases, workset_leases.c.lease_id == _ids.c.lease_id))
    .order_by(workset_leases.c.lease_id)
    .with_for_update(of=workset_leases)
)
_changed = Rows("changed", lease_id=Text, expires=BigInteger, remaining=Integer, outcome=Text)
SAVE: Final = (
    update(workset_leases)
    .values(expires=_changed.c.expires, remaining=_changed.c.remaining, outcome=_changed.c.outcome)
    .where(workset_leases.c.lease_id == _changed.c.lease_id)
)
EXPIRED: Final = (
    select(workset_leases.c.lease_id)
    .where(workset_leases.c.expires < bindparam("before", type_=Milliseconds))
    .order_by(workset_leases.c.expires)
    .limit(bindparam("wanted", type_=Integer))
    .with_for_update(skip_locked=True)
)
DELETE: Final = delete(workset_leases).where(workset_leases.c.lease_id.in_(select(_ids.c.lease_id)))


async def insert_leases(tx: Tx, leases: Sequence[Lease]) -> None:
    """Record new leases."""
    rows = [
        {
            "lease_id": lease.lease_id,
            "namespace": lease.set.namespace,
            "set_name": lease.set.name,
            "ack_mode": lease.ack_mode,
            "consumer": lease.consumer,
            "expires": to_ms(lease.expires),
            "remaining": lease.remaining,
        }
        for lease in leases
    ]
    if rows:
        await tx.connection.execute(INSERT, _given.parameters(rows))


async def lock(tx: Tx, lease_ids: Sequence[str]) -> dict[str, Lease]:
    """The leases that are known, by id, locked."""
    rows = await tx.connection.execute(LOCK, _ids.of(lease_ids))
    return {
        row.lease_id: Lease(
            row.lease_id,
            SetKey(row.namespace, row.set_name),
            row.ack_mode,
            row.consumer,
            row.expires,
            row.remaining,
            row.outcome,
        )
        for row in rows
    }


async def save(tx: Tx, leases: Sequence[Lease]) -> None:
    """Write what became of leases that are locked."""
    rows = [
        {
            "lease_id": lease.lease_id,
            "expires": to_ms(lease.expires),
            "remaining": lease.remaining,
            "outcome": lease.outcome,
        }
        for lease in leases
    ]
    if rows:
        await tx.connection.execute(SAVE, _changed.parameters(rows))


async def delete_expired(tx: Tx, before: datetime, limit: int) -> int:
    """Forget leases that ended before this time; how many there were. A sweep."""
    found = (await tx.connection.execute(EXPIRED, {"before": before, "wanted": limit})).scalars()
    if found:
        await tx.connection.execute(DELETE, _ids.of(found))
    return len(found)
