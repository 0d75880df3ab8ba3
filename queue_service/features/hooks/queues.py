"""The queues of hooks on the broker (``hooks-and-triggers.md`` 5)."""

from queue_service.features.firing.queues import Bindings, Bound, Key, MessageQueues
from queue_service.features.hooks import queue_rows, store
from queue_service.features.hooks.definitions import TOPIC
from queue_service.features.hooks.on_message import MessageHandler
from queue_service.store.database import Database, Tx
from queue_service.store.statements import Connection


class HookQueues(MessageQueues):
    """Keeps the queues of all hooks with bindings, and fires hooks by what arrives there."""

    def __init__(self, database: Database, url: str, handler: MessageHandler) -> None:
        super().__init__(database, url, _Hooks(), handler)


class _Hooks:
    name = "hooks"
    topic = TOPIC
    queue_prefix = ""
    max_length = 50

    async def wanted(self, connection: Connection) -> Bindings:
        return {
            hook.key: frozenset(
                Bound(binding.exchange, binding.routing_key_pattern) for binding in hook.bindings
            )
            for hook in await store.every(connection)
            if hook.bindings
        }

    async def bound(self, connection: Connection) -> Bindings:
        return await queue_rows.every(connection)

    async def save(self, tx: Tx, key: Key, bindings: frozenset[Bound]) -> None:
        await queue_rows.save(tx, key, bindings)

    async def remove(self, tx: Tx, key: Key) -> None:
        await queue_rows.remove(tx, key)
