"""Rows of triggers."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic_core import from_json, to_json
from sqlalchemy import (
    BigInteger,
    Integer,
    SmallInteger,
    Text,
    bindparam,
    delete,
    func,
    select,
    text,
    true,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.sql.dml import ReturningUpdate

from queue_service.features.triggers.rules import Key, Trigger
from queue_service.features.triggers.tables import DUE, LISTENING, triggers
from queue_service.features.triggers.windows import Coverage, Covered, Range
from queue_service.store.database import Concurrent, Tx
from queue_service.store.rows import Rows
from queue_service.store.statements import Connection, Row
from queue_service.store.types import Milliseconds
from schemas.times import MILLISECOND, from_ms, to_ms
from schemas.triggers import CreateTriggerRequest

_t = triggers.c
_wanted = bindparam("wanted", type_=Integer)
_now = bindparam("now", type_=Milliseconds)
_OF: Final = (
    _t.group_id == bindparam("of_group", type_=Text),
    _t.trigger_id == bindparam("of_trigger", type_=Text),
)

_keys = Rows("keys", group_id=Text, trigger_id=Text)
_found = (_t.group_id == _keys.c.group_id) & (_t.trigger_id == _keys.c.trigger_id)
SELECT: Final = select(triggers).where(*_OF)
LOCK: Final = (
    select(triggers)
    .select_from(_keys.join(triggers, _found))
    .order_by(_t.group_id, _t.trigger_id)
    .with_for_update(of=triggers)
)
PICK_DUE: Final = (
    select(triggers)
    .where(text(DUE), _t.due_at <= _now)
    .order_by(_t.due_at)
    .limit(_wanted)
    .with_for_update(skip_locked=True)
)
NEXT_DUE: Final = select(func.min(_t.due_at)).where(text(DUE))
LISTEN: Final = (
    select(triggers)
    .where(text(LISTENING), _t.listens == bindparam("listens", type_=SmallInteger))
    .order_by(_t.group_id, _t.trigger_id)
)
_MESSAGES: Final = 1
_SETS: Final = 2
PAGE: Final = (
    select(triggers)
    .where(
        tuple_(_t.group_id, _t.trigger_id)
        > tuple_(bindparam("after_group", type_=Text), bindparam("after_trigger", type_=Text))
    )
    .order_by(_t.group_id, _t.trigger_id)
    .limit(_wanted)
)

_MOVING: Final[dict[str, Any]] = {
    "state": Text,
    "offset_ms": BigInteger,
    "next_tick": BigInteger,
    "waiting": BigInteger,
    "due_at": BigInteger,
    "listens": SmallInteger,
    "progress": Text,
    "fires": BigInteger,
    "counted": BigInteger,
    "version": Integer,
}
_KEY: Final[dict[str, Any]] = {"group_id": Text, "trigger_id": Text}
_ALL: Final[dict[str, Any]] = {**_KEY, "created": BigInteger, "definition": Text, **_MOVING}
_new = Rows("given", **_ALL)
INSERT: Final = (
    upsert(triggers)
    .from_select(list(_ALL), select(*_new.c).where(true()))
    .on_conflict_do_nothing()
    .returning(_t.trigger_id)
)


def _update(changed: Rows, columns: Iterable[str]) -> ReturningUpdate[Any]:
    return (
        update(triggers)
        .where(
            _t.group_id == changed.c.group_id,
            _t.trigger_id == changed.c.trigger_id,
            _t.version == changed.c.version - 1,
        )
        .values({name: changed.c[name] for name in columns})
        .returning(_t.trigger_id)
    )


_changed = Rows("changed", **_KEY, definition=Text, **_MOVING)
SAVE: Final = _update(_changed, ["definition", *_MOVING])
_moved = Rows("moved", **_KEY, **_MOVING)
MOVE: Final = _update(_moved, _MOVING)
DELETE: Final = delete(triggers).where(*_OF).returning(_t.trigger_id)


async def get(connection: Connection, key: Key) -> Trigger | None:
    row = (await connection.execute(SELECT, {"of_group": key[0], "of_trigger": key[1]})).first()
    return None if row is None else _trigger(row)


async def lock(tx: Tx, keys: Iterable[Key]) -> dict[Key, Trigger]:
    """The triggers that exist, which nobody else changes before the end of the transaction."""
    rows = [{"group_id": group_id, "trigger_id": trigger_id} for group_id, trigger_id in keys]
    if not rows:
        return {}
    found = [_trigger(row) for row in await tx.connection.execute(LOCK, _keys.parameters(rows))]
    return {trigger.key: trigger for trigger in found}


async def pick_due(tx: Tx, until: datetime, wanted: int) -> list[Trigger]:
    """Triggers to look at by then, who waits longest first, locked, without those that others work on."""
    rows = await tx.connection.execute(PICK_DUE, {"now": until, "wanted": wanted})
    return [_trigger(row) for row in rows]


async def next_due(connection: Connection) -> datetime | None:
    """When the next trigger must be looked at."""
    due: datetime | None = (await connection.execute(NEXT_DUE)).scalar()
    return due


async def listening(connection: Connection) -> list[Trigger]:
    """The triggers that messages may fire."""
    return [_trigger(row) for row in await connection.execute(LISTEN, {"listens": _MESSAGES})]


async def popping(connection: Connection) -> list[Trigger]:
    """The triggers that drain worksets."""
    return [_trigger(row) for row in await connection.execute(LISTEN, {"listens": _SETS})]


async def page(connection: Connection, after: Key, wanted: int) -> list[Trigger]:
    """Triggers in the order of their keys, of those behind this one."""
    values = {"after_group": after[0], "after_trigger": after[1], "wanted": wanted}
    return [_trigger(row) for row in await connection.execute(PAGE, values)]


async def create(tx: Tx, trigger: Trigger) -> None:
    """Write a new trigger. Raises Concurrent when it is there already."""
    if (await tx.connection.execute(INSERT, _new.parameters([_values(trigger)]))).first() is None:
        raise Concurrent("another transaction created the same trigger")


async def save(tx: Tx, changes: Sequence[tuple[Trigger, Trigger]]) -> None:
    """Write triggers that were locked, as they were and as they are now, over the version that was read.

    Raises Concurrent.
    """
    edited = [after for before, after in changes if before.definition is not after.definition]
    moved = [after for before, after in changes if before.definition is after.definition]
    rows = [
        {**_key(trigger), "definition": _definition(trigger), **_moving(trigger, 1)} for trigger in edited
    ]
    await _written(tx, SAVE, _changed, rows)
    await _written(tx, MOVE, _moved, [{**_key(trigger), **_moving(trigger, 1)} for trigger in moved])


async def _written(
    tx: Tx, statement: ReturningUpdate[Any], given: Rows, rows: Sequence[dict[str, Any]]
) -> None:
    if rows and len((await tx.connection.execute(statement, given.parameters(rows))).all()) != len(rows):
        raise Concurrent("a trigger changed between reading and writing it")


async def remove(tx: Tx, key: Key) -> bool:
    """Delete a trigger; whether there was one."""
    values = {"of_group": key[0], "of_trigger": key[1]}
    return (await tx.connection.execute(DELETE, values)).first() is not None


def _values(trigger: Trigger) -> dict[str, Any]:
    fixed = {"created": to_ms(trigger.created), "definition": _definition(trigger)}
    return {**_key(trigger), **fixed, **_moving(trigger, 0)}


def _key(trigger: Trigger) -> dict[str, Any]:
    return {"group_id": trigger.group_id, "trigger_id": trigger.trigger_id}


def _definition(trigger: Trigger) -> str:
    return trigger.definition.to_json().decode()


def _moving(trigger: Trigger, changes: int) -> dict[str, Any]:
    """What changes without its owner; the version is so much above the one that was read."""
    return {
        "state": trigger.state,
        "offset_ms": trigger.offset // MILLISECOND,
        "next_tick": _ms(trigger.next_tick),
        "waiting": _ms(trigger.waiting),
        "due_at": _ms(trigger.due),
        "listens": _listens(trigger),
        "progress": to_json(_progress(trigger)).decode(),
        "fires": trigger.fires,
        "counted": trigger.counted,
        "version": trigger.version + changes,
    }


def _listens(trigger: Trigger) -> int:
    if trigger.state != "active":
        return 0
    if trigger.definition.message is not None:
        return _MESSAGES
    return _SETS if trigger.definition.pop_batch is not None else 0


def _ms(moment: datetime | None) -> int | None:
    return None if moment is None else to_ms(moment)


def _progress(trigger: Trigger) -> dict[str, Any]:
    progress: dict[str, Any] = {}
    if trigger.unfinished:
        progress["unfinished"] = trigger.unfinished
    if (coverage := trigger.coverage) is not None:
        progress["mark"] = to_ms(coverage.mark)
        progress["ranges"] = [
            (to_ms(one.range.start), to_ms(one.range.end), one.task_id, one.state, one.tries)
            for one in coverage.ranges
        ]
    return progress


def _trigger(row: Row) -> Trigger:
    progress = from_json(row.progress)
    coverage = None
    if "mark" in progress:
        ranges = (
            Covered(Range(from_ms(start), from_ms(end)), task_id, state, tries)
            for start, end, task_id, state, tries in progress["ranges"]
        )
        coverage = Coverage(from_ms(progress["mark"]), tuple(ranges))
    return Trigger(
        group_id=row.group_id,
        trigger_id=row.trigger_id,
        definition=CreateTriggerRequest.from_json(row.definition),
        created=row.created,
        offset=timedelta(milliseconds=row.offset_ms),
        state=row.state,
        next_tick=row.next_tick,
        waiting=row.waiting,
        unfinished=tuple(progress.get("unfinished", ())),
        coverage=coverage,
        fires=row.fires,
        counted=row.counted,
        version=row.version,
    )
