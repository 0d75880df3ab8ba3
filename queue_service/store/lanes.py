"""Lanes of task queues, the slots of runs that are under way, and token buckets.

Exact across processes: whoever claims from a task queue with limits has locked its row, and a slot counts as
long as the task's run is running, whatever became of the claim that took it. So nothing has to be given back,
and no crash can leak a slot.

A lane has a row while runs may wait in it. Who makes a run wait there writes the row and so waits for a claim
that has locked it; a claim passes over rows that are locked. So a lane is never shut or deleted behind the
back of a run that just came.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pydantic_core import from_json
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    SmallInteger,
    Text,
    and_,
    bindparam,
    case,
    cast,
    delete,
    func,
    null,
    select,
    text,
    true,
    tuple_,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction

from queue_service.core.lanes import Level, Tokens, slots_of
from queue_service.core.turns import Waiting
from queue_service.store.database import Tx
from queue_service.store.rows import Rows
from queue_service.store.tables import IN_LANE, PENDING, RUNNING, rate_buckets, run_slots, task_lanes, tasks
from queue_service.store.types import Milliseconds
from schemas.task import PRIORITIES
from schemas.times import from_ms, to_ms

_now = bindparam("now", type_=Milliseconds)
_limit = bindparam("wanted", type_=Integer)
_queue_id = bindparam("of_queue", type_=Text)


class json_array_of(GenericFunction[str]):
    """All rows of a subquery as one JSON array of arrays."""

    type = Text()
    inherit_cache = True


@compiles(json_array_of, "postgresql")
def _json_agg(element: Any, compiler: SQLCompiler, **kw: Any) -> str:
    return f"CAST(json_agg(json_build_array({compiler.process(element.clauses, **kw)})) AS TEXT)"


@compiles(json_array_of, "sqlite")
def _json_group_array(element: Any, compiler: SQLCompiler, **kw: Any) -> str:
    return f"json_group_array(json_array({compiler.process(element.clauses, **kw)}))"


# ---- lanes: statements --------------------------------------------------------------------------------

_filled = Rows("filled", task_queue_id=Text, lane=Text, priority=SmallInteger, turn=BigInteger)
_insert_lanes = upsert(task_lanes).from_select(
    ["task_queue_id", "lane", "priority", "turn", "shut_until"],
    select(*_filled.columns, text("0")).where(true()).order_by(_filled.c.task_queue_id, _filled.c.lane),
)
_urgency = _insert_lanes.excluded.priority
FILL: Final = _insert_lanes.on_conflict_do_update(
    index_elements=["task_queue_id", "lane"],
    set_={
        "shut_until": text("0"),
        "priority": case((_urgency < task_lanes.c.priority, _urgency), else_=task_lanes.c.priority),
    },
)
_named = Rows("named", task_queue_id=Text, lane=Text)
_is_named = and_(task_lanes.c.task_queue_id == _named.c.task_queue_id, task_lanes.c.lane == _named.c.lane)
OPEN: Final = update(task_lanes).values(shut_until=text("0")).where(_is_named)
OPEN_ALL: Final = (
    update(task_lanes)
    .values(shut_until=text("0"))
    .where(task_lanes.c.task_queue_id == _queue_id, task_lanes.c.shut_until > _now)
)
NEXT_LANES: Final = (
    select(task_lanes.c.lane, task_lanes.c.turn)
    .where(task_lanes.c.task_queue_id == _queue_id, task_lanes.c.shut_until <= _now)
    .order_by(task_lanes.c.priority, task_lanes.c.turn)
    .limit(_limit)
    .with_for_update(skip_locked=True)
)
_lanes = Rows("lanes", each=Text)


def _in(lane: ColumnElement[str]) -> ColumnElement[bool]:
    return and_(
        text(IN_LANE), tasks.c.task_queue_id == _queue_id, tasks.c.lane == lane, tasks.c.deadline > _now
    )


_first = (
    select(tasks.c.task_id, tasks.c.priority, tasks.c.queue_order)
    .where(_in(_lanes.c.each))
    .order_by(tasks.c.priority, tasks.c.queue_order)
    .limit(_limit)
    .correlate(_lanes)
    .subquery("waiting")
)
_waiting_in = select(
    _lanes.c.each.label("name"),
    select(json_array_of(*_first.c)).scalar_subquery().label("first"),
    cast(null(), BigInteger).label("slots"),
    cast(null(), BigInteger).label("running"),
).select_from(_lanes)
_buckets = Rows("buckets", bucket=Text)
_of_bucket = and_(run_slots.c.task_queue_id == _queue_id, run_slots.c.bucket == _buckets.c.bucket)
# Looked up by the id of each slot's task: a join would let PostgreSQL, while it knows nothing of new tables,
# read all running tasks for each slot.
_still = (
    select(tasks.c.state).where(tasks.c.task_id == run_slots.c.task_id).correlate(run_slots).scalar_subquery()
) == "running"
_slots = select(func.count()).select_from(run_slots).where(_of_bucket).correlate(_buckets)
# Counted for one bucket after the other: without statistics, PostgreSQL would read the slots of all buckets.
_held = select(
    _buckets.c.bucket, cast(null(), Text), _slots.scalar_subquery(), _slots.where(_still).scalar_subquery()
).select_from(_buckets)
LOOK_INTO: Final = union_all(_waiting_in, _held)
MEMBERS: Final = (
    select(tasks.c.task_id, tasks.c.priority)
    .select_from(_lanes.join(tasks, _in(_lanes.c.each)))
    .limit(_limit)
    .with_for_update(of=tasks, skip_locked=True)
)
_served = Rows(
    "served", task_queue_id=Text, lane=Text, priority=SmallInteger, turn=BigInteger, shut_until=BigInteger
)
SERVE: Final = (
    update(task_lanes)
    .values({name: _served.c[name] for name in ("priority", "turn", "shut_until")})
    .where(task_lanes.c.task_queue_id == _served.c.task_queue_id, task_lanes.c.lane == _served.c.lane)
)
# The name of the task queue comes with each row: without statistics, PostgreSQL would read all of its lanes.
DELETE: Final = delete(task_lanes).where(
    tuple_(task_lanes.c.task_queue_id, task_lanes.c.lane).in_(select(*_named.columns))
)
_waits = select(tasks.c.task_id).where(_in(task_lanes.c.lane)).correlate(task_lanes).limit(1)
DELETE_EMPTY: Final = DELETE.where(_waits.scalar_subquery().is_(None))

# ---- runs that wait in no lane: statements -------------------------------------------------------------

_beside = and_(text(PENDING), tasks.c.task_queue_id == _queue_id, tasks.c.deadline > _now)
NEWCOMERS: Final = (
    select(tasks.c.task_id, tasks.c.priority)
    .where(_beside)
    .order_by(tasks.c.priority, tasks.c.queue_order)
    .limit(_limit)
    .with_for_update(skip_locked=True)
)
BESIDE: Final = (
    select(tasks.c.task_id, tasks.c.priority, tasks.c.queue_order)
    .where(_beside)
    .order_by(tasks.c.priority, tasks.c.queue_order)
    .limit(_limit)
)
OLDEST_BESIDE: Final = union_all(
    *(
        select(
            select(tasks.c.task_id, tasks.c.priority, tasks.c.queue_order)
            .where(_beside, tasks.c.priority == text(str(priority)))
            .order_by(tasks.c.queue_order)
            .limit(_limit)
            .subquery(f"of_{priority}")
        )
        for priority in range(len(PRIORITIES))
    )
)
_moved = Rows("moved", task_id=Text, lane=Text)
MOVE: Final = update(tasks).values(lane=_moved.c.lane).where(tasks.c.task_id == _moved.c.task_id)

# ---- buckets: statements -------------------------------------------------------------------------------

COUNT_RUNNING: Final = (
    select(func.count()).select_from(tasks).where(text(RUNNING), tasks.c.task_queue_id == _queue_id)
)
SWEEP_SLOTS: Final = delete(run_slots).where(
    tuple_(run_slots.c.task_queue_id, run_slots.c.bucket).in_(select(_queue_id, _buckets.c.bucket)),
    _still.is_not(true()),
)
_taken = Rows("taken", bucket=Text, task_id=Text)
TAKE_SLOTS: Final = (
    upsert(run_slots)
    .from_select(
        ["task_queue_id", "bucket", "task_id"],
        select(_queue_id, *_taken.columns).where(true()).order_by(_taken.c.bucket, _taken.c.task_id),
    )
    .on_conflict_do_nothing()
)
_freed = Rows("freed", task_queue_id=Text, bucket=Text, task_id=Text)
FREE_SLOTS: Final = delete(run_slots).where(
    tuple_(run_slots.c.task_queue_id, run_slots.c.bucket, run_slots.c.task_id).in_(select(*_freed.columns))
)
LEVELS: Final = select(rate_buckets.c.bucket, rate_buckets.c.spent, rate_buckets.c.counted_at).select_from(
    _buckets.join(
        rate_buckets,
        and_(rate_buckets.c.task_queue_id == _queue_id, rate_buckets.c.bucket == _buckets.c.bucket),
    )
)
_level = Rows("level", bucket=Text, spent=BigInteger, counted_at=BigInteger, full_at=BigInteger)
_insert_levels = upsert(rate_buckets).from_select(
    ["task_queue_id", "bucket", "spent", "counted_at", "full_at"],
    select(_queue_id, *_level.columns).where(true()).order_by(_level.c.bucket),
)
SAVE_LEVELS: Final = _insert_levels.on_conflict_do_update(
    index_elements=["task_queue_id", "bucket"],
    set_={name: _insert_levels.excluded[name] for name in ("spent", "counted_at", "full_at")},
)
FULL: Final = (
    select(rate_buckets.c.task_queue_id, rate_buckets.c.bucket)
    .where(rate_buckets.c.full_at <= bindparam("before", type_=Milliseconds))
    .order_by(rate_buckets.c.full_at)
    .limit(_limit)
    .with_for_update(skip_locked=True)
)
_full = Rows("full_ones", task_queue_id=Text, bucket=Text)
DELETE_LEVELS: Final = delete(rate_buckets).where(
    tuple_(rate_buckets.c.task_queue_id, rate_buckets.c.bucket).in_(select(*_full.columns))
)


# ---- lanes ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Served:
    """What becomes of a lane after a claim has looked into it."""

    lane: str
    priority: int
    turn: int
    shut_until: datetime


async def fill(tx: Tx, arrivals: Mapping[tuple[str, str], int]) -> None:
    """Runs wait in these lanes (task queue and name), the most urgent of this priority."""
    if arrivals:
        turn = to_ms(tx.now) * 1000  # before all that gets in line in this transaction
        rows = (
            {"task_queue_id": queue, "lane": lane, "priority": priority, "turn": turn}
            for (queue, lane), priority in arrivals.items()
        )
        await tx.connection.execute(FILL, _filled.parameters(rows))


async def open_again(tx: Tx, lanes: Iterable[tuple[str, str]]) -> None:
    """Runs of these lanes (task queue and name) have ended: claims have to look into them again."""
    rows = [{"task_queue_id": queue, "lane": lane} for queue, lane in sorted(lanes)]
    if rows:
        await tx.connection.execute(OPEN, _named.parameters(rows))


async def open_all(tx: Tx, task_queue_id: str) -> None:
    """The limits of this task queue have changed: claims have to look into all lanes again."""
    await _run(tx, OPEN_ALL, task_queue_id, now=tx.now)


async def lock_next(tx: Tx, task_queue_id: str, wanted: int) -> dict[str, int]:
    """The turns of the next lanes, by name; locked, but for those that somebody writes just now."""
    rows = await _run(tx, NEXT_LANES, task_queue_id, now=tx.now, wanted=wanted)
    return {row.lane: row.turn for row in rows}


async def look_into(
    tx: Tx, task_queue_id: str, lanes: Iterable[str], wanted: int, buckets: Iterable[str]
) -> tuple[dict[str, list[Waiting]], dict[str, int]]:
    """The first runs of each lane, and how many running runs hold a slot of each bucket.

    Slots that others have left behind are forgotten.
    """
    given = {**_lanes.of(list(lanes)), **_buckets.of(list(buckets))}
    rows = (await _run(tx, LOOK_INTO, task_queue_id, now=tx.now, wanted=wanted, **given)).all()
    first = {row.name: _waiting(row.first) for row in rows if row.slots is None}
    held = {row.name: row for row in rows if row.slots is not None}
    if any(row.slots > row.running for row in held.values()):
        await _run(tx, SWEEP_SLOTS, task_queue_id, **_buckets.of(list(held)))
    return first, {name: row.running for name, row in held.items()}


async def serve(tx: Tx, task_queue_id: str, served: Sequence[Served]) -> None:
    """Write lanes that this transaction has locked."""
    if served:
        rows = (
            {
                "task_queue_id": task_queue_id,
                "lane": each.lane,
                "priority": each.priority,
                "turn": each.turn,
                "shut_until": to_ms(each.shut_until),
            }
            for each in served
        )
        await tx.connection.execute(SERVE, _served.parameters(rows))


async def delete_served(tx: Tx, task_queue_id: str, lanes: Sequence[str]) -> None:
    """Forget lanes, which this transaction has locked, of which it has taken every run that waited."""
    if lanes:
        await tx.connection.execute(DELETE, _names(task_queue_id, lanes))


async def delete_empty(tx: Tx, task_queue_id: str, lanes: Sequence[str]) -> None:
    """Forget those of these lanes, which this transaction has locked, in which no run waits."""
    if lanes:
        await _run(tx, DELETE_EMPTY, task_queue_id, now=tx.now, **_names(task_queue_id, lanes))


async def members(tx: Tx, task_queue_id: str, lanes: Sequence[str], wanted: int) -> dict[str, int]:
    """The priorities of tasks whose runs wait in these lanes, by id; locked."""
    found = await _run(tx, MEMBERS, task_queue_id, now=tx.now, wanted=wanted, **_lanes.of(lanes))
    return {row.task_id: row.priority for row in found}


async def move(tx: Tx, lanes: Mapping[str, str]) -> None:
    """Give tasks, which this transaction has locked, other lanes."""
    if lanes:
        rows = ({"task_id": task_id, "lane": lane} for task_id, lane in lanes.items())
        await tx.connection.execute(MOVE, _moved.parameters(rows))


# ---- runs that wait in no lane -------------------------------------------------------------------------


async def newcomers(tx: Tx, task_queue_id: str, wanted: int) -> dict[str, int]:
    """The priorities of tasks whose runs wait in no lane, by id: the most urgent and oldest ones; locked."""
    rows = await _run(tx, NEWCOMERS, task_queue_id, now=tx.now, wanted=wanted)
    return {row.task_id: row.priority for row in rows}


async def beside(tx: Tx, task_queue_id: str, wanted: int, *, oldest: bool) -> list[Waiting]:
    """Runs that wait in no lane: the most urgent ones, or the oldest of each priority; not locked."""
    statement: Any = OLDEST_BESIDE if oldest else BESIDE
    rows = await _run(tx, statement, task_queue_id, now=tx.now, wanted=wanted)
    return [Waiting(row.task_id, row.priority, row.queue_order) for row in rows]


# ---- buckets -------------------------------------------------------------------------------------------


async def count_running(tx: Tx, task_queue_id: str) -> int:
    """How many runs of the task queue workers have."""
    return int((await _run(tx, COUNT_RUNNING, task_queue_id)).scalar_one())


async def take_slots(tx: Tx, task_queue_id: str, taken: Iterable[tuple[str, str]]) -> None:
    """These runs (bucket and task) are under way from now on."""
    rows = [{"bucket": bucket, "task_id": task_id} for bucket, task_id in taken]
    if rows:
        await _run(tx, TAKE_SLOTS, task_queue_id, **_taken.parameters(rows))


async def free_slots(tx: Tx, ended: Iterable[tuple[str, str, str]]) -> None:
    """Forget the slots of runs that have ended: of this task queue, in this lane, of this task."""
    rows = [
        {"task_queue_id": queue, "bucket": bucket, "task_id": task_id}
        for queue, lane, task_id in ended
        for bucket in slots_of(lane)
    ]
    if rows:
        await tx.connection.execute(FREE_SLOTS, _freed.parameters(rows))


async def levels(tx: Tx, task_queue_id: str, buckets: Sequence[Tokens]) -> dict[str, Level]:
    """The level of each token bucket, now."""
    if not buckets:
        return {}
    found = await _run(tx, LEVELS, task_queue_id, **_buckets.of([bucket.name for bucket in buckets]))
    stored = {row.bucket: Level(row.spent, to_ms(row.counted_at)) for row in found}
    now = to_ms(tx.now)
    return {bucket.name: stored.get(bucket.name, Level(0, now)).later(bucket, now) for bucket in buckets}


async def save_levels(tx: Tx, task_queue_id: str, changed: Mapping[Tokens, Level]) -> None:
    """Write the levels of token buckets."""
    if changed:
        rows = (
            {
                "bucket": bucket.name,
                "spent": level.spent,
                "counted_at": level.at_ms,
                "full_at": level.full_ms(bucket),
            }
            for bucket, level in changed.items()
        )
        await _run(tx, SAVE_LEVELS, task_queue_id, **_level.parameters(rows))


async def delete_full(tx: Tx, before: datetime, limit: int) -> int:
    """Forget token buckets that have been full for long; how many there were."""
    rows = (await tx.connection.execute(FULL, {"before": before, "wanted": limit})).all()
    if rows:
        given = ({"task_queue_id": row.task_queue_id, "bucket": row.bucket} for row in rows)
        await tx.connection.execute(DELETE_LEVELS, _full.parameters(given))
    return len(rows)


async def _run(tx: Tx, statement: Any, task_queue_id: str, **values: Any) -> Any:
    return await tx.connection.execute(statement, {"of_queue": task_queue_id, **values})


def _names(task_queue_id: str, lanes: Iterable[str]) -> dict[str, str]:
    return _named.parameters({"task_queue_id": task_queue_id, "lane": lane} for lane in lanes)


def _waiting(found: str | None) -> list[Waiting]:
    runs = [Waiting(*each) for each in from_json(found or "[]")]
    return sorted(runs, key=lambda run: (run.priority, run.age))


EPOCH: Final = from_ms(0)
"""When a lane is open."""
