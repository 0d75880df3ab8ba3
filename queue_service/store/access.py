"""The one row that every change of a client or role updates: processes see by it that they must look again.

Changes take its lock first, so that they happen one after the other: each sees all that was decided before.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import bindparam, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from queue_service.store.database import Concurrent, Tx
from queue_service.store.signals import AccessChanged
from queue_service.store.statements import Connection
from queue_service.store.tables import access_state
from queue_service.store.types import Milliseconds

_ROW: Final = 1
STATE: Final = select(access_state.c.generation, access_state.c.created).where(access_state.c.id == _ROW)
LOCK: Final = STATE.with_for_update()
COUNT_UP: Final = (
    update(access_state)
    .where(access_state.c.id == _ROW)
    .values(generation=access_state.c.generation + 1)
    .returning(access_state.c.generation)
)
BEGIN: Final = (
    upsert(access_state)
    .values(id=_ROW, generation=1, created=bindparam("now", type_=Milliseconds))
    .on_conflict_do_nothing()
    .returning(access_state.c.id)
)


@dataclass(frozen=True, slots=True)
class AccessState:
    """How often clients and roles have changed, and when the service started first."""

    generation: int
    created: datetime


async def state(connection: Connection) -> AccessState | None:
    """The state; None before the first start."""
    row = (await connection.execute(STATE)).first()
    return None if row is None else AccessState(row.generation, row.created)


async def begin(tx: Tx) -> bool:
    """Make the state; False when an earlier start, or another process, has made it."""
    return (await tx.connection.execute(BEGIN, {"now": tx.now})).first() is not None


async def lock(tx: Tx) -> None:
    """Let no other transaction change clients or roles before this one ends."""
    await tx.connection.execute(LOCK)


async def changed(tx: Tx) -> None:
    """Count a change of clients or roles, and tell it to every process."""
    if (await tx.connection.execute(COUNT_UP)).first() is None:
        raise Concurrent("clients and roles change before the service has started first")
    tx.announce(AccessChanged())
