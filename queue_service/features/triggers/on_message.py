"""What a message on a trigger's queue does (``seed-systems.md`` TR-6 to TR-9, TR-13)."""

from dataclasses import replace
from typing import Any, Final

import structlog
from pydantic_core import from_json

from queue_service.features.triggers import changes, filters, fires, rules, store
from queue_service.features.triggers.fires import Fire
from queue_service.features.triggers.firing import Cause, Plan, Rendered, TriggerFiring, told
from queue_service.features.triggers.rules import Firing, Key, NewId, Trigger
from queue_service.features.triggers.transient import with_retries
from queue_service.store import outbox, tasks
from queue_service.store.database import ATTEMPTS, Database, StoreUnavailable, Tx
from queue_service.store.statements import Connection
from schemas.triggers import TriggerLoopMessage

logger = structlog.get_logger(__name__)

MAX_PASSED_ON: Final = 64 * 1024
"""Bytes of a message that the task is given; of a larger one it is given the ids (TR-8)."""
MAX_BODY: Final = 1024 * 1024
MAX_DEPTH: Final = 10
"""Triggers that fire one another so often are a loop (TR-9)."""
_IDS: Final = (
    "taskId",
    "runId",
    "jobId",
    "taskGroupId",
    "workerId",
    "messageId",
    "tenant",
    "namespace",
    "key",
)


class MessageHandler:
    """Fires triggers by messages."""

    def __init__(self, database: Database, firing: TriggerFiring, new_id: NewId) -> None:
        self._database = database
        self._firing = firing
        self._new_id = new_id

    async def handle(self, key: Key, exchange: str, message_id: str | None, body: bytes) -> bool:
        """Fire the trigger as it is now; False when the message is not for it, or came before.

        Raises StoreUnavailable.
        """
        if len(body) > MAX_BODY:
            return False
        try:
            message = from_json(body)
        except ValueError:
            logger.debug(
                "a message that is no JSON fires no trigger", trigger="/".join(key), exchange=exchange
            )
            return False
        name = f"message {exchange} {message_id}" if message_id else None
        for _ in range(ATTEMPTS):
            async with self._database.read() as connection:
                trigger = await store.get(connection, key)
                if trigger is None or not _fires(trigger, exchange, message):
                    return False
                depth = await _depth(connection, message)
            facts = {"exchange": exchange, "message": _passed_on(message, len(body))}
            if message_id is not None:
                facts["messageId"] = message_id
            cause = Cause(name, facts=facts, depth=depth + 1)
            fired = await self._fire(trigger, cause, depth)
            if fired is not None:
                return fired
        raise StoreUnavailable("the trigger changes all the time")

    async def _fire(self, trigger: Trigger, cause: Cause, depth: int) -> bool | None:
        """Whether it fired; None when its definition has changed meanwhile."""
        firing = Firing(self._new_id(), "message")
        looping = depth >= MAX_DEPTH
        rendered = Rendered(firing, cause) if looping else await self._firing.render(trigger, firing, cause)

        async def script(tx: Tx) -> list[Fire] | None:
            current = (await store.lock(tx, [trigger.key])).get(trigger.key)
            if current is None or not rules.by_message(current, firing.task_id).firings:
                return []
            if current.definition != trigger.definition:
                return None
            if looping:
                return await _tell_loop(tx, current, rendered)
            (recorded,) = await self._firing.carry_out(tx, [Plan(current, current, (rendered,))])
            return recorded

        recorded = await with_retries(lambda: self._database.write(script), trigger.definition.retry)
        if recorded is None:
            return None
        told(trigger, recorded)
        return any(fire.error is None for fire in recorded)


def _fires(trigger: Trigger, exchange: str, message: Any) -> bool:
    wanted = trigger.definition.message
    if wanted is None or trigger.state != "active":
        return False
    return filters.passes(wanted, exchange, message if isinstance(message, dict) else {})


async def _depth(connection: Connection, message: Any) -> int:
    """How many triggers have fired one another up to the task that the message is about (TR-9)."""
    task_id = filters.task_of(message) if isinstance(message, dict) else None
    if task_id is None:
        return 0
    defined = (await tasks.definitions(connection, [task_id])).get(task_id)
    depth = None if defined is None else defined.extra.get("triggerDepth")
    return depth if isinstance(depth, int) else 0


def _passed_on(message: Any, size: int) -> Any:
    if size <= MAX_PASSED_ON or not isinstance(message, dict):
        return message if size <= MAX_PASSED_ON else None
    about = {**message, **(message["status"] if isinstance(message.get("status"), dict) else {})}
    return {name: about[name] for name in _IDS if name in about}


async def _tell_loop(tx: Tx, trigger: Trigger, rendered: Rendered) -> list[Fire]:
    """Record that a loop was broken, and tell it, once for each message."""
    if await fires.known(tx.connection, [(trigger.key, rendered.occasion)]):
        return []
    reason = f"The message comes of a task at the end of {MAX_DEPTH} triggers that fired one another."
    after = replace(trigger, fires=trigger.fires + 1)
    fire = Fire(trigger.key, after.fires, rendered.occasion, rendered.firing, tx.now, "error", reason)
    await fires.record(tx, [fire])
    await changes.write(tx, [(trigger, after)])
    await outbox.record(tx, [changes.message(TriggerLoopMessage, trigger, reason)])
    return [fire]
