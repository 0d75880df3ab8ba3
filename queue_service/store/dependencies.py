"""Who waits for whom: dependency rows, and the list of tasks whose end is still to be told to dependents."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pydantic_core import from_json
from sqlalchemy import (
    BigInteger,
    Integer,
    SmallInteger,
    Text,
    bindparam,
    delete,
    func,
    insert,
    select,
    text,
    update,
)

from queue_service.core.task import Task
from queue_service.store.database import Tx
from queue_service.store.rows import Rows
from queue_service.store.signals import TasksResolved
from queue_service.store.statements import Connection
from queue_service.store.tables import UNSATISFIED, resolutions, task_dependencies, tasks
from schemas.task import Requires, TaskState
from schemas.times import to_ms

_COLUMNS: Final = ("required_task_id", "dependent_task_id", "requires", "satisfied", "expires")
_given = Rows(
    "given",
    required_task_id=Text,
    dependent_task_id=Text,
    requires=Text,
    satisfied=SmallInteger,
    expires=BigInteger,
)
INSERT: Final = insert(task_dependencies).from_select(
    list(_COLUMNS),
    select(*(_given.c[name] for name in _COLUMNS)).order_by(
        _given.c.required_task_id, _given.c.dependent_task_id
    ),
)
_limit = bindparam("wanted", type_=Integer)
_ended = Rows("ended", required_task_id=Text, requires=Text)
WAITING: Final = (
    select(
        task_dependencies.c.required_task_id,
        task_dependencies.c.dependent_task_id,
        task_dependencies.c.requires,
    )
    .select_from(
        _ended.join(task_dependencies, task_dependencies.c.required_task_id == _ended.c.required_task_id)
    )
    .where(task_dependencies.c.requires == _ended.c.requires, text(UNSATISFIED))
    .limit(_limit)
)
_pairs = Rows("pairs", required_task_id=Text, dependent_task_id=Text)
SATISFY: Final = (
    update(task_dependencies)
    .values(satisfied=1)
    .where(
        task_dependencies.c.required_task_id == _pairs.c.required_task_id,
        task_dependencies.c.dependent_task_id == _pairs.c.dependent_task_id,
    )
)
_dependents = Rows("dependents", dependent_task_id=Text)
FREE: Final = select(_dependents.c.dependent_task_id).where(
    ~select(task_dependencies.c.required_task_id)
    .where(task_dependencies.c.dependent_task_id == _dependents.c.dependent_task_id, text(UNSATISFIED))
    .exists()
)
_resolved = Rows("resolved", task_id=Text, state=Text, task_group_id=Text)
INSERT_RESOLUTIONS: Final = insert(resolutions).from_select(
    ["task_id", "state", "task_group_id"],
    select(_resolved.c.task_id, _resolved.c.state, _resolved.c.task_group_id),
)
NEXT_RESOLUTIONS: Final = (
    select(
        resolutions.c.id,
        resolutions.c.task_id,
        resolutions.c.state,
        func.coalesce(resolutions.c.task_group_id, tasks.c.task_group_id).label("task_group_id"),
        tasks.c.routes,
    )
    .select_from(resolutions.outerjoin(tasks, tasks.c.task_id == resolutions.c.task_id))
    .order_by(resolutions.c.id)
    .limit(_limit)
    .with_for_update(of=resolutions, skip_locked=True)
)
_done = Rows("done", id=BigInteger)
DELETE_RESOLUTIONS: Final = delete(resolutions).where(resolutions.c.id.in_(select(_done.c.id)))


@dataclass(frozen=True, slots=True)
class Edge:
    """``dependent_task_id`` waits for ``required_task_id``."""

    required_task_id: str
    dependent_task_id: str
    requires: Requires


@dataclass(frozen=True, slots=True)
class Resolution:
    """A task ended in this state; its dependents and its group have not been looked at since.

    A task that has been deleted meanwhile has no routes any more.
    """

    id: int
    task_id: str
    state: TaskState
    task_group_id: str | None
    routes: tuple[str, ...]


async def insert_edges(tx: Tx, edges: Iterable[tuple[Edge, bool, datetime]]) -> None:
    """Record edges, each with whether it is satisfied already and when its dependent expires."""
    rows = [
        {
            "required_task_id": edge.required_task_id,
            "dependent_task_id": edge.dependent_task_id,
            "requires": edge.requires,
            "satisfied": int(satisfied),
            "expires": to_ms(expires),
        }
        for edge, satisfied, expires in edges
    ]
    if rows:
        await tx.connection.execute(INSERT, _given.parameters(rows))


async def waiting_for(
    connection: Connection, ended: Iterable[tuple[str, Requires]], limit: int
) -> list[Edge]:
    """Unsatisfied edges to tasks, of the given kind of requirement each; at most ``limit``."""
    pairs = ({"required_task_id": task_id, "requires": requires} for task_id, requires in ended)
    rows = await connection.execute(WAITING, {**_ended.parameters(pairs), "wanted": limit})
    return [Edge(row.required_task_id, row.dependent_task_id, row.requires) for row in rows]


async def satisfy(tx: Tx, edges: Sequence[Edge]) -> None:
    """Mark edges as satisfied, for good."""
    rows = [
        {"required_task_id": edge.required_task_id, "dependent_task_id": edge.dependent_task_id}
        for edge in edges
    ]
    if rows:
        await tx.connection.execute(SATISFY, _pairs.parameters(rows))


async def free(tx: Tx, dependent_ids: Sequence[str]) -> list[str]:
    """Those of the dependents that wait for nothing any more."""
    if not dependent_ids:
        return []
    return list((await tx.connection.execute(FREE, _dependents.of(dependent_ids))).scalars())


async def insert_resolutions(tx: Tx, ended: Sequence[Task]) -> None:
    """Put tasks that ended on the list of resolutions, each with the state it ended in."""
    if ended:
        rows = [
            {"task_id": task.task_id, "state": task.state, "task_group_id": task.task_group_id}
            for task in ended
        ]
        await tx.connection.execute(INSERT_RESOLUTIONS, _resolved.parameters(rows))
        tx.announce(TasksResolved())


async def next_resolutions(tx: Tx, limit: int) -> list[Resolution]:
    """The oldest entries of the list, locked; entries that another process works on are left out."""
    rows = await tx.connection.execute(NEXT_RESOLUTIONS, {"wanted": limit})
    return [
        Resolution(row.id, row.task_id, row.state, row.task_group_id, tuple(from_json(row.routes or "[]")))
        for row in rows
    ]


async def delete_resolutions(tx: Tx, ids: Sequence[int]) -> None:
    if ids:
        await tx.connection.execute(DELETE_RESOLUTIONS, _done.of(ids))
