"""The handlers of triggers (``seed-systems.md`` D.5)."""

from typing import Any

from queue_service.api.endpoint import Call
from queue_service.api.paging import page_of
from queue_service.core.errors import InputError
from queue_service.core.task import Task
from queue_service.features.firing.sandbox import Sandbox
from queue_service.features.triggers import definitions, fires, rules, store
from queue_service.features.triggers.definitions import Draw
from queue_service.features.triggers.fires import Fire
from queue_service.features.triggers.firing import TriggerFiring
from queue_service.features.triggers.manual import fire_by_hand
from queue_service.features.triggers.rules import Key, NewId, Trigger, trigger_not_found
from queue_service.store import tasks
from queue_service.store.database import Database
from schemas.triggers import (
    CreateTriggerRequest,
    DeleteTriggerResponse,
    FireTriggerRequest,
    FireTriggerResponse,
    ListTriggerFiresResponse,
    ListTriggersResponse,
    TriggerDefinition,
    TriggerFire,
    TriggerWatermark,
    WindowRange,
)


class TriggersApi:
    """Handlers with what they need."""

    def __init__(
        self, database: Database, firing: TriggerFiring, sandbox: Sandbox, new_id: NewId, draw: Draw
    ) -> None:
        self._database = database
        self._firing = firing
        self._sandbox = sandbox
        self._new_id = new_id
        self._draw = draw

    async def list_triggers(self, call: Call[None]) -> ListTriggersResponse:
        page = page_of(call.query)
        group_id, _, trigger_id = page.after.partition("/")
        async with self._database.read() as connection:
            found = await store.page(connection, (group_id, trigger_id), page.wanted)
        kept, token = page.cut(["/".join(trigger.key) for trigger in found])
        return ListTriggersResponse.trusted(
            triggers=tuple(shown(trigger) for trigger in found[: len(kept)]), continuation_token=token
        )

    async def trigger(self, call: Call[None]) -> TriggerDefinition:
        return shown(await self._get(_key(call)))

    async def create_trigger(self, call: Call[CreateTriggerRequest]) -> TriggerDefinition:
        key = _key(call)
        rules.check_definition(call.body)
        return shown(
            await self._database.write(lambda tx: definitions.create(tx, key, call.body, self._draw))
        )

    async def update_trigger(self, call: Call[CreateTriggerRequest]) -> TriggerDefinition:
        key = _key(call)
        await self._get(key)
        rules.check_definition(call.body)
        return shown(
            await self._database.write(lambda tx: definitions.update(tx, key, call.body, self._draw))
        )

    async def delete_trigger(self, call: Call[None]) -> DeleteTriggerResponse:
        key = _key(call)
        deleted = await self._database.write(lambda tx: definitions.remove(tx, key))
        return DeleteTriggerResponse.trusted(deleted=deleted)

    async def pause_trigger(self, call: Call[None]) -> TriggerDefinition:
        key = _key(call)
        return shown(await self._database.write(lambda tx: definitions.pause(tx, key)))

    async def resume_trigger(self, call: Call[None]) -> TriggerDefinition:
        key = _key(call)
        return shown(await self._database.write(lambda tx: definitions.resume(tx, key)))

    async def fire_trigger(self, call: Call[FireTriggerRequest]) -> FireTriggerResponse:
        key, payload = _key(call), call.body.payload
        trigger = await self._get(key)
        violations = await self._sandbox.violations(trigger.definition.payload_schema, payload)
        if violations:
            lines = "\n".join(f" * {violation}" for violation in violations)
            raise InputError(f"`/payload` violates the `payloadSchema` of the trigger:\n\n{lines}")
        fire = await fire_by_hand(self._database, self._firing, key, payload, self._new_id)
        if fire is None:
            return FireTriggerResponse()
        if fire.error is not None:
            raise InputError(f"The trigger created no task: {fire.error}")
        return FireTriggerResponse.trusted(fire_id=fire.number, task_id=fire.firing.task_id)

    async def list_fires(self, call: Call[None]) -> ListTriggerFiresResponse:
        key = _key(call)
        await self._get(key)
        async with self._database.read() as connection:
            found = await fires.last(connection, key, fires.SHOWN)
            known = await tasks.get(connection, [fire.firing.task_id for fire in found])
        return ListTriggerFiresResponse.trusted(
            fires=tuple(_shown_fire(fire, known.get(fire.firing.task_id)) for fire in found)
        )

    async def _get(self, key: Key) -> Trigger:
        async with self._database.read() as connection:
            found = await store.get(connection, key)
        if found is None:
            raise trigger_not_found(key)
        return found


def shown(trigger: Trigger) -> TriggerDefinition:
    """A trigger as it is told."""
    definition, coverage = trigger.definition, trigger.coverage
    watermark = None
    if coverage is not None:
        watermark = TriggerWatermark.trusted(
            name=trigger.watermark_name, time=coverage.mark, open_ranges=len(coverage.ranges)
        )
    return TriggerDefinition.trusted(
        group=trigger.group_id,
        id=trigger.trigger_id,
        state=trigger.state,
        created=trigger.created,
        next_tick=trigger.next_tick if definition.timed is not None else None,
        fires=trigger.fires,
        fired_by_messages=trigger.counted if definition.message is not None else None,
        watermark=watermark,
        blocked_because=trigger.blocked_because,
        **{name: getattr(definition, name) for name in CreateTriggerRequest.model_fields},
    )


def _key(call: Call[Any]) -> Key:
    return call.params["triggerGroup"], call.params["triggerId"]


def _shown_fire(fire: Fire, task: Task | None) -> TriggerFire:
    firing, window = fire.firing, fire.firing.window
    return TriggerFire.trusted(
        fire_id=fire.number,
        fired_by=firing.fired_by,
        time=fire.created,
        scheduled_for=firing.scheduled_for,
        window=None if window is None else WindowRange.trusted(from_=window.start, to=window.end),
        outcome=fire.outcome,
        task_id=firing.task_id,
        error=fire.error,
        task_state="unknown" if task is None else task.state,
    )
