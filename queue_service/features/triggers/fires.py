"""Rows of firings: what fired a trigger, and which task came of it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from sqlalchemy import BigInteger, Integer, Text, bindparam, delete, insert, select, tuple_

from queue_service.features.triggers.rules import Firing, Key
from queue_service.features.triggers.tables import trigger_fires
from queue_service.features.triggers.windows import Range
from queue_service.store.database import Tx
from queue_service.store.rows import Rows
from queue_service.store.statements import Connection, Row
from schemas.times import to_ms

SHOWN: Final = 50
"""Firings of a trigger that are kept, however old."""
KEPT: Final = timedelta(hours=24)
"""How long a firing is kept at least: so long a message fires only once (TR-6)."""
MAX_ERROR: Final = 16 * 1024
"""Characters kept of why there is no task."""

Outcome = Literal["created", "duplicate", "error"]
_f = trigger_fires.c
_COLUMNS: Final[dict[str, Any]] = {
    "group_id": Text,
    "trigger_id": Text,
    "number": BigInteger,
    "occasion": Text,
    "fired_by": Text,
    "task_id": Text,
    "created": BigInteger,
    "scheduled_for": BigInteger,
    "window_from": BigInteger,
    "window_to": BigInteger,
    "outcome": Text,
    "error": Text,
    "lease_id": Text,
}
_given = Rows("given", **_COLUMNS)
RECORD: Final = insert(trigger_fires).from_select(list(_COLUMNS), select(*_given.c))
_occasions = Rows("occasions", group_id=Text, trigger_id=Text, occasion=Text)
KNOWN: Final = select(_f.group_id, _f.trigger_id, _f.occasion).select_from(
    _occasions.join(
        trigger_fires,
        (_f.group_id == _occasions.c.group_id)
        & (_f.trigger_id == _occasions.c.trigger_id)
        & (_f.occasion == _occasions.c.occasion),
    )
)
_tasks = Rows("ended", task_id=Text)
OF_TASKS: Final = select(trigger_fires).select_from(
    _tasks.join(trigger_fires, _f.task_id == _tasks.c.task_id)
)
_of_trigger = (
    _f.group_id == bindparam("of_group", type_=Text),
    _f.trigger_id == bindparam("of_trigger", type_=Text),
)
LAST: Final = (
    select(trigger_fires)
    .where(*_of_trigger)
    .order_by(_f.number.desc())
    .limit(bindparam("wanted", type_=Integer))
)
FORGET: Final = delete(trigger_fires).where(*_of_trigger)
_old = Rows("old", group_id=Text, trigger_id=Text, number=BigInteger, created=BigInteger)
PRUNE: Final = delete(trigger_fires).where(
    tuple_(_f.group_id, _f.trigger_id, _f.number).in_(
        select(_f.group_id, _f.trigger_id, _f.number).select_from(
            _old.join(
                trigger_fires,
                (_f.group_id == _old.c.group_id)
                & (_f.trigger_id == _old.c.trigger_id)
                & (_f.number <= _old.c.number)
                & (_f.created < _old.c.created),
            )
        )
    )
)


@dataclass(frozen=True, slots=True)
class Fire:
    """A firing as it is kept; ``lease_id`` is of the batch that its task works on."""

    key: Key
    number: int
    occasion: str
    firing: Firing
    created: datetime
    outcome: Outcome = "created"
    error: str | None = None
    lease_id: str | None = None


async def record(tx: Tx, fires: Sequence[Fire]) -> None:
    """Write down firings, and forget those of the same triggers that are old and not among the last."""
    if not fires:
        return
    await tx.connection.execute(RECORD, _given.parameters(map(_values, fires)))
    last = {fire.key: fire.number for fire in fires}
    before = to_ms(tx.now - KEPT)
    rows = [
        {"group_id": key[0], "trigger_id": key[1], "number": number - SHOWN, "created": before}
        for key, number in last.items()
        if number > SHOWN
    ]
    if rows:
        await tx.connection.execute(PRUNE, _old.parameters(rows))


async def known(connection: Connection, occasions: Iterable[tuple[Key, str]]) -> set[tuple[Key, str]]:
    """Those of these occasions that have fired their trigger already."""
    rows = [{"group_id": key[0], "trigger_id": key[1], "occasion": occasion} for key, occasion in occasions]
    found = await connection.execute(KNOWN, _occasions.parameters(rows)) if rows else ()
    return {((row.group_id, row.trigger_id), row.occasion) for row in found}


async def of_tasks(connection: Connection, task_ids: Sequence[str]) -> list[Fire]:
    """The firings that created these tasks."""
    return [_fire(row) for row in await connection.execute(OF_TASKS, _tasks.of(task_ids))]


async def last(connection: Connection, key: Key, wanted: int) -> list[Fire]:
    """The last firings of a trigger, the newest first."""
    values = {"of_group": key[0], "of_trigger": key[1], "wanted": wanted}
    return [_fire(row) for row in await connection.execute(LAST, values)]


async def forget(tx: Tx, key: Key) -> None:
    """Delete what is known of a trigger's firings."""
    await tx.connection.execute(FORGET, {"of_group": key[0], "of_trigger": key[1]})


def _values(fire: Fire) -> dict[str, Any]:
    firing = fire.firing
    return {
        "group_id": fire.key[0],
        "trigger_id": fire.key[1],
        "number": fire.number,
        "occasion": fire.occasion,
        "fired_by": firing.fired_by,
        "task_id": firing.task_id,
        "created": to_ms(fire.created),
        "scheduled_for": None if firing.scheduled_for is None else to_ms(firing.scheduled_for),
        "window_from": None if firing.window is None else to_ms(firing.window.start),
        "window_to": None if firing.window is None else to_ms(firing.window.end),
        "outcome": fire.outcome,
        "error": None if fire.error is None else fire.error[:MAX_ERROR],
        "lease_id": fire.lease_id,
    }


def _fire(row: Row) -> Fire:
    window = None if row.window_from is None else Range(row.window_from, row.window_to)
    return Fire(
        key=(row.group_id, row.trigger_id),
        number=row.number,
        occasion=row.occasion,
        firing=Firing(row.task_id, row.fired_by, row.scheduled_for, window),
        created=row.created,
        outcome=row.outcome,
        error=row.error,
        lease_id=row.lease_id,
    )
