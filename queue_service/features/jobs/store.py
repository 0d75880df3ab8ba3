"""Jobs in the database: written with their tasks, read, listed, swept."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pydantic import TypeAdapter
from pydantic_core import from_json, to_json
from sqlalchemy import (
    BigInteger,
    Integer,
    SmallInteger,
    Text,
    bindparam,
    delete,
    exists,
    select,
    text,
    true,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert

from queue_service.features.jobs import event_store
from queue_service.features.jobs.job import Job
from queue_service.features.jobs.tables import jobs
from queue_service.store.database import Tx
from queue_service.store.rows import Rows
from queue_service.store.statements import Connection, Row
from queue_service.store.tables import UNRESOLVED, tasks
from queue_service.store.types import Milliseconds
from schemas.jobs import JobProgress, JobStep
from schemas.times import to_ms

_STEPS: Final[TypeAdapter[tuple[JobStep, ...]]] = TypeAdapter(tuple[JobStep, ...])

_ids = Rows("ids", task_id=Text)
SELECT: Final = select(jobs).select_from(_ids.join(jobs, jobs.c.task_id == _ids.c.task_id))

_COLUMNS: Final[dict[str, Any]] = {
    "task_id": Text,
    "type": Text,
    "version": Integer,
    "env_id": Text,
    "digest": Text,
    "secrets": Text,
    "any_order": SmallInteger,
    "resumable": SmallInteger,
    "created": BigInteger,
    "expires": BigInteger,
    "steps": Text,
    "progress": Text,
    "cursor": Text,
    "cancel_reason": Text,
    "noted": BigInteger,
    "told": BigInteger,
}
_MUTABLE: Final = ("steps", "progress", "cursor", "cancel_reason", "noted", "told", "expires")
_given = Rows("given", **_COLUMNS)
_insert = upsert(jobs).from_select(
    list(_COLUMNS), select(*(_given.c[name] for name in _COLUMNS)).where(true()).order_by(_given.c.task_id)
)
# What is left of a job whose task was deleted gives way to the new one of its id.
INSERT: Final = _insert.on_conflict_do_update(
    index_elements=["task_id"], set_={name: _insert.excluded[name] for name in _COLUMNS if name != "task_id"}
)
_saved = Rows("saved", task_id=Text, **{name: _COLUMNS[name] for name in _MUTABLE})
SAVE: Final = (
    update(jobs).values({name: _saved.c[name] for name in _MUTABLE}).where(jobs.c.task_id == _saved.c.task_id)
)

_limit = bindparam("wanted", type_=Integer)
_there = tuple_(bindparam("created", type_=BigInteger), bindparam("after", type_=Text))
_listed = select(jobs.c.task_id, jobs.c.created).where(tuple_(jobs.c.created, jobs.c.task_id) < _there)
NEWEST: Final = _listed.order_by(jobs.c.created.desc(), jobs.c.task_id.desc()).limit(_limit)
NEWEST_OF_TYPE: Final = (
    _listed.where(jobs.c.type == bindparam("type", type_=Text))
    .order_by(jobs.c.created.desc(), jobs.c.task_id.desc())
    .limit(_limit)
)
UNFINISHED: Final = select(
    exists(
        select(jobs.c.task_id)
        .select_from(jobs.join(tasks, tasks.c.task_id == jobs.c.task_id))
        .where(jobs.c.type == bindparam("type", type_=Text), text(UNRESOLVED))
    )
)
EXPIRED: Final = (
    select(jobs.c.task_id)
    .where(
        jobs.c.expires < bindparam("before", type_=Milliseconds),
        ~select(tasks.c.task_id).where(tasks.c.task_id == jobs.c.task_id).exists(),
    )
    .order_by(jobs.c.expires)
    .limit(_limit)
)
DELETE: Final = delete(jobs).where(jobs.c.task_id.in_(select(_ids.c.task_id)))


@dataclass(frozen=True, slots=True)
class Place:
    """Where a list of jobs, the newest first, is: behind this one."""

    created: int
    """In milliseconds."""
    task_id: str


NEWEST_OF_ALL: Final = Place(2**62, "~")


async def get(connection: Connection, task_ids: Sequence[str]) -> dict[str, Job]:
    """The jobs among these tasks, by id. Whoever changes one holds the lock of its task."""
    if not task_ids:
        return {}
    rows = await connection.execute(SELECT, _ids.of(list(dict.fromkeys(task_ids))))
    return {row.task_id: _job(row) for row in rows}


async def insert(tx: Tx, new: Sequence[Job]) -> None:
    """Keep jobs whose tasks are created in this transaction."""
    if new:
        await tx.connection.execute(INSERT, _given.parameters(map(_row, new)))


async def save(tx: Tx, changed: Sequence[Job]) -> None:
    """Write jobs whose tasks are locked."""
    if changed:
        rows = [{name: row[name] for name in ("task_id", *_MUTABLE)} for row in map(_row, changed)]
        await tx.connection.execute(SAVE, _saved.parameters(rows))


async def page(connection: Connection, type: str | None, after: Place, wanted: int) -> list[Place]:
    """The next jobs behind this place, the newest first."""
    values: dict[str, Any] = {"created": after.created, "after": after.task_id, "wanted": wanted}
    if type is None:
        rows = await connection.execute(NEWEST, values)
    else:
        rows = await connection.execute(NEWEST_OF_TYPE, {**values, "type": type})
    return [Place(to_ms(row.created), row.task_id) for row in rows]


async def has_unfinished(connection: Connection, type: str) -> bool:
    """Whether a job of this type has not ended."""
    return bool((await connection.execute(UNFINISHED, {"type": type})).scalar_one())


async def delete_expired(tx: Tx, before: datetime, limit: int) -> int:
    """Forget jobs whose tasks are gone, with their events; how many there were."""
    gone = (await tx.connection.execute(EXPIRED, {"before": before, "wanted": limit})).scalars()
    if gone:
        await tx.connection.execute(DELETE, _ids.of(gone))
        await event_store.forget(tx, gone)
    return len(gone)


def _job(row: Row) -> Job:
    return Job(
        task_id=row.task_id,
        type=row.type,
        version=row.version,
        env_id=row.env_id,
        digest=row.digest,
        secrets=row.secrets,
        any_order=bool(row.any_order),
        resumable=bool(row.resumable),
        steps=_STEPS.validate_json(row.steps),
        created=row.created,
        expires=row.expires,
        progress=None if row.progress is None else JobProgress.from_json(row.progress),
        cursor=None if row.cursor is None else from_json(row.cursor),
        cancel_reason=None if row.cancel_reason is None else from_json(row.cancel_reason),
        noted=row.noted,
        told=row.told,
    )


def _row(job: Job) -> dict[str, Any]:
    return {
        "task_id": job.task_id,
        "type": job.type,
        "version": job.version,
        "env_id": job.env_id,
        "digest": job.digest,
        "secrets": job.secrets,
        "any_order": int(job.any_order),
        "resumable": int(job.resumable),
        "created": to_ms(job.created),
        "expires": to_ms(job.expires),
        "steps": _STEPS.dump_json(job.steps, by_alias=True, exclude_none=True).decode(),
        "progress": None if job.progress is None else job.progress.to_json().decode(),
        "cursor": None if job.cursor is None else to_json(job.cursor).decode(),
        "cancel_reason": None if job.cancel_reason is None else to_json(job.cancel_reason).decode(),
        "noted": None if job.noted is None else to_ms(job.noted),
        "told": None if job.told is None else to_ms(job.told),
    }
