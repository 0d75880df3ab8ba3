"""The table of the endpoints of hooks: names, routes and scopes are those of the published clients."""

from typing import Any, Final

from queue_service.api.endpoint import Endpoint
from queue_service.features.hooks.api import HooksApi
from schemas import hooks as shapes

_HOOK: Final = "/hooks/<hookGroupId>/<hookId>"
_MODIFY: Final = "hooks:modify-hook:<hookGroupId>/<hookId>"
_MODIFY_AS_ROLE: Final[Any] = {"AllOf": [_MODIFY, "assume:hook-id:<hookGroupId>/<hookId>"]}
_CATEGORY: Final = "Hooks"

HOOKS_ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint(
        name="listHookGroups",
        method="get",
        route="/hooks",
        category=_CATEGORY,
        title="List the groups of hooks",
        description="The ids of all groups with at least one hook, sorted.",
        handler=HooksApi.list_hook_groups,
        scopes="hooks:list-hooks:",
        output=shapes.ListHookGroupsResponse,
    ),
    Endpoint(
        name="listHooks",
        method="get",
        route="/hooks/<hookGroupId>",
        category=_CATEGORY,
        title="List the hooks of a group",
        description="The definitions of all hooks of this group.",
        handler=HooksApi.list_hooks,
        scopes="hooks:list-hooks:<hookGroupId>",
        output=shapes.ListHooksResponse,
    ),
    Endpoint(
        name="hook",
        method="get",
        route=_HOOK,
        category=_CATEGORY,
        title="Get a hook",
        description="The definition of the hook.",
        handler=HooksApi.hook,
        scopes="hooks:get:<hookGroupId>:<hookId>",
        output=shapes.HookDefinition,
    ),
    Endpoint(
        name="getHookStatus",
        method="get",
        route=f"{_HOOK}/status",
        category="Hook Status",
        title="Get the status of a hook",
        description="When the hook fired last, and when its schedule fires it next. Use `listLastFires`.",
        handler=HooksApi.get_hook_status,
        scopes="hooks:status:<hookGroupId>/<hookId>",
        output=shapes.HookStatusResponse,
        stability="deprecated",
    ),
    Endpoint(
        name="createHook",
        method="put",
        route=_HOOK,
        category=_CATEGORY,
        title="Create a hook",
        description=(
            "The tasks of a hook may have the scopes of the role `hook-id:<hookGroupId>/<hookId>`, which the "
            "caller must have, too. Creating it again with the same definition is allowed."
        ),
        handler=HooksApi.create_hook,
        scopes=_MODIFY_AS_ROLE,
        input=shapes.CreateHookRequest,
        output=shapes.HookDefinition,
        refuses=(409,),
    ),
    Endpoint(
        name="updateHook",
        method="post",
        route=_HOOK,
        category=_CATEGORY,
        title="Update a hook",
        description="Replaces the definition. Bindings stay when they are left out; the trigger token stays.",
        handler=HooksApi.update_hook,
        scopes=_MODIFY_AS_ROLE,
        input=shapes.CreateHookRequest,
        output=shapes.HookDefinition,
    ),
    Endpoint(
        name="removeHook",
        method="delete",
        route=_HOOK,
        category=_CATEGORY,
        title="Delete a hook",
        description="Deletes the hook and the records of its firings. Its tasks stay as they are.",
        handler=HooksApi.remove_hook,
        scopes=_MODIFY,
        says_done=True,
    ),
    Endpoint(
        name="triggerHook",
        method="post",
        route=f"{_HOOK}/trigger",
        category=_CATEGORY,
        title="Fire a hook",
        description=(
            "Creates the task that the hook's template renders to; the body must obey its `triggerSchema`. "
            "A template that renders to nothing creates no task, and the answer is empty."
        ),
        handler=HooksApi.trigger_hook,
        scopes="hooks:trigger-hook:<hookGroupId>/<hookId>",
        input=shapes.TriggerHookRequest,
        output=shapes.TriggerHookResponse,
    ),
    Endpoint(
        name="getTriggerToken",
        method="get",
        route=f"{_HOOK}/token",
        category=_CATEGORY,
        title="Get the trigger token of a hook",
        description="The secret with which the hook can be fired without credentials.",
        handler=HooksApi.get_trigger_token,
        scopes="hooks:get-trigger-token:<hookGroupId>/<hookId>",
        output=shapes.TriggerTokenResponse,
    ),
    Endpoint(
        name="resetTriggerToken",
        method="post",
        route=f"{_HOOK}/token",
        category=_CATEGORY,
        title="Reset the trigger token of a hook",
        description="Gives the hook another trigger token; the old one ends at once.",
        handler=HooksApi.reset_trigger_token,
        scopes="hooks:reset-trigger-token:<hookGroupId>/<hookId>",
        output=shapes.TriggerTokenResponse,
    ),
    Endpoint(
        name="triggerHookWithToken",
        method="post",
        route=f"{_HOOK}/trigger/<token>",
        category=_CATEGORY,
        title="Fire a hook with its token",
        description="As `triggerHook`, for callers without credentials that know the hook's trigger token.",
        handler=HooksApi.trigger_hook_with_token,
        input=shapes.TriggerHookRequest,
        output=shapes.TriggerHookResponse,
        tests_credentials=True,
    ),
    Endpoint(
        name="listLastFires",
        method="get",
        route=f"{_HOOK}/last-fires",
        category=_CATEGORY,
        title="List the last firings of a hook",
        description="What created tasks and what failed to, newest first, with the states of the tasks now.",
        handler=HooksApi.list_last_fires,
        scopes="hooks:list-last-fires:<hookGroupId>/<hookId>",
        query=("continuationToken", "limit"),
        output=shapes.ListLastFiresResponse,
    ),
)
"""Every endpoint of hooks; the handlers are methods of :class:`HooksApi`."""
