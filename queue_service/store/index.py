"""The index: tasks by their path, and the namespaces above them.

A path is stored as its namespace and its name, so that one key finds a task and lists a namespace in order.
What has expired is not there any more, whether it has been deleted or not.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from pydantic_core import from_json, to_json
from sqlalchemy import (
    BigInteger,
    Double,
    Executable,
    Integer,
    Text,
    bindparam,
    delete,
    func,
    or_,
    select,
    true,
    tuple_,
)
from sqlalchemy.dialects.postgresql import insert as upsert

from queue_service.core.index import NAMESPACE_MARGIN, IndexedTask, NamespaceEntry, split
from queue_service.store.database import Tx
from queue_service.store.rows import Rows
from queue_service.store.statements import Connection, Row
from queue_service.store.tables import index_namespaces, indexed_tasks
from queue_service.store.types import Milliseconds
from schemas.times import to_ms

_now = bindparam("now", type_=Milliseconds)
_before = bindparam("before", type_=Milliseconds)
_limit = bindparam("wanted", type_=Integer)
_after = bindparam("after", type_=Text)

_entries = Rows("given", namespace=Text, name=Text, task_id=Text, rank=Double, data=Text, expires=BigInteger)
_insert = upsert(indexed_tasks).from_select(
    [column.name for column in _entries.c],
    select(*_entries.c).where(true()).order_by(_entries.c.namespace, _entries.c.name),
)
INSERT: Final = _insert.on_conflict_do_update(
    index_elements=["namespace", "name"],
    set_={name: _insert.excluded[name] for name in ("task_id", "rank", "data", "expires")},
    where=or_(_insert.excluded.rank >= indexed_tasks.c.rank, indexed_tasks.c.expires <= _now),
)
_needed = Rows("needed", parent=Text, name=Text, expires=BigInteger, kept=BigInteger)
_ensure = upsert(index_namespaces).from_select(
    ["parent", "name", "expires"],
    select(_needed.c.parent, _needed.c.name, _needed.c.kept)
    .select_from(
        _needed.outerjoin(
            index_namespaces,
            (index_namespaces.c.parent == _needed.c.parent) & (index_namespaces.c.name == _needed.c.name),
        )
    )
    .where(func.coalesce(index_namespaces.c.expires, -1) < _needed.c.expires)
    .order_by(_needed.c.parent, _needed.c.name),
)
ENSURE_NAMESPACES: Final = _ensure.on_conflict_do_update(
    index_elements=["parent", "name"],
    set_={"expires": _ensure.excluded.expires},
    where=index_namespaces.c.expires < _ensure.excluded.expires,
)
_places = Rows("places", namespace=Text, name=Text)
FIND: Final = (
    select(indexed_tasks)
    .select_from(
        _places.join(
            indexed_tasks,
            (indexed_tasks.c.namespace == _places.c.namespace) & (indexed_tasks.c.name == _places.c.name),
        )
    )
    .where(
        indexed_tasks.c.expires > _now,
        tuple_(indexed_tasks.c.namespace, indexed_tasks.c.name)
        > tuple_(bindparam("after_namespace", type_=Text), _after),
    )
    .order_by(indexed_tasks.c.namespace, indexed_tasks.c.name)
    .limit(_limit)
)
TASKS_IN: Final = (
    select(indexed_tasks)
    .where(
        indexed_tasks.c.namespace == bindparam("namespace"),
        indexed_tasks.c.name > _after,
        indexed_tasks.c.expires > _now,
    )
    .order_by(indexed_tasks.c.name)
    .limit(_limit)
)
NAMESPACES_IN: Final = (
    select(index_namespaces)
    .where(
        index_namespaces.c.parent == bindparam("parent"),
        index_namespaces.c.name > _after,
        index_namespaces.c.expires > _now,
    )
    .order_by(index_namespaces.c.name)
    .limit(_limit)
)
REMOVE: Final = delete(indexed_tasks).where(
    indexed_tasks.c.namespace == bindparam("namespace"), indexed_tasks.c.name == bindparam("name")
)
EXPIRED_TASKS: Final = (
    select(indexed_tasks.c.namespace, indexed_tasks.c.name)
    .where(indexed_tasks.c.expires < _before)
    .order_by(indexed_tasks.c.expires)
    .limit(_limit)
    .with_for_update(skip_locked=True)
)
DELETE_TASKS: Final = delete(indexed_tasks).where(
    tuple_(indexed_tasks.c.namespace, indexed_tasks.c.name).in_(select(_places.c.namespace, _places.c.name))
)
EXPIRED_NAMESPACES: Final = (
    select(index_namespaces.c.parent, index_namespaces.c.name)
    .where(index_namespaces.c.expires < _before)
    .order_by(index_namespaces.c.expires)
    .limit(_limit)
    .with_for_update(skip_locked=True)
)
DELETE_NAMESPACES: Final = delete(index_namespaces).where(
    tuple_(index_namespaces.c.parent, index_namespaces.c.name).in_(
        select(_places.c.namespace, _places.c.name)
    )
)


async def insert(tx: Tx, entries: Iterable[IndexedTask]) -> None:
    """Index these tasks, one for each path; a task of higher rank that is there already stays."""
    rows = [
        {
            "namespace": entry.namespace,
            "name": entry.name,
            "task_id": entry.task_id,
            "rank": entry.rank,
            "data": to_json(entry.data).decode(),
            "expires": to_ms(entry.expires),
        }
        for entry in entries
    ]
    if rows:
        await tx.connection.execute(INSERT, {**_entries.parameters(rows), "now": tx.now})


async def ensure_namespaces(tx: Tx, needed: Iterable[NamespaceEntry]) -> None:
    """Keep these namespaces for as long as they are needed at least.

    A namespace that lives long enough is neither written nor locked: all programs share those near the root.
    """
    rows = [
        {
            "parent": entry.parent,
            "name": entry.name,
            "expires": to_ms(entry.expires),
            "kept": to_ms(_later(entry.expires, NAMESPACE_MARGIN)),
        }
        for entry in needed
    ]
    if rows:
        await tx.connection.execute(ENSURE_NAMESPACES, _needed.parameters(rows))


async def find(
    connection: Connection, paths: Sequence[str], now: datetime, *, after: str = "", wanted: int = 1
) -> list[IndexedTask]:
    """The tasks at these paths that come after the path ``after``, in order of namespace and name."""
    rows = [{"namespace": namespace, "name": name} for namespace, name in map(split, paths)]
    after_namespace, after_name = split(after)
    found = await connection.execute(
        FIND,
        {
            **_places.parameters(rows),
            "now": now,
            "after_namespace": after_namespace,
            "after": after_name,
            "wanted": wanted,
        },
    )
    return [_task(row) for row in found]


async def tasks_in(
    connection: Connection, namespace: str, now: datetime, after: str, wanted: int
) -> list[IndexedTask]:
    """The tasks directly in a namespace whose names come after ``after``, in order."""
    found = await connection.execute(
        TASKS_IN, {"namespace": namespace, "now": now, "after": after, "wanted": wanted}
    )
    return [_task(row) for row in found]


async def namespaces_in(
    connection: Connection, parent: str, now: datetime, after: str, wanted: int
) -> list[NamespaceEntry]:
    """The namespaces directly in a namespace whose names come after ``after``, in order."""
    found = await connection.execute(
        NAMESPACES_IN, {"parent": parent, "now": now, "after": after, "wanted": wanted}
    )
    return [NamespaceEntry(row.parent, row.name, row.expires) for row in found]


async def remove(tx: Tx, path: str) -> None:
    """Forget the task at this path, if there is one. The namespaces above it stay until they expire."""
    namespace, name = split(path)
    await tx.connection.execute(REMOVE, {"namespace": namespace, "name": name})


async def delete_expired(tx: Tx, before: datetime, limit: int) -> int:
    """Delete what expired before this time; the larger count of the two kinds."""
    return max(
        await _delete(tx, EXPIRED_TASKS, DELETE_TASKS, before, limit),
        await _delete(tx, EXPIRED_NAMESPACES, DELETE_NAMESPACES, before, limit),
    )


async def _delete(tx: Tx, expired: Executable, delete: Executable, before: datetime, limit: int) -> int:
    found = (await tx.connection.execute(expired, {"before": before, "wanted": limit})).all()
    if found:
        rows = [{"namespace": namespace, "name": name} for namespace, name in found]
        await tx.connection.execute(delete, _places.parameters(rows))
    return len(found)


def _task(row: Row) -> IndexedTask:
    return IndexedTask(row.namespace, row.name, row.task_id, row.rank, from_json(row.data), row.expires)


def _later(moment: datetime, margin: timedelta) -> datetime:
    try:
        return moment + margin
    except OverflowError:
        return moment
