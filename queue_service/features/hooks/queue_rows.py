"""What the queues of hooks are bound to on the broker, as far as we know: what must be undone one day."""

from collections.abc import Mapping
from typing import Final

from pydantic_core import from_json, to_json
from sqlalchemy import Text, bindparam, delete, select
from sqlalchemy.dialects.postgresql import insert as upsert

from queue_service.features.firing.queues import Bound
from queue_service.features.hooks.hook import Key
from queue_service.features.hooks.tables import hook_queues
from queue_service.store.database import Tx
from queue_service.store.statements import Connection

_VALUES: Final = {name: bindparam(name, type_=Text) for name in ("hook_group_id", "hook_id", "bindings")}
EVERY: Final = select(hook_queues)
_insert = upsert(hook_queues).values(_VALUES)
SAVE: Final = _insert.on_conflict_do_update(
    index_elements=["hook_group_id", "hook_id"], set_={"bindings": _insert.excluded.bindings}
)
DELETE: Final = delete(hook_queues).where(
    hook_queues.c.hook_group_id == bindparam("of_group", type_=Text),
    hook_queues.c.hook_id == bindparam("of_hook", type_=Text),
)


async def every(connection: Connection) -> Mapping[Key, frozenset[Bound]]:
    """What each hook's queue is bound to."""
    return {
        (row.hook_group_id, row.hook_id): frozenset(Bound(*pair) for pair in from_json(row.bindings))
        for row in await connection.execute(EVERY)
    }


async def save(tx: Tx, key: Key, bindings: frozenset[Bound]) -> None:
    """Write down what a queue is bound to."""
    text = to_json(sorted(bindings)).decode()
    await tx.connection.execute(SAVE, {"hook_group_id": key[0], "hook_id": key[1], "bindings": text})


async def remove(tx: Tx, key: Key) -> None:
    """The queue is gone."""
    await tx.connection.execute(DELETE, {"of_group": key[0], "of_hook": key[1]})
