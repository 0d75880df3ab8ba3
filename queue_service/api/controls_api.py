"""The handlers of the calls that control task queues: pauses, limits, load."""

from typing import Any

from queue_service.api.endpoint import Call
from queue_service.clock import Clock
from queue_service.core import controls as rules
from queue_service.core.controls import Controls
from queue_service.operations import controls as operations
from queue_service.operations.controls import Rule
from queue_service.operations.sightings import Sightings
from queue_service.store import backlog, controls, delays
from queue_service.store.database import Database
from schemas.task_queues import (
    EVERY_QUEUE,
    TaskQueueLimits,
    TaskQueueLoadResponse,
    TaskQueueStatesResponse,
)

PlainCall = Call[None]


class ControlsApi:
    """Handlers with what they need: the database, and the sightings that are not in it yet."""

    def __init__(self, database: Database, clock: Clock, sightings: Sightings) -> None:
        self._database = database
        self._clock = clock
        self._sightings = sightings

    async def pause_task_queues(self, call: PlainCall) -> TaskQueueStatesResponse:
        return await self._change(call, rules.pause)

    async def resume_task_queues(self, call: PlainCall) -> TaskQueueStatesResponse:
        return await self._change(call, rules.resume)

    async def get_task_queue_limits(self, call: PlainCall) -> dict[str, Any]:
        async with self._database.read() as connection:
            found = await controls.get(connection, call.params["taskQueueId"], self._clock.now())
        return {} if found.limits is None else found.limits.to_wire()

    async def set_task_queue_limits(self, call: Call[TaskQueueLimits]) -> dict[str, Any]:
        task_queue_id, limits = call.params["taskQueueId"], call.body
        wanted = limits if limits.model_fields_set else None
        await self._database.write(lambda tx: operations.set_limits(tx, task_queue_id, wanted))
        return limits.to_wire()

    async def remove_task_queue_limits(self, call: PlainCall) -> None:
        task_queue_id = call.params["taskQueueId"]
        await self._database.write(lambda tx: operations.set_limits(tx, task_queue_id, None))

    async def task_queue_load(self, call: PlainCall) -> TaskQueueLoadResponse:
        task_queue_id, now = call.params["taskQueueId"], self._clock.now()
        async with self._database.read() as connection:
            pending = await backlog.count_pending(connection, task_queue_id, now)
            delayed = await delays.count_delayed(connection, task_queue_id)
            running = await backlog.count_claimed(connection, task_queue_id, now)
            found = await controls.get(connection, task_queue_id, now)
        return TaskQueueLoadResponse.trusted(
            task_queue_id=task_queue_id,
            pending=pending,
            delayed=delayed,
            running=running,
            paused_at=found.paused_at,
            limits=found.limits,
        )

    async def _change(self, call: PlainCall, rule: Rule) -> TaskQueueStatesResponse:
        """Change one task queue, or all of them, a bounded number in each transaction."""
        named = call.params["taskQueues"]
        await self._sightings.flush()
        changed: list[Controls] = []
        if named == EVERY_QUEUE:
            while page := await self._change_page(changed[-1].task_queue_id if changed else "", rule):
                changed += page
        else:
            changed = await self._database.write(lambda tx: operations.change(tx, [named], rule))
        return TaskQueueStatesResponse.trusted(task_queues=tuple(each.to_state() for each in changed))

    async def _change_page(self, after: str, rule: Rule) -> list[Controls]:
        return await self._database.write(lambda tx: operations.change_page(tx, after, rule))
