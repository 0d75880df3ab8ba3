"""The log of events: what was recorded in the outbox lately, numbered in the order in which streams tell it.

The outbox forgets a message once the broker has it, and cannot be read from "the last id" on: PostgreSQL
makes ids visible out of order. So while somebody streams, whoever retires a row of the outbox moves it here
first, and what waits there for a broker that is away is copied (``docs/decisions/0014-…``).

Whoever adds to the log holds the lock of its state. So positions are dense, and a position that can be seen
has all smaller ones before it. Nobody streams: nothing is kept, and retiring costs one lookup per batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pydantic_core import from_json
from sqlalchemy import (
    BigInteger,
    Integer,
    Select,
    bindparam,
    case,
    delete,
    func,
    insert,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert

from queue_service.store.database import Tx
from queue_service.store.event_tables import event_log, event_log_state
from queue_service.store.rows import Rows
from queue_service.store.signals import TopicStirred
from queue_service.store.statements import Connection
from queue_service.store.tables import outbox
from queue_service.store.types import Milliseconds

TOPIC: Final = "events"
"""Stirred when events were added to the log."""
KEPT_TOPIC: Final = "events-kept"
"""Stirred when the log begins to keep events."""

_STATE_ID: Final = 1
_state = event_log_state.c
STATE: Final = select(_state.position, _state.floor, _state.kept_until).where(_state.id == _STATE_ID)
LOCK_STATE: Final = STATE.with_for_update()

_begun = upsert(event_log_state).values(
    id=_STATE_ID, position=1, floor=1, kept_until=bindparam("until", type_=Milliseconds)
)
_after_a_gap = case((_state.kept_until.is_(None), _state.position + 1), else_=_state.position)
KEEP: Final = _begun.on_conflict_do_update(
    index_elements=["id"],
    set_={
        "position": _after_a_gap,
        "floor": case((_state.kept_until.is_(None), _state.position + 1), else_=_state.floor),
        "kept_until": _begun.excluded.kept_until,
    },
).returning(_state.position, _state.floor, _state.kept_until)
"""Nobody saw what was told while nothing was kept: the position before it is not to be resumed from."""
ADVANCE: Final = (
    update(event_log_state).values(position=bindparam("last", type_=BigInteger)).where(_state.id == _STATE_ID)
)
RAISE: Final = (
    update(event_log_state)
    .values(
        position=bindparam("last", type_=BigInteger),
        floor=bindparam("lowest", type_=BigInteger),
        kept_until=bindparam("until", type_=Milliseconds),
    )
    .where(_state.id == _STATE_ID)
)

IN_LOG: Final = -1
"""The lane of rows that are in the log and wait for the broker. What they wait for is in it as well."""
NEW: Final = "set_aside >= 0 AND set_aside <= 0"
"""The lane of rows that are neither set aside nor in the log. No equation, as in ``outbox.NEXT_BATCH``."""
_COLUMNS: Final = ("exchange", "routing_key", "cc", "body")


def _numbered(rows: Any) -> Select[Any]:
    """Rows of the outbox, in their order, with the positions that follow the ``last``."""
    place = bindparam("last", type_=BigInteger) + func.row_number().over(order_by=rows.c.id)
    return select(place, rows.c.id, *(rows.c[name] for name in _COLUMNS), bindparam("at", type_=Milliseconds))


def _add(chosen: Select[Any]) -> Any:
    return (
        insert(event_log)
        .from_select(["position", "message_id", *_COLUMNS, "logged"], chosen)
        .returning(event_log.c.message_id)
    )


_retired = Rows("retired", id=BigInteger)
_logged = Rows("logged_rows", id=BigInteger)
_waiting = (
    select(outbox.c.id, *(outbox.c[name] for name in _COLUMNS))
    .where(text(NEW))
    .order_by(outbox.c.set_aside, outbox.c.id)
    .limit(bindparam("wanted", type_=Integer))
    .subquery("waiting")
)
TAKE: Final = _add(_numbered(outbox).where(outbox.c.id.in_(select(_retired.c.id)), outbox.c.set_aside == 0))
TAKE_WAITING: Final = _add(_numbered(_waiting))
MARK: Final = (
    update(outbox)
    .values(set_aside=IN_LOG)
    .where(outbox.c.id.in_(select(_logged.c.id)), outbox.c.set_aside == 0)
)
OLDEST_WAITING: Final = (
    select(outbox.c.created).where(text(NEW)).order_by(outbox.c.set_aside, outbox.c.id).limit(1)
)

AFTER: Final = (
    select(event_log.c.position, event_log.c.message_id, *(event_log.c[name] for name in _COLUMNS))
    .where(event_log.c.position > bindparam("after", type_=BigInteger))
    .order_by(event_log.c.position)
    .limit(bindparam("wanted", type_=Integer))
)
_oldest = (
    select(event_log.c.position, event_log.c.logged)
    .order_by(event_log.c.position)
    .limit(bindparam("wanted", type_=Integer))
    .subquery("oldest")
)
PAST: Final = select(func.max(_oldest.c.position), func.count()).where(
    or_(
        _oldest.c.position <= bindparam("lowest", type_=BigInteger),
        _oldest.c.logged < bindparam("before", type_=Milliseconds),
    )
)
FORGET: Final = delete(event_log).where(event_log.c.position <= bindparam("lowest", type_=BigInteger))


@dataclass(frozen=True, slots=True)
class State:
    """``position`` is that of the last event; all events after ``floor`` are there."""

    position: int
    floor: int
    kept_until: datetime | None
    """Until then events are kept whether or not somebody asks again; None while none are kept."""

    @property
    def kept(self) -> bool:
        """Whether whoever retires a message must log it; not judged by clocks: those of processes differ."""
        return self.kept_until is not None


NOTHING: Final = State(0, 0, None)


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """A message as it was recorded; ``body`` is JSON in one line."""

    position: int
    message_id: str
    exchange: str
    routing_key: str
    cc: tuple[str, ...]
    body: str


@dataclass(frozen=True, slots=True)
class Page:
    """Events that follow a position, oldest first, and what was known of the log after they were read.

    With ``state.floor`` beyond that position some of them are forgotten, and these are not all.
    """

    events: tuple[LoggedEvent, ...]
    state: State


async def keep(tx: Tx, until: datetime) -> State:
    """Keep events from now on, until then at least. Every event that is committed later will be logged."""
    state = _state_of((await tx.connection.execute(KEEP, {"until": until})).one())
    tx.announce(TopicStirred(KEPT_TOPIC))
    return state


async def state(connection: Connection) -> State:
    """How far the log goes; :data:`NOTHING` when nobody has ever streamed."""
    found = (await connection.execute(STATE)).first()
    return NOTHING if found is None else _state_of(found)


async def take(tx: Tx, ids: Sequence[int]) -> None:
    """Log these rows of the outbox, which are about to leave it, where events are kept and they are not yet.

    A row that is set aside is not logged any more: it was when that happened, or nobody streamed then.
    """
    if not ids or not (await state(tx.connection)).kept:
        return
    locked = await _locked(tx)
    if locked.kept:
        added = await tx.connection.execute(TAKE, {"last": locked.position, "at": tx.now, **_retired.of(ids)})
        await _advance(tx, locked, len(added.all()))


async def take_waiting(tx: Tx, limit: int) -> int:
    """Log the oldest rows that wait for the broker, and leave them there; how many that were."""
    locked = await _locked(tx)
    if not locked.kept:
        return 0
    added = await tx.connection.execute(
        TAKE_WAITING, {"last": locked.position, "at": tx.now, "wanted": limit}
    )
    ids = added.scalars()
    if ids:
        await tx.connection.execute(MARK, _logged.of(ids))
        await _advance(tx, locked, len(ids))
    return len(ids)


async def oldest_waiting(connection: Connection) -> datetime | None:
    """When the oldest row was recorded that is neither logged nor set aside; None when there is none."""
    found: datetime | None = (await connection.execute(OLDEST_WAITING)).scalar()
    return found


async def after(connection: Connection, position: int, limit: int) -> Page:
    """The events that follow this position. The state is read last, so it tells of all that is missing."""
    rows = await connection.execute(AFTER, {"after": position, "wanted": limit})
    events = tuple(
        LoggedEvent(
            row.position,
            str(row.message_id),
            row.exchange,
            row.routing_key,
            tuple(from_json(row.cc)),
            row.body,
        )
        for row in rows
    )
    return Page(events, await state(connection))


async def trim(tx: Tx, *, most: int, before: datetime, limit: int) -> int:
    """Forget events beyond the ``most`` newest and those logged before this time; how many that were.

    Ends the keeping of events that nobody has asked for any more. At most ``limit`` events at once.
    """
    locked = await _locked(tx)
    if locked is NOTHING:
        return 0
    position, floor, until = locked.position, locked.floor, locked.kept_until
    if until is not None and until <= tx.now:
        position, floor, until = position + 1, position + 1, None
    past = (
        await tx.connection.execute(
            PAST, {"wanted": limit, "lowest": max(floor, position - most), "before": before}
        )
    ).one()
    if past[0] is not None:
        floor = max(floor, past[0])
        await tx.connection.execute(FORGET, {"lowest": past[0]})
    if (floor, until) != (locked.floor, locked.kept_until):
        await tx.connection.execute(RAISE, {"last": position, "lowest": floor, "until": until})
    return int(past[1])


async def _locked(tx: Tx) -> State:
    found = (await tx.connection.execute(LOCK_STATE)).first()
    return NOTHING if found is None else _state_of(found)


async def _advance(tx: Tx, before: State, added: int) -> None:
    if added:
        await tx.connection.execute(ADVANCE, {"last": before.position + added})
        tx.announce(TopicStirred(TOPIC))


def _state_of(row: Any) -> State:
    return State(row.position, row.floor, row.kept_until)
