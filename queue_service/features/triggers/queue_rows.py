"""What the queues of triggers are bound to on the broker, as far as we know: what must be undone one day."""

from typing import Final

from pydantic_core import from_json, to_json
from sqlalchemy import Text, bindparam, delete, select
from sqlalchemy.dialects.postgresql import insert as upsert

from queue_service.features.firing.queues import Bindings, Bound, Key
from queue_service.features.triggers import filters, store
from queue_service.features.triggers.changes import TOPIC
from queue_service.features.triggers.tables import trigger_queues
from queue_service.store.database import Tx
from queue_service.store.statements import Connection

MAX_LENGTH: Final = 10_000

_VALUES: Final = {name: bindparam(name, type_=Text) for name in ("group_id", "trigger_id", "bindings")}
EVERY: Final = select(trigger_queues)
_insert = upsert(trigger_queues).values(_VALUES)
SAVE: Final = _insert.on_conflict_do_update(
    index_elements=["group_id", "trigger_id"], set_={"bindings": _insert.excluded.bindings}
)
DELETE: Final = delete(trigger_queues).where(
    trigger_queues.c.group_id == bindparam("of_group", type_=Text),
    trigger_queues.c.trigger_id == bindparam("of_trigger", type_=Text),
)


class ListeningTriggers:
    """The active triggers that messages fire: who listens on queues."""

    name = "triggers"
    topic = TOPIC
    queue_prefix = "triggers:"
    max_length = MAX_LENGTH

    async def wanted(self, connection: Connection) -> Bindings:
        return {
            trigger.key: filters.bindings(trigger.definition.message)
            for trigger in await store.listening(connection)
            if trigger.definition.message is not None
        }

    async def bound(self, connection: Connection) -> Bindings:
        return {
            (row.group_id, row.trigger_id): frozenset(Bound(*pair) for pair in from_json(row.bindings))
            for row in await connection.execute(EVERY)
        }

    async def save(self, tx: Tx, key: Key, bindings: frozenset[Bound]) -> None:
        text = to_json(sorted(bindings)).decode()
        await tx.connection.execute(SAVE, {"group_id": key[0], "trigger_id": key[1], "bindings": text})

    async def remove(self, tx: Tx, key: Key) -> None:
        await tx.connection.execute(DELETE, {"of_group": key[0], "of_trigger": key[1]})
