"""Firing a hook: from its template to the task, in one transaction with all that must be known of it.

So a scheduled date creates its task exactly once, however many processes look and whenever one is killed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from pydantic_core import to_json

from queue_service.core.errors import QueueError
from queue_service.core.task import Task
from queue_service.features.firing.sandbox import TemplateFailed
from queue_service.features.firing.task_maker import TaskMaker
from queue_service.features.firing.template import context, request_of
from queue_service.features.hooks import store
from queue_service.features.hooks.hook import Fire, Hook
from queue_service.operations import tasks
from queue_service.operations.tasks import Creation
from queue_service.store.database import Database, Tx
from schemas.errors import ERROR_STATUS
from schemas.hooks import FiredBy
from schemas.ids import slugid

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Occasion:
    """Why and when a hook is fired."""

    fired_by: FiredBy
    task_id: str
    now: datetime
    """Of a schedule the scheduled date."""
    payload: Any = None
    client_id: str | None = None
    message: str | None = None
    """A name of the message that no other message has: it fires once, however often it arrives."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What an occasion comes to: a task to create, the error that stands against it, or nothing at all."""

    occasion: Occasion
    creation: Creation | None = None
    error: QueueError | TemplateFailed | None = None

    @property
    def declined(self) -> bool:
        return self.creation is None and self.error is None


class Firing:
    """Fires hooks."""

    def __init__(self, database: Database, maker: TaskMaker) -> None:
        self._database = database
        self._maker = maker

    async def prepare(self, hook: Hook, occasion: Occasion) -> Prepared:
        """Render the template and check the task, outside of any transaction. Raises StoreUnavailable."""
        variables = context(
            fired_by=occasion.fired_by,
            task_id=occasion.task_id,
            now=occasion.now,
            client_id=occasion.client_id,
            payload=occasion.payload,
        )
        try:
            rendered = await self._maker.render(hook.definition.task, variables)
            if rendered is None:
                return Prepared(occasion)
            request = request_of(rendered, occasion.task_id, occasion.now)
            async with self._database.read() as connection:
                grants = await self._maker.grants(connection)
            creation = self._maker.creation(occasion.task_id, request, "hook", hook.role, grants(hook.role))
            return Prepared(occasion, creation)
        except (QueueError, TemplateFailed) as error:
            return Prepared(occasion, error=error)

    async def carry_out(self, tx: Tx, firings: Sequence[tuple[Hook, Prepared]]) -> list[Prepared]:
        """Create the tasks and write down the firings, within the caller's transaction."""
        wanted = [prepared.creation for _, prepared in firings if prepared.creation is not None]
        margin = self._maker.limits.group_expiry_margin
        outcomes = iter(await tasks.create(tx, wanted, group_expiry_margin=margin) if wanted else ())
        carried_out = [(hook, _outcome(prepared, outcomes)) for hook, prepared in firings]
        await store.record(tx, [_fire(hook, fired) for hook, fired in carried_out if not fired.declined])
        return [fired for _, fired in carried_out]

    async def fire(self, hook: Hook, occasion: Occasion) -> Prepared:
        """Prepare and carry out, for a hook that is not changed by it. Raises StoreUnavailable."""
        prepared = await self.prepare(hook, occasion)

        async def script(tx: Tx) -> Prepared:
            message = occasion.message
            if message is not None and await store.fired_by_message(tx.connection, hook.key, message):
                return Prepared(occasion)
            (fired,) = await self.carry_out(tx, [(hook, prepared)])
            return fired

        fired = await self._database.write(script)
        told(hook, fired)
        return fired


def _outcome(prepared: Prepared, outcomes: Iterator[Task | QueueError]) -> Prepared:
    """What became of it; ``outcomes`` are those of the firings that have a task to create."""
    if prepared.creation is None:
        return prepared
    outcome = next(outcomes)
    return Prepared(prepared.occasion, error=outcome) if isinstance(outcome, QueueError) else prepared


def _fire(hook: Hook, fired: Prepared) -> Fire:
    occasion = fired.occasion
    error = "" if fired.error is None else error_text(fired.error)
    return Fire(hook.key, occasion.fired_by, occasion.task_id, occasion.now, error, occasion.message)


def new_occasion(fired_by: FiredBy, now: datetime, **facts: Any) -> Occasion:
    """An occasion whose task gets an id that nobody has asked for."""
    return Occasion(fired_by, slugid(), now, **facts)


def error_text(error: QueueError | TemplateFailed) -> str:
    """Why a firing failed, as it is kept: JSON of what the queue said, or plain text."""
    if isinstance(error, TemplateFailed):
        return str(error)
    status = ERROR_STATUS[error.code]
    facts = {"name": error.code, "message": error.message, "code": error.code, "statusCode": status}
    return to_json({**facts, "body": {"code": error.code, "message": error.message}}).decode()


def told(hook: Hook, fired: Prepared) -> None:
    """Say in the log what became of it."""
    about = {"hook": "/".join(hook.key), "fired_by": fired.occasion.fired_by}
    if fired.error is not None:
        logger.warning("a hook created no task", reason=str(fired.error)[:1000], **about)
    elif fired.creation is not None:
        logger.info("a hook created a task", task_id=fired.occasion.task_id, **about)
