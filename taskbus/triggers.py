"""The triggers' HTTP API as methods: tasks that start by the clock, by messages or by members of worksets."""

from collections.abc import AsyncIterator, Awaitable, Mapping
from typing import Any, Self

from pydantic_core import to_json

from schemas.triggers import (
    CreateTriggerRequest,
    DeleteTriggerResponse,
    FireTriggerResponse,
    ListTriggerFiresResponse,
    ListTriggersResponse,
    TriggerDefinition,
    TriggerFire,
)
from taskbus.errors import NotFound
from taskbus.service import ServiceClient, pages


class Triggers(ServiceClient):
    """A client of triggers. A trigger has an id within its group."""

    service = "triggers"

    @classmethod
    def beside(cls, client: ServiceClient) -> Self:
        """A client with the connections and credentials of another one; open as long as that is."""
        return cls(credentials=client.credentials, transport=client._transport)

    async def list_triggers(self, *, page_size: int | None = None) -> AsyncIterator[TriggerDefinition]:
        """All triggers, in the order of their groups and ids."""

        def fetch(token: str | None) -> Awaitable[ListTriggersResponse]:
            query = {"limit": page_size, "continuationToken": token}
            return self._get(ListTriggersResponse, "triggers", query=query)

        async for page in pages(fetch):
            for trigger in page.triggers:
                yield trigger

    async def trigger(self, group: str, trigger_id: str) -> TriggerDefinition:
        """A trigger as it is. Raises NotFound."""
        return await self._get(TriggerDefinition, group, trigger_id)

    async def create_trigger(
        self, group: str, trigger_id: str, definition: Mapping[str, Any] | CreateTriggerRequest
    ) -> TriggerDefinition:
        """Create a trigger from its definition as the API takes it.

        Raises Conflict when there is another one with this id, and pydantic.ValidationError for a definition
        of another shape.
        """
        return await self._put(TriggerDefinition, group, trigger_id, body=_body(definition))

    async def update_trigger(
        self, group: str, trigger_id: str, definition: Mapping[str, Any] | CreateTriggerRequest
    ) -> TriggerDefinition:
        """Replace the definition of a trigger. Raises NotFound."""
        return await self._post(TriggerDefinition, group, trigger_id, body=_body(definition))

    async def apply_trigger(
        self, group: str, trigger_id: str, definition: Mapping[str, Any] | CreateTriggerRequest
    ) -> TriggerDefinition:
        """Create a trigger, or replace the definition of the one that is there."""
        try:
            return await self.update_trigger(group, trigger_id, definition)
        except NotFound:
            return await self.create_trigger(group, trigger_id, definition)

    async def delete_trigger(self, group: str, trigger_id: str) -> bool:
        """Delete a trigger; whether there was one. Its tasks stay."""
        return self._read(DeleteTriggerResponse, await self._call("DELETE", group, trigger_id)).deleted

    async def pause_trigger(self, group: str, trigger_id: str) -> TriggerDefinition:
        """Let nothing but calls fire it. Raises NotFound, Conflict."""
        return await self._post(TriggerDefinition, group, trigger_id, "pause")

    async def resume_trigger(self, group: str, trigger_id: str) -> TriggerDefinition:
        """Let it fire again. Raises NotFound, Conflict."""
        return await self._post(TriggerDefinition, group, trigger_id, "resume")

    async def fire_trigger(
        self, group: str, trigger_id: str, payload: Mapping[str, Any] | None = None
    ) -> str | None:
        """Fire a trigger; the id of its task, None when it declines. Raises NotFound and InputError."""
        body = to_json({"payload": dict(payload or {})})
        return (await self._post(FireTriggerResponse, group, trigger_id, "fire", body=body)).task_id

    async def list_trigger_fires(self, group: str, trigger_id: str) -> tuple[TriggerFire, ...]:
        """The last 50 firings, the newest first. Raises NotFound."""
        return (await self._get(ListTriggerFiresResponse, group, trigger_id, "fires")).fires


def _body(definition: Mapping[str, Any] | CreateTriggerRequest) -> bytes:
    if not isinstance(definition, CreateTriggerRequest):
        definition = CreateTriggerRequest.model_validate(dict(definition))
    return definition.to_json()
