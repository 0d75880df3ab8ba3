"""Finding tasks by what is known of them (``seed-systems.md`` O-5).

Rows are walked in the order of an index, from a place on: by id, or by state and the time at which a task got
into it. Whatever else a filter asks for is judged here, row by row, of a bounded number of rows.
"""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic_core import from_json
from sqlalchemy import BigInteger, Integer, Text, bindparam, select
from sqlalchemy import tuple_ as row_of

from queue_service.store.rows import Rows
from queue_service.store.statements import Connection, Row
from queue_service.store.tables import tasks
from queue_service.store.tasks import SELECT_DEFINITIONS
from schemas.search import SearchTasksRequest, TaskFilter
from schemas.task import PRIORITIES, TaskState
from schemas.times import parse_time, to_ms

MAX_EXAMINED: Final = 5000
"""Rows that one page looks at."""
CHUNK: Final = 1000
STATES: Final[tuple[TaskState, ...]] = (
    "unscheduled",
    "pending",
    "running",
    "completed",
    "failed",
    "exception",
)

_facts = select(
    tasks.c.task_id,
    tasks.c.state,
    tasks.c.since,
    tasks.c.task_queue_id,
    tasks.c.priority,
    tasks.c.deadline,
    tasks.c.expires,
    tasks.c.tags,
)
_limit = bindparam("wanted", type_=Integer)
_after_id = bindparam("task_id", type_=Text)
_ids = Rows("ids", task_id=Text)
_here = row_of(tasks.c.since, tasks.c.task_id)
_there = row_of(bindparam("since", type_=BigInteger), bindparam("task_id", type_=Text))
_in_state = _facts.where(tasks.c.state == bindparam("state", type_=Text))

BY_ID: Final = _facts.where(tasks.c.task_id > _after_id).order_by(tasks.c.task_id).limit(_limit)
BY_ID_DOWN: Final = _facts.where(tasks.c.task_id < _after_id).order_by(tasks.c.task_id.desc()).limit(_limit)
BY_TIME: Final = _in_state.where(_here > _there).order_by(tasks.c.since, tasks.c.task_id).limit(_limit)
BY_TIME_DOWN: Final = (
    _in_state.where(_here < _there).order_by(tasks.c.since.desc(), tasks.c.task_id.desc()).limit(_limit)
)
THESE: Final = _facts.select_from(_ids.join(tasks, tasks.c.task_id == _ids.c.task_id))


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a walk is: behind this task; without the time when it goes by id."""

    since: int
    task_id: str


FIRST: Final = Place(-1, "")
LAST: Final = Place(2**62, "~")
"""Behind every task, for walks that go down."""


@dataclass(frozen=True, slots=True)
class Found:
    """The tasks of a page, and where to go on; None when there is nothing more."""

    task_ids: list[str]
    rest: Place | None


async def find(
    connection: Connection, asked: TaskFilter, after: Place | None, wanted: int, *, by: "Order"
) -> Found:
    """Up to ``wanted`` tasks that fit the filter, in this order; of some thousand rows at most."""
    place = after or by.start
    found: list[str] = []
    examined = 0
    while examined < MAX_EXAMINED:
        chunk, more = await _chunk(connection, asked, place, by)
        fitting = await _fitting(connection, chunk, asked)
        for row in chunk:
            if row.task_id in fitting:
                if len(found) == wanted:
                    return Found(found, place)
                found.append(row.task_id)
            place = by.place(row)
        examined += len(chunk)
        if not more:
            return Found(found, None)
    return Found(found, place)


@dataclass(frozen=True, slots=True)
class Order:
    """By id, or by the time at which tasks got into their states; up or down."""

    by_time: bool = False
    down: bool = False

    @classmethod
    def of(cls, request: SearchTasksRequest) -> "Order":
        return cls(request.order == "time", request.descending)

    @property
    def start(self) -> Place:
        return LAST if self.down else FIRST

    def place(self, row: Row) -> Place:
        return Place(to_ms(row.since) if self.by_time else 0, row.task_id)


async def _chunk(
    connection: Connection, asked: TaskFilter, after: Place, by: Order
) -> tuple[Sequence[Row], bool]:
    """The next rows in the order, and whether there may be more."""
    if asked.task_ids is not None:
        rows = (await connection.execute(THESE, _ids.of(list(dict.fromkeys(asked.task_ids))))).all()
        ordered = sorted(rows, key=by.place, reverse=by.down)
        return [
            row for row in ordered if (by.place(row) < after if by.down else by.place(row) > after)
        ], False
    if not by.by_time:
        statement = BY_ID_DOWN if by.down else BY_ID
        rows = (await connection.execute(statement, {"task_id": after.task_id, "wanted": CHUNK})).all()
        return rows, len(rows) == CHUNK
    states = dict.fromkeys(asked.states or STATES)
    share = CHUNK // len(states)
    parts = [await _of_state(connection, state, after, by, share) for state in states]
    merged = heapq.merge(*parts, key=by.place, reverse=by.down)
    cut = [by.place(part[-1]) for part in parts if len(part) == share]
    if not cut:
        return list(merged), False
    # What comes behind the last row of a state that has more may come behind rows not yet read.
    horizon = max(cut) if by.down else min(cut)
    return [
        row for row in merged if (by.place(row) >= horizon if by.down else by.place(row) <= horizon)
    ], True


async def _of_state(
    connection: Connection, state: TaskState, after: Place, by: Order, wanted: int
) -> Sequence[Row]:
    values = {"state": state, "since": after.since, "task_id": after.task_id, "wanted": wanted}
    return (await connection.execute(BY_TIME_DOWN if by.down else BY_TIME, values)).all()


async def _fitting(connection: Connection, rows: Sequence[Row], asked: TaskFilter) -> set[str]:
    """The ids of those rows that fit; definitions are read where only they tell."""
    fitting = {row.task_id for row in rows if _facts_fit(row, asked)}
    if not fitting or (asked.kinds is None and asked.metadata is None and asked.created is None):
        return fitting
    defined = await connection.execute(SELECT_DEFINITIONS, _ids.of(sorted(fitting)))
    return {row.task_id for row in defined if _definition_fits(from_json(row.definition), asked)}


def _facts_fit(row: Row, asked: TaskFilter) -> bool:
    if asked.states is not None and row.state not in asked.states:
        return False
    if asked.task_queue_ids is not None and row.task_queue_id not in asked.task_queue_ids:
        return False
    if asked.priorities is not None and PRIORITIES[row.priority] not in asked.priorities:
        return False
    if (
        (asked.since is not None and not asked.since.has(row.since))
        or (asked.deadline is not None and not asked.deadline.has(row.deadline))
        or (asked.expires is not None and not asked.expires.has(row.expires))
    ):
        return False
    if asked.tags_all is None and asked.tags_any is None:
        return True
    tags = from_json(row.tags)
    return (asked.tags_all is None or contains(tags, asked.tags_all)) and (
        asked.tags_any is None or any(tags.get(name) == value for name, value in asked.tags_any.items())
    )


def _definition_fits(definition: Mapping[str, Any], asked: TaskFilter) -> bool:
    return (
        (asked.kinds is None or definition["payload"].get("kind", "") in asked.kinds)
        and (asked.metadata is None or contains(definition["metadata"], asked.metadata))
        and (asked.created is None or asked.created.has(parse_time(definition["created"])))
    )


def contains(whole: Any, part: Any) -> bool:
    """Whether JSON has another inside: objects by their members, anything else by being equal."""
    if isinstance(part, Mapping):
        return isinstance(whole, Mapping) and all(
            name in whole and contains(whole[name], value) for name, value in part.items()
        )
    if isinstance(whole, bool) or isinstance(part, bool):
        return whole is part
    return bool(whole == part)
