"""The handlers of hooks (``hooks-and-triggers.md`` 2, 4)."""

import hmac
import re
from collections.abc import Sequence
from typing import Any, Final

from pydantic_core import from_json

from queue_service.api.endpoint import Call
from queue_service.api.paging import page_of
from queue_service.core.errors import AuthenticationFailed, InputError, InsufficientScopes, ResourceNotFound
from queue_service.core.task import Task
from queue_service.features.firing.sandbox import Sandbox
from queue_service.features.hooks import definitions, store
from queue_service.features.hooks.definitions import NewId
from queue_service.features.hooks.firing import Firing, Occasion
from queue_service.features.hooks.hook import Fire, Hook, Key, check_definition, hook_not_found
from queue_service.store import tasks
from queue_service.store.database import Database
from schemas.hooks import (
    CreateHookRequest,
    FiredBy,
    HookDefinition,
    HookStatusResponse,
    LastFire,
    LastFireOfStatus,
    ListHookGroupsResponse,
    ListHooksResponse,
    ListLastFiresResponse,
    TriggeredStatus,
    TriggerHookRequest,
    TriggerHookResponse,
    TriggerTokenResponse,
)
from schemas.ids import SLUGID_PATTERN

_SLUGID: Final = re.compile(SLUGID_PATTERN)
_DIGITS: Final = re.compile(r"[0-9]{1,18}")
MAX_TEXT: Final = 10_000
"""Characters of an error that a refusal repeats."""


class HooksApi:
    """Handlers with what they need. ``denied``: exchanges to which hooks must not be bound."""

    def __init__(
        self,
        database: Database,
        firing: Firing,
        sandbox: Sandbox,
        new_id: NewId,
        *,
        denied: Sequence[re.Pattern[str]],
    ) -> None:
        self._database = database
        self._firing = firing
        self._sandbox = sandbox
        self._new_id = new_id
        self._denied = denied

    # ---- definitions ----------------------------------------------------------------------------------

    async def list_hook_groups(self, call: Call[None]) -> ListHookGroupsResponse:
        async with self._database.read() as connection:
            return ListHookGroupsResponse.trusted(groups=tuple(await store.groups(connection)))

    async def list_hooks(self, call: Call[None]) -> ListHooksResponse:
        group_id = call.params["hookGroupId"]
        async with self._database.read() as connection:
            found = await store.of_group(connection, group_id)
        if not found:
            raise ResourceNotFound(f"There is no hook in the hook group `{group_id}`.")
        return ListHooksResponse.trusted(hooks=tuple(hook.shown() for hook in found))

    async def hook(self, call: Call[None]) -> HookDefinition:
        return (await self._get(call)).shown()

    async def get_hook_status(self, call: Call[None]) -> HookStatusResponse:
        hook = await self._get(call)
        async with self._database.read() as connection:
            last = await store.fires(connection, hook.key, store.NEWEST, 1)
        return HookStatusResponse.trusted(
            last_fire=_of_status(last[0]) if last else LastFireOfStatus.trusted(result="no-fire"),
            next_scheduled_date=hook.next_date,
        )

    async def create_hook(self, call: Call[CreateHookRequest]) -> HookDefinition:
        key = _key(call)
        check_definition(key, call.body, self._denied)
        created = await self._database.write(lambda tx: definitions.create(tx, key, call.body, self._new_id))
        return created.shown()

    async def update_hook(self, call: Call[CreateHookRequest]) -> HookDefinition:
        key = _key(call)
        await self._get(call)
        check_definition(key, call.body, self._denied)
        changed = await self._database.write(lambda tx: definitions.update(tx, key, call.body, self._new_id))
        return changed.shown()

    async def remove_hook(self, call: Call[None]) -> None:
        key = _key(call)
        await self._database.write(lambda tx: definitions.remove(tx, key))

    # ---- firing ---------------------------------------------------------------------------------------

    async def trigger_hook(self, call: Call[TriggerHookRequest]) -> TriggerHookResponse:
        hook = await self._get(call)
        return await self._trigger(hook, call, "triggerHook", client_id=call.permit.client_id)

    async def trigger_hook_with_token(self, call: Call[TriggerHookRequest]) -> TriggerHookResponse:
        hook = await self._get(call)
        if not hmac.compare_digest(call.params["token"].encode(), hook.trigger_token.encode()):
            raise AuthenticationFailed("This is not the trigger token of the hook.")
        return await self._trigger(hook, call, "triggerHookWithToken")

    async def get_trigger_token(self, call: Call[None]) -> TriggerTokenResponse:
        return TriggerTokenResponse.trusted(token=(await self._get(call)).trigger_token)

    async def reset_trigger_token(self, call: Call[None]) -> TriggerTokenResponse:
        key = _key(call)
        hook = await self._database.write(lambda tx: definitions.reset_token(tx, key, self._new_id))
        return TriggerTokenResponse.trusted(token=hook.trigger_token)

    async def list_last_fires(self, call: Call[None]) -> ListLastFiresResponse:
        key, page = _key(call), page_of(call.query)
        before = store.NEWEST if not page.after else _fire_id(page.after)
        async with self._database.read() as connection:
            found = await store.fires(connection, key, before, page.wanted)
            if not found and before == store.NEWEST:
                group_id, hook_id = key
                raise ResourceNotFound(f"The hook `{hook_id}` of the group `{group_id}` has never fired.")
            known = await tasks.get(connection, [fire.task_id for fire in found])
        kept, token = page.cut([str(fire.id) for fire in found])
        return ListLastFiresResponse.trusted(
            last_fires=tuple(_last_fire(fire, known.get(fire.task_id)) for fire in found[: len(kept)]),
            continuation_token=token,
        )

    async def _get(self, call: Call[Any]) -> Hook:
        key = _key(call)
        async with self._database.read() as connection:
            found = await store.get(connection, key)
        if found is None:
            raise hook_not_found(key)
        return found

    async def _trigger(
        self, hook: Hook, call: Call[TriggerHookRequest], fired_by: FiredBy, *, client_id: str | None = None
    ) -> TriggerHookResponse:
        payload: dict[str, Any] = call.body.root
        violations = await self._sandbox.violations(hook.definition.trigger_schema, payload)
        if violations:
            lines = "\n".join(f" * {violation}" for violation in violations)
            raise InputError(f"The payload violates the `triggerSchema` of the hook:\n\n{lines}")
        task_id = payload.get("taskId", self._new_id())
        if not isinstance(task_id, str) or _SLUGID.fullmatch(task_id) is None:
            raise InputError("`/taskId` of the payload must be a slugid: 22 characters, as of every task id.")
        now = self._database.clock.now()
        fired = await self._firing.fire(hook, Occasion(fired_by, task_id, now, payload, client_id))
        if fired.declined:
            return TriggerHookResponse()
        if fired.error is not None:
            raise InputError(_refusal(hook, fired.error))
        return TriggerHookResponse.trusted(task_id=task_id, status=TriggeredStatus.trusted(task_id=task_id))


def _key(call: Call[Any]) -> Key:
    return call.params["hookGroupId"], call.params["hookId"]


def _refusal(hook: Hook, error: Exception) -> str:
    text = str(error)[:MAX_TEXT]
    if isinstance(error, InsufficientScopes):
        return f"The hook created no task, because the role `{hook.role}` lacks scopes: {text}"
    return f"The hook created no task: {text}"


def _fire_id(text: str) -> int:
    if _DIGITS.fullmatch(text) is None:
        raise InputError("`continuationToken` is not one that this service has given out.")
    return int(text)


def _of_status(fire: Fire) -> LastFireOfStatus:
    if not fire.error:
        return LastFireOfStatus.trusted(result="success", task_id=fire.task_id, time=fire.created)
    return LastFireOfStatus.trusted(result="error", error=_error(fire.error), time=fire.created)


def _error(text: str) -> dict[str, Any]:
    try:
        value = from_json(text)
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {"message": text}


def _last_fire(fire: Fire, task: Task | None) -> LastFire:
    return LastFire.trusted(
        hook_group_id=fire.key[0],
        hook_id=fire.key[1],
        fired_by=fire.fired_by,
        task_id=fire.task_id,
        task_create_time=fire.created,
        result="error" if fire.error else "success",
        error=fire.error,
        task_state=task.state if task is not None and task.runs else "unknown",
    )
