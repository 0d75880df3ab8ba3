"""Leases: one process at a time does what must not be done twice at once (publishing the outbox).

A lease is a row that its holder renews; another process takes it only after it has expired by the clock.
"""

from datetime import timedelta
from typing import Final

from sqlalchemy import bindparam, delete, or_
from sqlalchemy.dialects.postgresql import insert as upsert

from queue_service.store.database import Tx
from queue_service.store.tables import leases

_insert = upsert(leases).values(
    name=bindparam("name"), holder=bindparam("holder"), expires=bindparam("until")
)
ACQUIRE: Final = _insert.on_conflict_do_update(
    index_elements=["name"],
    set_={"holder": _insert.excluded.holder, "expires": _insert.excluded.expires},
    where=or_(leases.c.holder == _insert.excluded.holder, leases.c.expires <= bindparam("now")),
).returning(leases.c.holder)
RELEASE: Final = delete(leases).where(
    leases.c.name == bindparam("name"), leases.c.holder == bindparam("holder")
)


async def acquire(tx: Tx, name: str, holder: str, duration: timedelta) -> bool:
    """Take or renew the lease; False when another holder has it and it has not expired."""
    granted = await tx.connection.execute(
        ACQUIRE, {"name": name, "holder": holder, "until": tx.now + duration, "now": tx.now}
    )
    return granted.scalar() is not None


async def release(tx: Tx, name: str, holder: str) -> None:
    """Give the lease back, so that another process need not wait for its end."""
    await tx.connection.execute(RELEASE, {"name": name, "holder": holder})
