"""Jobs inserted by the user's own transaction: they exist exactly if it commits.

The same rows and the same messages are written as the service would write them, by the same code, over the
connection of the user's SQLAlchemy session. See ``docs/decisions/0012-transactional-insert.md``. Needs the
extra ``server``, and Taskbus' tables in the user's PostgreSQL database.
"""

from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import cache
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Executable, Text, bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import Session

from queue_service.api.creation import creation_of
from queue_service.core.errors import QueueError
from queue_service.core.limits import Limits
from queue_service.operations import bulk as bulks
from queue_service.operations.bulk import Bulk
from queue_service.settings import Settings
from queue_service.store.database import Concurrent, Tx
from queue_service.store.notifications import CHANNEL, SIGNALS_AT_ONCE, encode
from queue_service.store.statements import NO_VALUES, Result, Values
from schemas.times import to_ms, truncate
from taskbus.errors import Conflict, refusal
from taskbus.jobs.insertion import Insertion, InsertResult, task_of

SENDER: Final = "transaction"
"""Who notifies: no process of the service."""
NOTIFY: Final = select(
    func.pg_notify(bindparam("channel", type_=Text), bindparam("signals", type_=Text)).label("sent")
)

T = TypeVar("T")
Inserted = Sequence[InsertResult]


class UserConnection:
    """The connection of an asynchronous session, as the statements of the store use it."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def execute(self, statement: Executable, values: Values = NO_VALUES) -> Result:
        result = await self._connection.execute(statement, dict(values))
        return Result(result.all() if result.returns_rows else ())


class BlockingUserConnection:
    """That of a synchronous session; nothing here ever waits for the event loop."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def execute(self, statement: Executable, values: Values = NO_VALUES) -> Result:
        result = self._connection.execute(statement, dict(values))
        return Result(result.all() if result.returns_rows else ())


AnyConnection = UserConnection | BlockingUserConnection


@asynccontextmanager
async def savepoint(session: Session | AsyncSession) -> AsyncIterator[AnyConnection]:
    """The session's connection; what is done by it is undone when this ends by an error.

    Raises ValueError for a session on another database than PostgreSQL.
    """
    name = session.get_bind().dialect.name
    if name != "postgresql":
        raise ValueError(f"session: expected one on PostgreSQL, where the service has its tables, got {name}")
    if isinstance(session, AsyncSession):
        async with session.begin_nested():
            yield UserConnection(await session.connection())
    else:
        with session.begin_nested():
            yield BlockingUserConnection(session.connection())


async def insert(connection: AnyConnection, insertions: Sequence[Insertion], now: datetime) -> Inserted:
    """Write the jobs. Raises ApiError as the service would refuse them; Conflict also when another
    transaction makes the same task at this moment."""
    limits = _limits()
    tx = Tx(connection, truncate(now), _Places())
    try:
        creations = [
            creation_of(one.task_id, task_of(one, tx.now), _everything, tx.now, limits) for one in insertions
        ]
        made = await bulks.create(tx, Bulk(creations), group_expiry_margin=limits.group_expiry_margin)
    except QueueError as error:
        raise refusal(error.code, error.message) from error
    except Concurrent as error:
        raise Conflict(409, "RequestConflict", str(error)) from error
    await _notify(tx)
    return [
        InsertResult(
            one.task.task_id,
            created=one.created,
            unique_skipped_as_duplicate=one.task.task_id != insertion.task_id,
        )
        for insertion, one in zip(insertions, made, strict=True)
    ]


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that waits for nothing. Raises RuntimeError for one that does."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    work.close()
    raise RuntimeError("insert middleware and hooks may not wait when the session is a synchronous one")


class _Places:
    """Places in line; those of one transaction are after each other."""

    def __init__(self) -> None:
        self._given = 0

    def next_queue_order(self, now: datetime) -> int:
        self._given += 1
        return to_ms(now) * 1000 + self._given


async def _notify(tx: Tx) -> None:
    """Wake the processes of the service when the user's transaction commits."""
    texts = [encode(signal) for signal in tx.signals]
    for start in range(0, len(texts), SIGNALS_AT_ONCE):
        lines = "\n".join(texts[start : start + SIGNALS_AT_ONCE])
        await tx.connection.execute(NOTIFY, {"channel": CHANNEL, "signals": f"{SENDER} {lines}"})


def _everything(**parameters: object) -> None:
    """Whoever may write to the database may create any task."""


@cache
def _limits() -> Limits:
    """Those of the service, if it has the same environment."""
    return Settings().limits()
