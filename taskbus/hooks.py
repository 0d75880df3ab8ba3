"""The hooks' HTTP API as methods: tasks that are created by a call, a message or the clock."""

from collections.abc import AsyncIterator, Awaitable, Mapping
from typing import Any

from pydantic_core import to_json

from schemas.hooks import (
    CreateHookRequest,
    HookDefinition,
    HookStatusResponse,
    LastFire,
    ListHookGroupsResponse,
    ListHooksResponse,
    ListLastFiresResponse,
    TriggerHookResponse,
    TriggerTokenResponse,
)
from taskbus.service import ServiceClient, pages


class Hooks(ServiceClient):
    """A client of hooks. A hook has an id within its group; its task is a JSON-e template."""

    service = "hooks"

    async def list_hook_groups(self) -> tuple[str, ...]:
        """The ids of all groups with hooks."""
        return (await self._get(ListHookGroupsResponse, "hooks")).groups

    async def list_hooks(self, hook_group_id: str) -> tuple[HookDefinition, ...]:
        """The hooks of a group. Raises NotFound when there are none."""
        return (await self._get(ListHooksResponse, "hooks", hook_group_id)).hooks

    async def hook(self, hook_group_id: str, hook_id: str) -> HookDefinition:
        """A hook. Raises NotFound."""
        return await self._get(HookDefinition, "hooks", hook_group_id, hook_id)

    async def create_hook(
        self, hook_group_id: str, hook_id: str, definition: Mapping[str, Any] | CreateHookRequest
    ) -> HookDefinition:
        """Create a hook from its definition as the API takes it.

        Raises Conflict when there is another one with this id, and pydantic.ValidationError for a definition
        of another shape.
        """
        body = _body(definition)
        return await self._put(HookDefinition, "hooks", hook_group_id, hook_id, body=body)

    async def update_hook(
        self, hook_group_id: str, hook_id: str, definition: Mapping[str, Any] | CreateHookRequest
    ) -> HookDefinition:
        """Replace the definition of a hook; bindings that it does not mention stay. Raises NotFound."""
        body = _body(definition)
        return await self._post(HookDefinition, "hooks", hook_group_id, hook_id, body=body)

    async def remove_hook(self, hook_group_id: str, hook_id: str) -> None:
        """Delete a hook, if there is one."""
        await self._call("DELETE", "hooks", hook_group_id, hook_id)

    async def trigger_hook(
        self, hook_group_id: str, hook_id: str, payload: Mapping[str, Any] | None = None
    ) -> str | None:
        """Fire a hook; the id of its task, None when the hook declines. Raises NotFound and InputError."""
        body = to_json(dict(payload or {}))
        fired = await self._post(TriggerHookResponse, "hooks", hook_group_id, hook_id, "trigger", body=body)
        return fired.task_id

    async def trigger_hook_with_token(
        self, hook_group_id: str, hook_id: str, token: str, payload: Mapping[str, Any] | None = None
    ) -> str | None:
        """The same for who has no credentials, but the hook's trigger token. Raises AuthenticationFailed."""
        body = to_json(dict(payload or {}))
        path = ("hooks", hook_group_id, hook_id, "trigger", token)
        return (await self._post(TriggerHookResponse, *path, body=body)).task_id

    async def get_trigger_token(self, hook_group_id: str, hook_id: str) -> str:
        """The secret with which the hook can be fired without credentials."""
        path = ("hooks", hook_group_id, hook_id, "token")
        return (await self._get(TriggerTokenResponse, *path)).token

    async def reset_trigger_token(self, hook_group_id: str, hook_id: str) -> str:
        """Replace that secret; the old one ends at once."""
        path = ("hooks", hook_group_id, hook_id, "token")
        return (await self._post(TriggerTokenResponse, *path)).token

    async def get_hook_status(self, hook_group_id: str, hook_id: str) -> HookStatusResponse:
        """When the hook fired last, and when its schedule fires it next."""
        return await self._get(HookStatusResponse, "hooks", hook_group_id, hook_id, "status")

    async def list_last_fires(
        self, hook_group_id: str, hook_id: str, *, page_size: int | None = None
    ) -> AsyncIterator[LastFire]:
        """How a hook fired, the newest first. Raises NotFound when it never did."""

        def fetch(token: str | None) -> Awaitable[ListLastFiresResponse]:
            query = {"limit": page_size, "continuationToken": token}
            path = ("hooks", hook_group_id, hook_id, "last-fires")
            return self._get(ListLastFiresResponse, *path, query=query)

        async for page in pages(fetch):
            for fire in page.last_fires:
                yield fire


def _body(definition: Mapping[str, Any] | CreateHookRequest) -> bytes:
    if not isinstance(definition, CreateHookRequest):
        definition = CreateHookRequest.model_validate(dict(definition))
    return definition.to_json()
