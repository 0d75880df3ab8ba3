"""Worksets in the database: members added, popped, settled and counted, a thousand as cheaply as one."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Integer,
    SmallInteger,
    Text,
    bindparam,
    case,
    delete,
    func,
    insert,
    or_,
    select,
    text,
    true,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert

from queue_service.features.kv.tables import (
    DOOMED,
    LIVING,
    workset_members,
    worksets,
)
from queue_service.features.kv.workset_rules import Held, SetKey
from queue_service.store.database import Tx
from queue_service.store.rows import Rows
from queue_service.store.statements import Connection, Row
from queue_service.store.types import Milliseconds
from schemas.task import PRIORITIES
from schemas.times import to_ms

_m = workset_members.c
_now = bindparam("now", type_=Milliseconds)
_limit = bindparam("wanted", type_=Integer)
_of_set = (_m.namespace == bindparam("namespace", type_=Text), _m.set_name == bindparam("name", type_=Text))
_LEASED_NOW: Final = (_m.lease_id.is_not(None)) & (_m.available_at > _now)

# ---- settings -----------------------------------------------------------------------------------------

_sets = Rows("sets", namespace=Text, name=Text, max_deliveries=Integer)
_set_it = upsert(worksets).from_select(
    ["namespace", "name", "max_deliveries"], select(*_sets.c).where(true())
)
CONFIGURE: Final = _set_it.on_conflict_do_update(
    index_elements=["namespace", "name"], set_={"max_deliveries": _set_it.excluded.max_deliveries}
)
SETTINGS: Final = select(worksets).select_from(
    _sets.join(worksets, (worksets.c.namespace == _sets.c.namespace) & (worksets.c.name == _sets.c.name))
)

# ---- adding -------------------------------------------------------------------------------------------

_NEW: Final[dict[str, Any]] = {
    "namespace": Text,
    "set_name": Text,
    "member_id": Text,
    "priority": SmallInteger,
    "available_at": BigInteger,
    "place": BigInteger,
    "payload": Text,
    "size": Integer,
    "deliveries": Integer,
    "token": BigInteger,
    "doomed": SmallInteger,
}
_new = Rows("given", **_NEW)
_add = upsert(workset_members).from_select(
    list(_NEW),
    select(*_new.c).where(true()).order_by(_new.c.namespace, _new.c.set_name, _new.c.member_id),
)
# Whoever is present stays, and is locked; who is leased, or dies in this moment, is marked to come again.
ADD: Final = _add.on_conflict_do_update(
    index_elements=["namespace", "set_name", "member_id"],
    set_={"again": "{}"},
    where=or_(_LEASED_NOW, _m.doomed == 1),
).returning(_m.namespace, _m.set_name, _m.member_id, _m.again)
INSERT: Final = insert(workset_members).from_select(list(_NEW), select(*_new.c))
_repeats = Rows("repeats", namespace=Text, set_name=Text, member_id=Text, again=Text)
REPEAT: Final = (
    update(workset_members)
    .values(again=_repeats.c.again)
    .where(
        _m.namespace == _repeats.c.namespace,
        _m.set_name == _repeats.c.set_name,
        _m.member_id == _repeats.c.member_id,
    )
)
_keys = Rows("keys", namespace=Text, set_name=Text, member_id=Text)
DELETE: Final = delete(workset_members).where(
    tuple_(_m.namespace, _m.set_name, _m.member_id).in_(
        select(_keys.c.namespace, _keys.c.set_name, _keys.c.member_id)
    )
)

# ---- popping ------------------------------------------------------------------------------------------

_levels = Rows("levels", priority=SmallInteger)
_head = (
    select(func.min(_m.available_at))
    .where(*_of_set, _m.priority == _levels.c.priority, text(LIVING))
    .scalar_subquery()
)
HEADS: Final = select(_levels.c.priority, _head.label("head")).order_by(_levels.c.priority)
PICK: Final = (
    select(_m.member_id, _m.size, _m.deliveries, _m.token)
    .where(*_of_set, _m.priority == bindparam("priority"), _m.available_at <= _now, text(LIVING))
    .order_by(_m.available_at, _m.place)
    .limit(_limit)
    .with_for_update(skip_locked=True)
)
_taken = Rows(
    "taken",
    namespace=Text,
    set_name=Text,
    member_id=Text,
    lease_id=Text,
    expires=BigInteger,
    token=BigInteger,
    doomed=SmallInteger,
)
TAKE: Final = (
    update(workset_members)
    .values(
        lease_id=_taken.c.lease_id,
        available_at=_taken.c.expires,
        deliveries=_m.deliveries + 1,
        token=_taken.c.token,
        doomed=_taken.c.doomed,
    )
    .where(
        _m.namespace == _taken.c.namespace,
        _m.set_name == _taken.c.set_name,
        _m.member_id == _taken.c.member_id,
    )
    .returning(_m.lease_id, _m.member_id, _m.payload, _m.deliveries, _m.token, _m.error)
)

# ---- settling -----------------------------------------------------------------------------------------

_lease_ids = Rows("leases", lease_id=Text)
HELD: Final = (
    select(_m.lease_id, _m.member_id, _m.deliveries, _m.doomed, _m.again)
    .select_from(_lease_ids.join(workset_members, _m.lease_id == _lease_ids.c.lease_id))
    .order_by(_m.namespace, _m.set_name, _m.member_id)
    .with_for_update(of=workset_members)
)
_changed = Rows(
    "changed",
    namespace=Text,
    set_name=Text,
    member_id=Text,
    to_set=Text,
    available_at=BigInteger,
    lease_id=Text,
    doomed=SmallInteger,
    error=Text,
)
CHANGE: Final = (
    update(workset_members)
    .values(
        set_name=_changed.c.to_set,
        available_at=_changed.c.available_at,
        lease_id=_changed.c.lease_id,
        doomed=_changed.c.doomed,
        error=func.coalesce(_changed.c.error, _m.error),
    )
    .where(
        _m.namespace == _changed.c.namespace,
        _m.set_name == _changed.c.set_name,
        _m.member_id == _changed.c.member_id,
    )
)
DUE_TO_DIE: Final = (
    select(_m.namespace, _m.set_name, _m.member_id, _m.deliveries, _m.again)
    .where(text(DOOMED), _m.available_at <= _now)
    .order_by(_m.available_at)
    .limit(_limit)
    .with_for_update(skip_locked=True)
)
NEXT_DEATH: Final = select(func.min(_m.available_at)).where(text(DOOMED))

# ---- counting -----------------------------------------------------------------------------------------

_waiting = _m.available_at <= _now


def _count(condition: Any) -> Any:
    return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)


COUNTS: Final = select(
    _count(_waiting & (_m.doomed == 0)).label("available"),
    _count(~_waiting & _m.lease_id.is_(None)).label("delayed"),
    _count(_LEASED_NOW).label("leased"),
    _count(_waiting & (_m.doomed == 1)).label("dying"),
    func.min(case((_waiting & (_m.doomed == 0), _m.available_at))).label("oldest_available"),
).where(*_of_set)
COUNT_ALL: Final = select(func.count()).select_from(workset_members).where(*_of_set)


@dataclass(frozen=True, slots=True)
class NewMember:
    """A member to add; ``priority`` is its place in PRIORITIES, ``payload`` is JSON text."""

    set: SetKey
    member_id: str
    priority: int
    available_at: datetime
    payload: str | None


@dataclass(frozen=True, slots=True)
class Picked:
    """A member that a pop may take; ``size`` in bytes of its payload."""

    member_id: str
    size: int
    deliveries: int
    token: int


@dataclass(frozen=True, slots=True)
class Taking:
    """A picked member goes into a lease."""

    set: SetKey
    member_id: str
    lease_id: str
    expires: datetime
    token: int
    doomed: bool


@dataclass(frozen=True, slots=True)
class Taken:
    """A member as its consumer gets it."""

    member_id: str
    payload: str | None
    deliveries: int
    token: int
    error: str | None


@dataclass(frozen=True, slots=True)
class Moved:
    """A member's new place in time, or in the set of the dead; ``error`` None leaves the last one."""

    set: SetKey
    member_id: str
    to_set: str
    available_at: datetime
    lease_id: str | None
    doomed: bool
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Dying:
    """A member whose last delivery has run out."""

    set: SetKey
    member: Held


@dataclass(frozen=True, slots=True)
class Counts:
    """How many members a set has in each state (WK-10)."""

    available: int
    delayed: int
    leased: int
    dead: int
    oldest_available: datetime | None


async def configure(tx: Tx, key: SetKey, max_deliveries: int) -> None:
    """Set how often members are delivered."""
    row = {"namespace": key.namespace, "name": key.name, "max_deliveries": max_deliveries}
    await tx.connection.execute(CONFIGURE, _sets.parameters([row]))


async def max_deliveries(connection: Connection, keys: Iterable[SetKey]) -> dict[SetKey, int]:
    """How often members are delivered, of the sets for which it was set."""
    rows = [{"namespace": key.namespace, "name": key.name, "max_deliveries": 0} for key in keys]
    found = await connection.execute(SETTINGS, _sets.parameters(rows))
    return {SetKey(row.namespace, row.name): row.max_deliveries for row in found}


async def add(tx: Tx, members: Sequence[NewMember]) -> dict[tuple[SetKey, str], bool]:
    """Add members, each once. For those that are new or leased: whether it is new; others are present."""
    rows = [_new_row(tx, member) for member in members]
    found = await tx.connection.execute(ADD, {**_new.parameters(rows), "now": tx.now})
    return {(SetKey(row.namespace, row.set_name), row.member_id): row.again is None for row in found}


async def insert_members(tx: Tx, members: Sequence[NewMember]) -> None:
    """Put members where there are none."""
    if members:
        await tx.connection.execute(INSERT, _new.parameters(_new_row(tx, member) for member in members))


async def repeat(tx: Tx, again: Mapping[tuple[SetKey, str], str]) -> None:
    """Remember what was added while these members were leased."""
    rows = [{**_key(key, member_id), "again": value} for (key, member_id), value in again.items()]
    if rows:
        await tx.connection.execute(REPEAT, _repeats.parameters(rows))


async def remove(tx: Tx, members: Iterable[tuple[SetKey, str]]) -> None:
    """Forget these members."""
    rows = [_key(key, member_id) for key, member_id in members]
    if rows:
        await tx.connection.execute(DELETE, _keys.parameters(rows))


async def heads(connection: Connection, key: SetKey) -> list[tuple[int, datetime]]:
    """For each priority that has members: when the first of them is free, most urgent first."""
    rows = await connection.execute(
        HEADS, {**_levels.of(range(len(PRIORITIES))), "namespace": key.namespace, "name": key.name}
    )
    return [(row.priority, row.head) for row in rows if row.head is not None]


async def pick(tx: Tx, key: SetKey, priority: int, wanted: int) -> list[Picked]:
    """Free members of a priority, who waits longest first, locked; what others have locked is passed over."""
    rows = await tx.connection.execute(
        PICK,
        {
            "namespace": key.namespace,
            "name": key.name,
            "priority": priority,
            "now": tx.now,
            "wanted": wanted,
        },
    )
    return [Picked(row.member_id, row.size, row.deliveries, row.token) for row in rows]


async def take(tx: Tx, takings: Sequence[Taking]) -> dict[tuple[str, str], Taken]:
    """Put picked members into their leases; each by its lease and id."""
    rows = [
        {
            **_key(taking.set, taking.member_id),
            "lease_id": taking.lease_id,
            "expires": to_ms(taking.expires),
            "token": taking.token,
            "doomed": int(taking.doomed),
        }
        for taking in takings
    ]
    found = await tx.connection.execute(TAKE, _taken.parameters(rows))
    return {
        (row.lease_id, row.member_id): Taken(row.member_id, row.payload, row.deliveries, row.token, row.error)
        for row in found
    }


async def held(tx: Tx, lease_ids: Sequence[str]) -> dict[str, dict[str, Held]]:
    """The members of leases by lease and id, locked."""
    members: dict[str, dict[str, Held]] = {lease_id: {} for lease_id in lease_ids}
    for row in await tx.connection.execute(HELD, _lease_ids.of(lease_ids)):
        members[row.lease_id][row.member_id] = _held(row, bool(row.doomed))
    return members


async def move(tx: Tx, moved: Sequence[Moved]) -> None:
    """Give members another time or set."""
    rows = [
        {
            **_key(item.set, item.member_id),
            "to_set": item.to_set,
            "available_at": to_ms(item.available_at),
            "lease_id": item.lease_id,
            "doomed": int(item.doomed),
            "error": item.error,
        }
        for item in moved
    ]
    if rows:
        await tx.connection.execute(CHANGE, _changed.parameters(rows))


async def due_to_die(tx: Tx, limit: int) -> list[Dying]:
    """Members whose last delivery has run out, locked."""
    rows = await tx.connection.execute(DUE_TO_DIE, {"now": tx.now, "wanted": limit})
    return [Dying(SetKey(row.namespace, row.set_name), _held(row, doomed=True)) for row in rows]


async def next_death(connection: Connection) -> datetime | None:
    """When the next last delivery runs out."""
    due: datetime | None = (await connection.execute(NEXT_DEATH)).scalar()
    return due


async def counts(connection: Connection, key: SetKey, now: datetime) -> Counts:
    """How many members a set has in each state; looks at each of them."""
    found = await connection.execute(COUNTS, {"namespace": key.namespace, "name": key.name, "now": now})
    dead = await connection.execute(COUNT_ALL, {"namespace": key.namespace, "name": key.dead.name})
    row = found.one()
    return Counts(
        int(row.available),
        int(row.delayed),
        int(row.leased),
        int(dead.scalar_one()) + int(row.dying),
        row.oldest_available,
    )


def _key(key: SetKey, member_id: str) -> dict[str, str]:
    return {"namespace": key.namespace, "set_name": key.name, "member_id": member_id}


def _new_row(tx: Tx, member: NewMember) -> dict[str, Any]:
    return {
        **_key(member.set, member.member_id),
        "priority": member.priority,
        "available_at": to_ms(member.available_at),
        "place": tx.next_queue_order(),
        "payload": member.payload,
        "size": len((member.payload or "").encode()),
        "deliveries": 0,
        "token": 0,
        "doomed": 0,
    }


def _held(row: Row, doomed: bool) -> Held:
    return Held(row.member_id, row.deliveries, doomed, row.again)
