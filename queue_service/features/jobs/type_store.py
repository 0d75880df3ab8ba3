"""Types of jobs in the database: every version that was registered, and the names of the present ones."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Integer, Text, bindparam, delete, func, insert, select, true
from sqlalchemy.dialects.postgresql import insert as upsert

from queue_service.features.jobs.tables import job_type_names, job_types
from queue_service.store.database import Tx
from queue_service.store.rows import Rows
from queue_service.store.statements import Connection, Row
from queue_service.store.tables import workers
from queue_service.store.types import Milliseconds
from schemas.jobs import JobTypeDefinition

_name = bindparam("of_name", type_=Text)
_type = bindparam("of_type", type_=Text)
_present = job_type_names.join(
    job_types,
    (job_types.c.type == job_type_names.c.type) & (job_types.c.version == job_type_names.c.version),
)
_names = Rows("names", name=Text)
WHICH: Final = select(job_type_names).select_from(
    _names.join(job_type_names, job_type_names.c.name == _names.c.name)
)
LOCK: Final = WHICH.with_for_update(of=job_type_names)
SELECT: Final = select(job_types).where(
    job_types.c.type == _type, job_types.c.version == bindparam("version", type_=Integer)
)
LIST: Final = (
    select(job_types)
    .select_from(_present)
    .where(
        job_type_names.c.name == job_type_names.c.type, job_type_names.c.name > bindparam("after", type_=Text)
    )
    .order_by(job_type_names.c.name)
    .limit(bindparam("wanted", type_=Integer))
)
LAST_VERSION: Final = select(func.max(job_types.c.version)).where(job_types.c.type == _type)
INSERT: Final = insert(job_types).values(
    type=_type,
    version=bindparam("version", type_=Integer),
    definition=bindparam("definition", type_=Text),
    registered=bindparam("registered", type_=Milliseconds),
)
_given = Rows("given", name=Text, type=Text, version=Integer)
_upsert = upsert(job_type_names).from_select(
    ["name", "type", "version"],
    select(_given.c.name, _given.c.type, _given.c.version).where(true()).order_by(_given.c.name),
)
WRITE_NAMES: Final = _upsert.on_conflict_do_update(
    index_elements=["name"], set_={"version": _upsert.excluded.version}
)
DELETE_NAMES: Final = delete(job_type_names).where(job_type_names.c.type == _type)
_queues = Rows("queues", task_queue_id=Text)
LIVE_WORKERS: Final = (
    select(workers.c.task_queue_id, func.count().label("live"))
    .select_from(_queues.join(workers, workers.c.task_queue_id == _queues.c.task_queue_id))
    .where(workers.c.last_date_active > bindparam("since", type_=Milliseconds))
    .group_by(workers.c.task_queue_id)
)


@dataclass(frozen=True, slots=True)
class Known:
    """What a name leads to."""

    type: str
    version: int


@dataclass(frozen=True, slots=True)
class StoredType:
    """A version of a type as it was registered."""

    type: str
    version: int
    definition: JobTypeDefinition
    registered: datetime


async def which(connection: Connection, name: str) -> Known | None:
    """The type that is registered under this name now."""
    row = (await connection.execute(WHICH, _names.of([name]))).first()
    return None if row is None else Known(row.type, row.version)


async def lock_names(tx: Tx, names: Iterable[str]) -> dict[str, Known]:
    """Those of these names that are taken, locked."""
    rows = await tx.connection.execute(LOCK, _names.of(sorted(set(names))))
    return {row.name: Known(row.type, row.version) for row in rows}


async def get(connection: Connection, type: str, version: int) -> StoredType | None:
    """A version of a type, whether or not it is still registered."""
    row = (await connection.execute(SELECT, {"of_type": type, "version": version})).first()
    return None if row is None else _stored(row)


async def page(connection: Connection, after: str, wanted: int) -> list[StoredType]:
    """The registered types behind this name, in the order of their names."""
    rows = await connection.execute(LIST, {"after": after, "wanted": wanted})
    return [_stored(row) for row in rows]


async def write(tx: Tx, type: str, definition: JobTypeDefinition) -> StoredType:
    """Register a new version of a type under its own name and its aliases, and no others."""
    last = (await tx.connection.execute(LAST_VERSION, {"of_type": type})).scalar()
    stored = StoredType(type, (last or 0) + 1, definition, tx.now)
    await tx.connection.execute(
        INSERT,
        {
            "of_type": type,
            "version": stored.version,
            "definition": definition.to_json().decode(),
            "registered": tx.now,
        },
    )
    await tx.connection.execute(DELETE_NAMES, {"of_type": type})
    rows = [{"name": name, "type": type, "version": stored.version} for name in (type, *definition.aliases)]
    await tx.connection.execute(WRITE_NAMES, _given.parameters(rows))
    return stored


async def remove(tx: Tx, type: str) -> None:
    """Let go of all names of a type; its versions stay known for the jobs that have them."""
    await tx.connection.execute(DELETE_NAMES, {"of_type": type})


async def live_workers(connection: Connection, queues: Sequence[str], since: datetime) -> dict[str, int]:
    """How many workers asked these task queues for work since then."""
    rows = await connection.execute(LIVE_WORKERS, {**_queues.of(sorted(set(queues))), "since": since})
    return {row.task_queue_id: row.live for row in rows}


def _stored(row: Row) -> StoredType:
    return StoredType(row.type, row.version, JobTypeDefinition.from_json(row.definition), row.registered)
