"""Rows of task queues and workers: noted, read, listed in pages, deleted when they have expired."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from pydantic_core import from_json, to_json
from sqlalchemy import (
    BigInteger,
    Integer,
    Text,
    and_,
    bindparam,
    case,
    delete,
    func,
    not_,
    or_,
    select,
    text,
    true,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert

from queue_service.core.workers import QuarantineDetail, RecentTask, Seen, TaskQueue, Worker, WorkerKey
from queue_service.store.database import Tx
from queue_service.store.rows import Rows
from queue_service.store.statements import Connection, Row
from queue_service.store.tables import EVER_QUARANTINED, task_queues, workers
from queue_service.store.types import Milliseconds
from schemas.times import from_ms, parse_time, to_ms
from schemas.workers import ProvisionerResponse

_now = bindparam("now", type_=Milliseconds)
_before = bindparam("before", type_=Milliseconds)
_after = bindparam("after", type_=Text)
_limit = bindparam("wanted", type_=Integer)

# ---- statements about task queues --------------------------------------------------------------------

_seen = Rows(
    "given", task_queue_id=Text, provisioner_id=Text, last_date_active=BigInteger, expires=BigInteger
)
_insert_queues = upsert(task_queues).from_select(
    ["task_queue_id", "provisioner_id", "last_date_active", "expires"],
    select(*_seen.columns).where(true()).order_by(_seen.c.task_queue_id),
)
_new = _insert_queues.excluded
NOTE_QUEUES: Final = _insert_queues.on_conflict_do_update(
    index_elements=["task_queue_id"],
    set_={
        name: case((task_queues.c[name] < _new[name], _new[name]), else_=task_queues.c[name])
        for name in ("last_date_active", "expires")
    },
)
CONTROLLED: Final = or_(task_queues.c.paused_at.is_not(None), task_queues.c.limits.is_not(None))
PRESENT: Final = or_(task_queues.c.expires > _now, CONTROLLED)
"""Whether a task queue was seen lately, or is paused or limited (``seed-systems.md`` Q-5)."""
SELECT_QUEUE: Final = select(task_queues).where(
    task_queues.c.task_queue_id == bindparam("task_queue_id"), PRESENT
)
LIST_QUEUES: Final = (
    select(task_queues)
    .where(task_queues.c.task_queue_id > _after, PRESENT)
    .order_by(task_queues.c.task_queue_id)
    .limit(_limit)
)
LIST_QUEUES_OF_PROVISIONER: Final = LIST_QUEUES.where(
    task_queues.c.provisioner_id == bindparam("provisioner_id")
)
_provisioners: Final = (
    select(
        task_queues.c.provisioner_id,
        func.max(task_queues.c.expires).label("expires"),
        func.max(task_queues.c.last_date_active).label("last_date_active"),
    )
    .where(PRESENT)
    .group_by(task_queues.c.provisioner_id)
)
SELECT_PROVISIONER: Final = _provisioners.where(task_queues.c.provisioner_id == bindparam("provisioner_id"))
LIST_PROVISIONERS: Final = (
    _provisioners.where(task_queues.c.provisioner_id > _after)
    .order_by(task_queues.c.provisioner_id)
    .limit(_limit)
)
EXPIRED_QUEUES: Final = (
    select(task_queues.c.task_queue_id)
    .where(task_queues.c.expires < _before, not_(CONTROLLED))
    .order_by(task_queues.c.expires)
    .limit(_limit)
    .with_for_update(skip_locked=True)
)
_queue_ids = Rows("ids", task_queue_id=Text)
DELETE_QUEUES: Final = delete(task_queues).where(
    task_queues.c.task_queue_id.in_(select(_queue_ids.c.task_queue_id))
)

# ---- statements about workers ------------------------------------------------------------------------

_KEY: Final = ("task_queue_id", "worker_group", "worker_id")
_new_worker = Rows(
    "given",
    **dict.fromkeys(_KEY, Text),
    first_claim=BigInteger,
    last_date_active=BigInteger,
    expires=BigInteger,
)
INSERT_WORKERS: Final = (
    upsert(workers)
    .from_select(
        [*_KEY, "first_claim", "last_date_active", "expires", "recent_tasks", "quarantine_details"],
        select(*_new_worker.columns, text("'[]'"), text("'[]'"))
        .where(true())
        .order_by(*(_new_worker.c[name] for name in _KEY)),
    )
    .on_conflict_do_nothing()
)
_keys = Rows("keys", **dict.fromkeys(_KEY, Text))
_of_keys = and_(*(workers.c[name] == _keys.c[name] for name in _KEY))
SELECT_WORKERS: Final = (
    select(workers).select_from(_keys.join(workers, _of_keys)).order_by(*(workers.c[name] for name in _KEY))
)
LOCK_WORKERS: Final = SELECT_WORKERS.with_for_update(of=workers)
_saved = Rows(
    "saved",
    **dict.fromkeys(_KEY, Text),
    last_date_active=BigInteger,
    expires=BigInteger,
    recent_tasks=Text,
    quarantine_until=BigInteger,
    quarantine_details=Text,
)
_SAVED: Final = ("last_date_active", "expires", "recent_tasks", "quarantine_until", "quarantine_details")
SAVE_WORKERS: Final = (
    update(workers)
    .values({name: _saved.c[name] for name in _SAVED})
    .where(*(workers.c[name] == _saved.c[name] for name in _KEY))
)
LIST_WORKERS: Final = (
    select(workers)
    .where(
        workers.c.task_queue_id == bindparam("task_queue_id"),
        tuple_(workers.c.worker_group, workers.c.worker_id)
        > tuple_(bindparam("after_group", type_=Text), bindparam("after_id", type_=Text)),
        or_(workers.c.expires > _now, workers.c.quarantine_until > _now),
    )
    .order_by(workers.c.worker_group, workers.c.worker_id)
    .limit(_limit)
)
QUARANTINED: Final = select(*(workers.c[name] for name in _KEY), workers.c.quarantine_until).where(
    text(EVER_QUARANTINED), workers.c.quarantine_until > _now
)
EXPIRED_WORKERS: Final = (
    select(*(workers.c[name] for name in _KEY))
    .where(
        workers.c.expires < _before,
        or_(workers.c.quarantine_until.is_(None), workers.c.quarantine_until <= _now),
    )
    .order_by(workers.c.expires)
    .limit(_limit)
    .with_for_update(skip_locked=True)
)
DELETE_WORKERS: Final = delete(workers).where(
    tuple_(*(workers.c[name] for name in _KEY)).in_(select(*(_keys.c[name] for name in _KEY)))
)

# ---- task queues -------------------------------------------------------------------------------------


async def note_queues(tx: Tx, seen: Mapping[str, Seen]) -> None:
    """These task queues were seen; neither time of a row moves backwards."""
    if not seen:
        return
    rows = (
        {
            "task_queue_id": task_queue_id,
            "provisioner_id": task_queue_id.partition("/")[0],
            "last_date_active": to_ms(when.at),
            "expires": to_ms(when.expires),
        }
        for task_queue_id, when in seen.items()
    )
    await tx.connection.execute(NOTE_QUEUES, _seen.parameters(rows))


async def get_queue(connection: Connection, task_queue_id: str, now: datetime) -> TaskQueue | None:
    """The task queue, if it is present."""
    row = (await connection.execute(SELECT_QUEUE, {"task_queue_id": task_queue_id, "now": now})).first()
    return None if row is None else _queue_of(row)


async def list_queues(connection: Connection, now: datetime, after: str, wanted: int) -> list[TaskQueue]:
    """Present task queues whose ids come after ``after``, in order."""
    rows = await connection.execute(LIST_QUEUES, {"now": now, "after": after, "wanted": wanted})
    return [_queue_of(row) for row in rows]


async def list_queues_of(
    connection: Connection, provisioner_id: str, now: datetime, after: str, wanted: int
) -> list[TaskQueue]:
    """The same, only those of a provisioner."""
    rows = await connection.execute(
        LIST_QUEUES_OF_PROVISIONER,
        {"provisioner_id": provisioner_id, "now": now, "after": after, "wanted": wanted},
    )
    return [_queue_of(row) for row in rows]


async def get_provisioner(
    connection: Connection, provisioner_id: str, now: datetime
) -> ProvisionerResponse | None:
    """A provisioner that has an unexpired task queue."""
    row = (
        await connection.execute(SELECT_PROVISIONER, {"provisioner_id": provisioner_id, "now": now})
    ).first()
    return None if row is None else _provisioner_of(row)


async def list_provisioners(
    connection: Connection, now: datetime, after: str, wanted: int
) -> list[ProvisionerResponse]:
    """Provisioners that have unexpired task queues and come after ``after``, in order."""
    rows = await connection.execute(LIST_PROVISIONERS, {"now": now, "after": after, "wanted": wanted})
    return [_provisioner_of(row) for row in rows]


async def delete_queues(tx: Tx, before: datetime, limit: int) -> int:
    """Delete task queues that expired before this time; how many there were."""
    found = (await tx.connection.execute(EXPIRED_QUEUES, {"before": before, "wanted": limit})).scalars()
    if found:
        await tx.connection.execute(DELETE_QUEUES, _queue_ids.of(found))
    return len(found)


# ---- workers -----------------------------------------------------------------------------------------


async def ensure(tx: Tx, seen: Mapping[WorkerKey, Seen]) -> None:
    """Insert rows for those of the workers that have none."""
    if not seen:
        return
    rows = (
        _key(worker)
        | {
            "first_claim": to_ms(when.at),
            "last_date_active": to_ms(when.at),
            "expires": to_ms(when.expires),
        }
        for worker, when in seen.items()
    )
    await tx.connection.execute(INSERT_WORKERS, _new_worker.parameters(rows))


async def lock(tx: Tx, keys: Iterable[WorkerKey]) -> list[Worker]:
    """Those of the workers that are known, locked until the end of the transaction (in order of the keys)."""
    rows = await tx.connection.execute(LOCK_WORKERS, _keys.parameters(map(_key, keys)))
    return [_worker_of(row) for row in rows]


async def save(tx: Tx, changed: Sequence[Worker]) -> None:
    """Write workers that this transaction has locked."""
    if changed:
        await tx.connection.execute(SAVE_WORKERS, _saved.parameters(map(_row, changed)))


async def get(connection: Connection, key: WorkerKey) -> Worker | None:
    """The worker, expired or not; without a lock."""
    row = (await connection.execute(SELECT_WORKERS, _keys.parameters([_key(key)]))).first()
    return None if row is None else _worker_of(row)


async def list_workers(
    connection: Connection, task_queue_id: str, now: datetime, after: tuple[str, str], wanted: int
) -> list[Worker]:
    """Workers of a task queue that are unexpired or quarantined, after a group and id, in their order."""
    rows = await connection.execute(
        LIST_WORKERS,
        {
            "task_queue_id": task_queue_id,
            "now": now,
            "after_group": after[0],
            "after_id": after[1],
            "wanted": wanted,
        },
    )
    return [_worker_of(row) for row in rows]


async def quarantined(connection: Connection, now: datetime) -> dict[WorkerKey, datetime]:
    """Every worker that is quarantined now, with the end of its quarantine."""
    rows = await connection.execute(QUARANTINED, {"now": now})
    return {_key_of(row): row.quarantine_until for row in rows}


async def delete_workers(tx: Tx, before: datetime, limit: int) -> int:
    """Delete workers that expired before this time and are not quarantined; how many there were."""
    rows = await tx.connection.execute(EXPIRED_WORKERS, {"before": before, "now": tx.now, "wanted": limit})
    found = [_key(_key_of(row)) for row in rows]
    if found:
        await tx.connection.execute(DELETE_WORKERS, _keys.parameters(found))
    return len(found)


# ---- rows --------------------------------------------------------------------------------------------


def _key(worker: WorkerKey) -> dict[str, Any]:
    return {name: getattr(worker, name) for name in _KEY}


def _key_of(row: Row) -> WorkerKey:
    return WorkerKey(row.task_queue_id, row.worker_group, row.worker_id)


def _queue_of(row: Row) -> TaskQueue:
    return TaskQueue(row.task_queue_id, Seen(row.last_date_active, row.expires))


def _provisioner_of(row: Row) -> ProvisionerResponse:
    return ProvisionerResponse.trusted(
        provisioner_id=row.provisioner_id, expires=row.expires, last_date_active=row.last_date_active
    )


def _worker_of(row: Row) -> Worker:
    return Worker(
        key=_key_of(row),
        first_claim=row.first_claim,
        seen=Seen(row.last_date_active, row.expires),
        recent_tasks=tuple(
            RecentTask(task_id, run_id, from_ms(claimed))
            for task_id, run_id, claimed in from_json(row.recent_tasks)
        ),
        quarantine_until=row.quarantine_until,
        details=tuple(
            QuarantineDetail(client_id, parse_time(updated), parse_time(until), info)
            for client_id, updated, until, info in from_json(row.quarantine_details)
        ),
    )


def _row(worker: Worker) -> dict[str, Any]:
    recent = [(task.task_id, task.run_id, to_ms(task.claimed)) for task in worker.recent_tasks]
    details = [
        (detail.client_id, detail.updated_at, detail.quarantine_until, detail.quarantine_info)
        for detail in worker.details
    ]
    until = worker.quarantine_until
    return _key(worker.key) | {
        "last_date_active": to_ms(worker.seen.at),
        "expires": to_ms(worker.seen.expires),
        "recent_tasks": to_json(recent).decode(),
        "quarantine_until": None if until is None else to_ms(until),
        "quarantine_details": to_json(details).decode(),
    }
