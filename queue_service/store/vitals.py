"""What operators ask of the database and nobody else does: its schema, its clock, and what was left lying."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import BigInteger, Integer, Text, bindparam, column, func, literal_column, select, table, text

from queue_service.store.database import Database
from queue_service.store.statements import Connection
from queue_service.store.tables import PENDING, RUNNING, UNRESOLVED, tasks
from queue_service.store.types import Milliseconds
from schemas.times import from_ms

COUNTED: Final = 1000
"""So many overdue tasks are counted at most."""

_revision = table("alembic_version", column("version_num", Text))
REVISION: Final = select(_revision.c.version_num)
_before = bindparam("before", type_=Milliseconds)
_limit = bindparam("wanted", type_=Integer)


def _late(condition: str, due: str) -> object:
    return (
        select(literal_column("1")).where(text(condition), tasks.c[due] <= _before).limit(_limit).subquery()
    )


CLAIMS_OVERDUE: Final = select(func.count()).select_from(_late(RUNNING, "taken_until"))  # type: ignore[arg-type]
DEADLINES_OVERDUE: Final = select(func.count()).select_from(_late(UNRESOLVED, "deadline"))  # type: ignore[arg-type]
_oldest = func.min(tasks.c.queue_order)
WAITING: Final = (
    select(
        tasks.c.task_queue_id,
        func.count().label("number"),
        _oldest.label("oldest"),
    )
    .where(text(PENDING))
    .group_by(tasks.c.task_queue_id)
    .having(_oldest <= bindparam("order", type_=BigInteger))
    .order_by(_oldest)
    .limit(_limit)
)
"""Reads the index of all pending tasks: for a person who asks, not for every minute."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A task queue with pending tasks, the oldest of which has waited since then."""

    task_queue_id: str
    pending: int
    since: datetime


async def revision(connection: Connection) -> str | None:
    """The revision of the schema. Raises what the driver raises when there is none at all."""
    found: str | None = (await connection.execute(REVISION)).scalar()
    return found


async def claims_overdue(connection: Connection, before: datetime) -> int:
    """Claims that ran out before this and are not worked off; 1,000 stands for more."""
    return int((await connection.execute(CLAIMS_OVERDUE, {"before": before, "wanted": COUNTED})).scalar_one())


async def deadlines_overdue(connection: Connection, before: datetime) -> int:
    """Unresolved tasks whose deadline was before this; 1,000 stands for more."""
    found = await connection.execute(DEADLINES_OVERDUE, {"before": before, "wanted": COUNTED})
    return int(found.scalar_one())


async def waiting_since(connection: Connection, before: datetime, limit: int) -> list[Waiting]:
    """Task queues whose oldest pending task was there before this time, the oldest first."""
    order = int(before.timestamp() * 1_000_000)
    rows = await connection.execute(WAITING, {"order": order, "wanted": limit})
    return [Waiting(row.task_queue_id, row.number, from_ms(row.oldest // 1000)) for row in rows]


async def server_version(database: Database) -> str:
    """What the database calls itself. Raises StoreUnavailable."""
    statement = "SELECT sqlite_version() AS it" if database.is_sqlite else "SHOW server_version"
    async with database.read() as connection:
        found = (await connection.execute(text(statement))).scalar_one()
    return f"{'SQLite' if database.is_sqlite else 'PostgreSQL'} {found}"


async def server_time(database: Database) -> datetime:
    """The clock of a PostgreSQL server: the one place where it is asked for, to be compared with ours."""
    statement = "SELECT (extract(epoch from clock_timestamp()) * 1000)::bigint AS it"
    async with database.read() as connection:
        return from_ms(int((await connection.execute(text(statement))).scalar_one()))
