"""What a message on a hook's queue does (``hooks-and-triggers.md`` 5)."""

from typing import Final

import structlog
from pydantic_core import from_json

from events.exchanges import find_exchange
from queue_service.features.firing.sandbox import Sandbox
from queue_service.features.hooks import store
from queue_service.features.hooks.firing import Firing, new_occasion
from queue_service.features.hooks.hook import Key
from queue_service.store.database import Database

logger = structlog.get_logger(__name__)

MAX_BODY: Final = 1024 * 1024


class MessageHandler:
    """Fires hooks by messages."""

    def __init__(self, database: Database, firing: Firing, sandbox: Sandbox) -> None:
        self._database = database
        self._firing = firing
        self._sandbox = sandbox

    async def handle(self, key: Key, exchange: str, message_id: str | None, body: bytes) -> bool:
        """Fire the hook as it is now; False when it is gone or the message is not for it.

        A message of ours has an id of its own: it fires a hook once, however often it is delivered.
        """
        async with self._database.read() as connection:
            hook = await store.get(connection, key)
        if hook is None or len(body) > MAX_BODY:
            return False
        try:
            payload = from_json(body)
        except ValueError:
            logger.debug("a message that is no JSON fires no hook", hook="/".join(key), exchange=exchange)
            return False
        violations = await self._sandbox.violations(hook.definition.trigger_schema, payload)
        if violations:
            logger.debug("a message does not fit the schema", hook="/".join(key), first=violations[0])
            return False
        name = f"{exchange} {message_id}" if message_id and find_exchange(exchange) is not None else None
        now = self._database.clock.now()
        await self._firing.fire(hook, new_occasion("pulseMessage", now, payload=payload, message=name))
        return True
