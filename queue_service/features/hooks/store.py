"""Rows of hooks and of their firings."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import BigInteger, Integer, Text, bindparam, delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from queue_service.features.hooks.hook import MAX_ERROR, Fire, Hook, Key
from queue_service.features.hooks.tables import hook_fires, hooks
from queue_service.store.database import Concurrent, Tx
from queue_service.store.rows import Rows
from queue_service.store.statements import Connection, Row
from queue_service.store.types import Identity, Milliseconds
from schemas.hooks import CreateHookRequest
from schemas.times import to_ms

# ---- hooks -------------------------------------------------------------------------------------------

_OF: Final = (
    hooks.c.hook_group_id == bindparam("of_group", type_=Text),
    hooks.c.hook_id == bindparam("of_hook", type_=Text),
)
_wanted = bindparam("wanted", type_=Integer)
_now = bindparam("now", type_=Milliseconds)

SELECT: Final = select(hooks).where(*_OF)
_keys = Rows("keys", hook_group_id=Text, hook_id=Text)
LOCK: Final = (
    select(hooks)
    .select_from(
        _keys.join(
            hooks,
            (hooks.c.hook_group_id == _keys.c.hook_group_id) & (hooks.c.hook_id == _keys.c.hook_id),
        )
    )
    .order_by(hooks.c.hook_group_id, hooks.c.hook_id)
    .with_for_update(of=hooks)
)
OF_GROUP: Final = (
    select(hooks).where(hooks.c.hook_group_id == bindparam("of_group", type_=Text)).order_by(hooks.c.hook_id)
)
EVERY: Final = select(hooks).order_by(hooks.c.hook_group_id, hooks.c.hook_id)
GROUPS: Final = select(hooks.c.hook_group_id).distinct().order_by(hooks.c.hook_group_id)
DUE: Final = (
    select(hooks).where(hooks.c.next_date.is_not(None), hooks.c.next_date <= _now).order_by(hooks.c.next_date)
).limit(_wanted)
NEXT_DATE: Final = select(func.min(hooks.c.next_date)).where(hooks.c.next_date.is_not(None))

_MUTABLE: Final = ("definition", "trigger_token", "next_task_id", "next_date")
_COLUMNS: Final = ("hook_group_id", "hook_id", *_MUTABLE)
INSERT: Final = (
    upsert(hooks)
    .values({name: bindparam(name, type_=hooks.c[name].type) for name in _COLUMNS})
    .on_conflict_do_nothing()
    .returning(hooks.c.hook_id)
)
_changed = Rows(
    "changed",
    hook_group_id=Text,
    hook_id=Text,
    definition=Text,
    trigger_token=Text,
    next_task_id=Text,
    next_date=BigInteger,
)
SAVE: Final = (
    update(hooks)
    .where(hooks.c.hook_group_id == _changed.c.hook_group_id, hooks.c.hook_id == _changed.c.hook_id)
    .values({name: _changed.c[name] for name in _MUTABLE})
    .returning(hooks.c.hook_id)
)
DELETE: Final = delete(hooks).where(*_OF).returning(hooks.c.hook_id)


def _of(key: Key) -> dict[str, str]:
    return {"of_group": key[0], "of_hook": key[1]}


async def get(connection: Connection, key: Key) -> Hook | None:
    row = (await connection.execute(SELECT, _of(key))).first()
    return None if row is None else _hook(row)


async def lock(tx: Tx, keys: Iterable[Key]) -> dict[Key, Hook]:
    """The hooks that exist, which nobody else changes before the end of the transaction."""
    rows = [{"hook_group_id": group_id, "hook_id": hook_id} for group_id, hook_id in keys]
    found = [_hook(row) for row in await tx.connection.execute(LOCK, _keys.parameters(rows))]
    return {hook.key: hook for hook in found}


async def of_group(connection: Connection, group_id: str) -> list[Hook]:
    return [_hook(row) for row in await connection.execute(OF_GROUP, {"of_group": group_id})]


async def every(connection: Connection) -> list[Hook]:
    return [_hook(row) for row in await connection.execute(EVERY)]


async def groups(connection: Connection) -> list[str]:
    """The ids of groups with at least one hook, sorted."""
    return list((await connection.execute(GROUPS)).scalars())


async def due(connection: Connection, now: datetime, wanted: int) -> list[Hook]:
    """Hooks whose next date has come, the oldest first."""
    return [_hook(row) for row in await connection.execute(DUE, {"now": now, "wanted": wanted})]


async def next_date(connection: Connection) -> datetime | None:
    """When the next hook falls due."""
    date: datetime | None = (await connection.execute(NEXT_DATE)).scalar()
    return date


async def create(tx: Tx, hook: Hook) -> None:
    """Write a new hook. Raises Concurrent when it is there already."""
    values = {**_values(hook), "next_date": hook.next_date}
    if (await tx.connection.execute(INSERT, values)).first() is None:
        raise Concurrent("another transaction created the same hook")


async def save(tx: Tx, changed: Sequence[Hook]) -> None:
    """Write hooks that were locked."""
    saved = await tx.connection.execute(SAVE, _changed.parameters(map(_values, changed)))
    if len(saved.all()) != len(changed):
        raise Concurrent("a hook vanished between reading and writing it")


async def remove(tx: Tx, key: Key) -> bool:
    """Delete a hook; whether there was one."""
    return (await tx.connection.execute(DELETE, _of(key))).first() is not None


def _values(hook: Hook) -> dict[str, Any]:
    return {
        "hook_group_id": hook.group_id,
        "hook_id": hook.hook_id,
        "definition": hook.definition.to_json().decode(),
        "trigger_token": hook.trigger_token,
        "next_task_id": hook.next_task_id,
        "next_date": None if hook.next_date is None else to_ms(hook.next_date),
    }


def _hook(row: Row) -> Hook:
    return Hook(
        group_id=row.hook_group_id,
        hook_id=row.hook_id,
        definition=CreateHookRequest.from_json(row.definition),
        trigger_token=row.trigger_token,
        next_task_id=row.next_task_id,
        next_date=row.next_date,
    )


# ---- firings -----------------------------------------------------------------------------------------

_FIRE_COLUMNS: Final = ("hook_group_id", "hook_id", "fired_by", "task_id", "created", "error", "message")
_fired = Rows(
    "fired",
    place=Integer,
    hook_group_id=Text,
    hook_id=Text,
    fired_by=Text,
    task_id=Text,
    created=BigInteger,
    error=Text,
    message=Text,
)
RECORD: Final = insert(hook_fires).from_select(
    list(_FIRE_COLUMNS), select(*(_fired.c[name] for name in _FIRE_COLUMNS)).order_by(_fired.c.place)
)
_OF_FIRES: Final = (
    hook_fires.c.hook_group_id == bindparam("of_group", type_=Text),
    hook_fires.c.hook_id == bindparam("of_hook", type_=Text),
)
OF_MESSAGE: Final = select(hook_fires.c.id).where(
    *_OF_FIRES, hook_fires.c.message == bindparam("message", type_=Text), hook_fires.c.message.is_not(None)
)
PAGE: Final = (
    select(hook_fires)
    .where(*_OF_FIRES, hook_fires.c.id < bindparam("before_id", type_=Identity))
    .order_by(hook_fires.c.id.desc())
    .limit(_wanted)
)
FORGET: Final = delete(hook_fires).where(*_OF_FIRES)
OLD: Final = (
    select(hook_fires.c.id)
    .where(hook_fires.c.created < bindparam("before", type_=Milliseconds))
    .order_by(hook_fires.c.created)
    .limit(_wanted)
    .with_for_update(skip_locked=True)
)
_ids = Rows("ids", id=Identity)
DELETE_OLD: Final = delete(hook_fires).where(hook_fires.c.id.in_(select(_ids.c.id)))
NEWEST: Final = 2**62
"""Larger than any id."""


async def record(tx: Tx, fires: Iterable[Fire]) -> None:
    """Write down firings, in this order."""
    rows = [
        {
            "place": place,
            "hook_group_id": fire.key[0],
            "hook_id": fire.key[1],
            "fired_by": fire.fired_by,
            "task_id": fire.task_id,
            "created": to_ms(fire.created),
            "error": fire.error[:MAX_ERROR],
            "message": fire.message,
        }
        for place, fire in enumerate(fires)
    ]
    if rows:
        await tx.connection.execute(RECORD, _fired.parameters(rows))


async def fired_by_message(connection: Connection, key: Key, message: str) -> bool:
    """Whether this message has fired the hook already."""
    values = {**_of(key), "message": message}
    return (await connection.execute(OF_MESSAGE, values)).first() is not None


async def fires(connection: Connection, key: Key, before_id: int, wanted: int) -> list[Fire]:
    """The last firings of a hook, newest first, of those with a smaller id."""
    values = {**_of(key), "before_id": before_id, "wanted": wanted}
    return [_fire(row) for row in await connection.execute(PAGE, values)]


async def forget_fires(tx: Tx, key: Key) -> None:
    """Delete what is known of a hook's firings."""
    await tx.connection.execute(FORGET, _of(key))


async def delete_old_fires(tx: Tx, before: datetime, limit: int) -> int:
    """Delete firings from before this time; how many there were."""
    found = (await tx.connection.execute(OLD, {"before": before, "wanted": limit})).scalars()
    if found:
        await tx.connection.execute(DELETE_OLD, _ids.of(found))
    return len(found)


def _fire(row: Row) -> Fire:
    return Fire(
        key=(row.hook_group_id, row.hook_id),
        fired_by=row.fired_by,
        task_id=row.task_id,
        created=row.created,
        error=row.error,
        id=row.id,
    )
