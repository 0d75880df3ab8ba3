"""Task rows: read, lock, insert, and save under guard."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from pydantic import TypeAdapter
from pydantic_core import from_json, to_json
from sqlalchemy import (
    BigInteger,
    Integer,
    Select,
    SmallInteger,
    Text,
    func,
    insert,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert

from queue_service.core.dependencies import Dependency
from queue_service.core.extras import Extras
from queue_service.core.task import Change, Task
from queue_service.store import lanes
from queue_service.store.database import Concurrent, Tx
from queue_service.store.rows import Rows
from queue_service.store.signals import QueueFilled, TimerSet
from queue_service.store.statements import Connection, Row
from queue_service.store.tables import task_definitions, tasks
from schemas.task import PRIORITIES, Run, TaskDefinition
from schemas.times import to_ms

_RUNS: Final[TypeAdapter[tuple[Run, ...]]] = TypeAdapter(tuple[Run, ...])
_EXTRAS: Final = TypeAdapter(Extras)

# ---- statements --------------------------------------------------------------------------------------

_ids = Rows("ids", task_id=Text)

SELECT_TASKS: Final = (
    select(tasks).select_from(_ids.join(tasks, tasks.c.task_id == _ids.c.task_id)).order_by(tasks.c.task_id)
)
LOCK_TASKS: Final = SELECT_TASKS.with_for_update(of=tasks)
LOCK_FREE_TASKS: Final = SELECT_TASKS.with_for_update(of=tasks, skip_locked=True)
SHARE_TASKS: Final = (
    select(tasks.c.task_id, tasks.c.state, tasks.c.expires)
    .select_from(_ids.join(tasks, tasks.c.task_id == _ids.c.task_id))
    .order_by(tasks.c.task_id)
    .with_for_update(of=tasks, read=True)
)
SELECT_DEFINITIONS: Final = select(task_definitions).select_from(
    _ids.join(task_definitions, task_definitions.c.task_id == _ids.c.task_id)
)

_created_definition = Rows("given", task_id=Text, definition=Text)
INSERT_DEFINITIONS: Final = (
    upsert(task_definitions)
    .from_select(
        ["task_id", "definition"],
        select(_created_definition.c.task_id, _created_definition.c.definition)
        .where(true())
        .order_by(_created_definition.c.task_id),
    )
    .on_conflict_do_nothing()
    .returning(task_definitions.c.task_id)
)

_COLUMN_TYPES: Final[dict[str, Any]] = {
    "task_id": Text,
    "version": Integer,
    "state": Text,
    "task_queue_id": Text,
    "scheduler_id": Text,
    "project_id": Text,
    "task_group_id": Text,
    "priority": SmallInteger,
    "queue_order": BigInteger,
    "taken_until": BigInteger,
    "deadline": BigInteger,
    "expires": BigInteger,
    "requires": Text,
    "retries": SmallInteger,
    "retries_left": SmallInteger,
    "ever_resolved": SmallInteger,
    "claimed_by_id": SmallInteger,
    "routes": Text,
    "tags": Text,
    "runs": Text,
    "worker": Text,
    "available_at": BigInteger,
    "extras": Text,
    "lane": Text,
    "unique_key": Text,
    "unique_until": BigInteger,
    "since": BigInteger,
}
_MUTABLE: Final = (
    "state",
    "priority",
    "taken_until",
    "retries_left",
    "ever_resolved",
    "claimed_by_id",
    "runs",
    "worker",
    "available_at",
    "extras",
    "lane",
    "expires",
    "unique_key",
    "unique_until",
)

_created = Rows("given", **_COLUMN_TYPES)
INSERT_TASKS: Final = insert(tasks).from_select(
    list(_COLUMN_TYPES),
    select(*(_created.c[name] for name in _COLUMN_TYPES)).order_by(_created.c.unique_key, _created.c.task_id),
)

_changed = Rows(
    "changed",
    task_id=Text,
    version=Integer,
    queue_order=BigInteger,
    since=BigInteger,
    **{name: _COLUMN_TYPES[name] for name in _MUTABLE},
)
SAVE_TASKS: Final = (
    update(tasks)
    .values(
        **{name: _changed.c[name] for name in _MUTABLE},
        version=_changed.c.version + 1,
        queue_order=func.coalesce(_changed.c.queue_order, tasks.c.queue_order),
        since=func.coalesce(_changed.c.since, tasks.c.since),
    )
    .where(tasks.c.task_id == _changed.c.task_id, tasks.c.version == _changed.c.version)
    .returning(tasks.c.task_id)
)


# ---- functions ---------------------------------------------------------------------------------------


async def get(connection: Connection, task_ids: Sequence[str]) -> dict[str, Task]:
    """The tasks that exist, by id; without a lock."""
    return await _tasks(connection, SELECT_TASKS, task_ids)


async def lock(tx: Tx, task_ids: Sequence[str]) -> dict[str, Task]:
    """The tasks that exist, by id, locked until the end of the transaction (in id order)."""
    return await _tasks(tx.connection, LOCK_TASKS, task_ids)


async def lock_free(tx: Tx, task_ids: Sequence[str]) -> dict[str, Task]:
    """The same without those that another transaction has locked."""
    return await _tasks(tx.connection, LOCK_FREE_TASKS, task_ids)


async def lock_states(tx: Tx, task_ids: Sequence[str]) -> dict[str, Dependency]:
    """State and expiry of tasks that others wait for; they cannot change before the transaction ends."""
    if not task_ids:
        return {}
    rows = await tx.connection.execute(SHARE_TASKS, _ids.of(_unique(task_ids)))
    return {row.task_id: Dependency(row.task_id, row.state, row.expires) for row in rows}


async def definitions(connection: Connection, task_ids: Sequence[str]) -> dict[str, TaskDefinition]:
    """The definitions as they were at creation, by id."""
    if not task_ids:
        return {}
    rows = await connection.execute(SELECT_DEFINITIONS, _ids.of(_unique(task_ids)))
    return {row.task_id: TaskDefinition.from_json(row.definition) for row in rows}


async def create(tx: Tx, created: Sequence[tuple[Change, TaskDefinition]]) -> None:
    """Insert new tasks. Raises Concurrent when somebody else created one of them meanwhile."""
    if not created:
        return
    rows = [
        {"task_id": change.after.task_id, "definition": definition.to_json().decode()}
        for change, definition in created
    ]
    inserted = await tx.connection.execute(INSERT_DEFINITIONS, _created_definition.parameters(rows))
    if len(inserted.all()) != len(rows):
        raise Concurrent("another transaction created the same task")
    changes = [change for change, _ in created]
    await tx.connection.execute(
        INSERT_TASKS, _created.parameters(_created_row(tx, change) for change in changes)
    )
    await _note_lanes(tx, changes)
    _announce(tx, changes)


async def save(tx: Tx, changes: Iterable[Change]) -> None:
    """Write what changed, each row under guard of the version that was read.

    Raises Concurrent when a guard missed.
    """
    altering = [change for change in changes if change.alters]
    if not altering:
        return
    saved = await tx.connection.execute(
        SAVE_TASKS, _changed.parameters(_changed_row(tx, change) for change in altering)
    )
    if len(saved.all()) != len(altering):
        raise Concurrent("a task changed between reading and writing it")
    await _note_lanes(tx, altering)
    _announce(tx, altering)


async def _note_lanes(tx: Tx, changes: Iterable[Change]) -> None:
    """Tell lanes of runs that came to wait in them, and of runs that have ended and made room."""
    arrived: dict[tuple[str, str], int] = {}
    left: set[tuple[str, str]] = set()
    ended: list[tuple[str, str, str]] = []
    for change in changes:
        task = change.after
        if not task.lane:
            continue
        lane = (task.task_queue_id, task.lane)
        if change.makes_room:
            ended.append((*lane, task.task_id))
        if task.in_line:
            priority = PRIORITIES.index(task.priority)
            arrived[lane] = min(arrived.get(lane, priority), priority)
        elif change.makes_room:
            left.add(lane)
    await lanes.fill(tx, arrived)
    await lanes.open_again(tx, left - arrived.keys())
    await lanes.free_slots(tx, ended)


def _announce(tx: Tx, changes: Iterable[Change]) -> None:
    for change in changes:
        after = change.after
        run = after.last_run
        if change.queues or (after.lane and change.makes_room):
            tx.announce(QueueFilled(after.task_queue_id))
        if run is not None and run.state == "running" and run.taken_until is not None:
            tx.announce(TimerSet("claim", run.taken_until))
        if change.delays and after.available_at is not None:
            tx.announce(TimerSet("delay", after.available_at))
        if change.before is None:
            tx.announce(TimerSet("deadline", after.deadline))
        if change.before is None or change.before.expires != after.expires:
            tx.announce(TimerSet("expiry", after.expires))


async def _tasks(connection: Connection, statement: Select[Any], task_ids: Sequence[str]) -> dict[str, Task]:
    if not task_ids:
        return {}
    rows = await connection.execute(statement, _ids.of(_unique(task_ids)))
    return {row.task_id: task_of(row) for row in rows}


def task_of(row: Row) -> Task:
    """The task of a row of ``tasks``."""
    return Task(
        task_id=row.task_id,
        task_queue_id=row.task_queue_id,
        scheduler_id=row.scheduler_id,
        project_id=row.project_id,
        task_group_id=row.task_group_id,
        deadline=row.deadline,
        expires=row.expires,
        requires=row.requires,
        retries=row.retries,
        routes=tuple(from_json(row.routes)),
        tags=from_json(row.tags),
        priority=PRIORITIES[row.priority],
        retries_left=row.retries_left,
        runs=_RUNS.validate_json(row.runs),
        ever_resolved=bool(row.ever_resolved),
        claimed_by_id=bool(row.claimed_by_id),
        available_at=row.available_at,
        extras=None if row.extras is None else _EXTRAS.validate_json(row.extras),
        lane=row.lane,
        version=row.version,
    )


def _created_row(tx: Tx, change: Change) -> dict[str, Any]:
    task = change.after
    changed = _changed_row(tx, change)
    return {
        **changed,
        "since": to_ms(tx.now) if changed["since"] is None else changed["since"],
        "task_queue_id": task.task_queue_id,
        "scheduler_id": task.scheduler_id,
        "project_id": task.project_id,
        "task_group_id": task.task_group_id,
        "deadline": to_ms(task.deadline),
        "requires": task.requires,
        "retries": task.retries,
        "routes": to_json(task.routes).decode(),
        "tags": to_json(task.tags).decode(),
    }


def _changed_row(tx: Tx, change: Change) -> dict[str, Any]:
    task = change.after
    run = task.last_run
    holds = run is not None and run.state == "running" and run.taken_until is not None
    extras = None if task.extras is None else _EXTRAS.dump_json(task.extras, exclude_defaults=True).decode()
    key = task.held_key(tx.now)
    return {
        "task_id": task.task_id,
        "version": task.version,
        "state": task.state,
        "priority": PRIORITIES.index(task.priority),
        "queue_order": _place(tx, change),
        "taken_until": to_ms(run.taken_until) if holds and run and run.taken_until else None,
        "retries_left": task.retries_left,
        "ever_resolved": int(task.ever_resolved),
        "claimed_by_id": int(task.claimed_by_id),
        "runs": _RUNS.dump_json(task.runs, by_alias=True, exclude_none=True).decode(),
        "worker": f"{run.worker_group}/{run.worker_id}" if holds and run else None,
        "available_at": None if task.available_at is None else to_ms(task.available_at),
        "extras": extras,
        "lane": task.lane,
        "expires": to_ms(task.expires),
        "unique_key": None if key is None else key.key,
        "unique_until": None if key is None or key.until is None else to_ms(key.until),
        "since": None if run is None else to_ms(run.resolved or run.started or run.scheduled),
    }


def _place(tx: Tx, change: Change) -> int | None:
    """A place in line, or among the claims, where the change gives one.

    What comes due takes the place that it would have had if it had been queued at that very moment.
    """
    if not (change.queues or change.claims or change.delays):
        return None
    due = change.before.available_at if change.before and change.queues else None
    return tx.next_queue_order() if due is None or due > tx.now else tx.due_queue_order(due)


def _unique(task_ids: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(task_ids))
