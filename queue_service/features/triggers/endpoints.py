"""The table of the endpoints of triggers (``seed-systems.md`` D.5)."""

from typing import Any, Final

from queue_service.api.endpoint import Endpoint
from queue_service.features.triggers.api import TriggersApi
from schemas import triggers as shapes

_TRIGGER: Final = "/<triggerGroup>/<triggerId>"
_CREATE: Final = "triggers:create:<triggerGroup>/<triggerId>"
_CREATE_AS_ROLE: Final[Any] = {"AllOf": [_CREATE, "assume:trigger-id:<triggerGroup>/<triggerId>"]}
_GET: Final = "triggers:get:<triggerGroup>/<triggerId>"

TRIGGERS_ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint(
        name="listTriggers",
        method="get",
        route="/triggers",
        category="Triggers",
        title="List triggers",
        description="All triggers in the order of their groups and ids.",
        handler=TriggersApi.list_triggers,
        scopes="triggers:list:",
        query=("continuationToken", "limit"),
        output=shapes.ListTriggersResponse,
    ),
    Endpoint(
        name="trigger",
        method="get",
        route=_TRIGGER,
        category="Triggers",
        title="Get a trigger",
        description="The definition of the trigger, its state, its next tick, and how far its ranges are.",
        handler=TriggersApi.trigger,
        scopes=_GET,
        output=shapes.TriggerDefinition,
    ),
    Endpoint(
        name="createTrigger",
        method="put",
        route=_TRIGGER,
        category="Triggers",
        title="Create a trigger",
        description=(
            "Exactly one of `interval`, `cron`, `message` and `popBatch` says what fires it. Its tasks may "
            "have the scopes of the role `trigger-id:<group>/<id>`, which the caller must have, too. "
            "Creating it again with the same definition is allowed; with another one it is 409."
        ),
        handler=TriggersApi.create_trigger,
        scopes=_CREATE_AS_ROLE,
        input=shapes.CreateTriggerRequest,
        output=shapes.TriggerDefinition,
        refuses=(409,),
    ),
    Endpoint(
        name="updateTrigger",
        method="post",
        route=_TRIGGER,
        category="Triggers",
        title="Update a trigger",
        description=(
            "Replaces the definition, in force before the next tick. What was drawn for `randomOffset` stays "
            "unless that changes, and ranges go on where they are unless `window.start` changes."
        ),
        handler=TriggersApi.update_trigger,
        scopes=_CREATE_AS_ROLE,
        input=shapes.CreateTriggerRequest,
        output=shapes.TriggerDefinition,
    ),
    Endpoint(
        name="deleteTrigger",
        method="delete",
        route=_TRIGGER,
        category="Triggers",
        title="Delete a trigger",
        description=(
            "Deletes the trigger and the records of its firings; 200 if there is none. Its tasks stay as "
            "they are, and so does its watermark: a trigger of the same name goes on from there."
        ),
        handler=TriggersApi.delete_trigger,
        scopes=_CREATE,
        output=shapes.DeleteTriggerResponse,
    ),
    Endpoint(
        name="pauseTrigger",
        method="post",
        route=f"{_TRIGGER}/pause",
        category="Triggers",
        title="Pause a trigger",
        description="Lets nothing but `fireTrigger` fire it. Messages that come meanwhile do not count.",
        handler=TriggersApi.pause_trigger,
        scopes=_CREATE,
        output=shapes.TriggerDefinition,
        refuses=(409,),
    ),
    Endpoint(
        name="resumeTrigger",
        method="post",
        route=f"{_TRIGGER}/resume",
        category="Triggers",
        title="Resume a trigger",
        description=(
            "Lets a paused trigger fire again; of the ticks it missed as many as `misfire` says. A blocked "
            "trigger tries the range that failed as often again."
        ),
        handler=TriggersApi.resume_trigger,
        scopes=_CREATE,
        output=shapes.TriggerDefinition,
        refuses=(409,),
    ),
    Endpoint(
        name="fireTrigger",
        method="post",
        route=f"{_TRIGGER}/fire",
        category="Firings",
        title="Fire a trigger",
        description=(
            "Creates a task of the trigger now, whatever its state and its schedule; the `payload` must obey "
            "its `payloadSchema`; without a body it is empty. A template that renders to nothing creates no "
            "task: the answer is empty."
        ),
        handler=TriggersApi.fire_trigger,
        scopes="triggers:fire:<triggerGroup>/<triggerId>",
        input=shapes.FireTriggerRequest,
        may_be_left_out=True,
        output=shapes.FireTriggerResponse,
        refuses=(409,),
    ),
    Endpoint(
        name="listTriggerFires",
        method="get",
        route=f"{_TRIGGER}/fires",
        category="Firings",
        title="List the last firings of a trigger",
        description="The last 50 firings, the newest first, with the states of their tasks now.",
        handler=TriggersApi.list_fires,
        scopes=_GET,
        output=shapes.ListTriggerFiresResponse,
    ),
)
"""Every endpoint of triggers; the handlers are methods of :class:`TriggersApi`."""
