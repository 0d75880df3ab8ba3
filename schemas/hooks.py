"""Request and response bodies of hooks: tasks that are created by a call, a message or the clock."""

from typing import Annotated, Any, Final, Literal

from pydantic import Field, Strict, StringConstraints

from schemas.base import Document, Request, RequestUnion, Text
from schemas.ids import HOOK_GROUP_ID_PATTERN, HOOK_ID_PATTERN, TaskId
from schemas.messages import Message
from schemas.task import UNIQUE, UNIQUE_ITEMS, JsonObject
from schemas.times import Time

MAX_BINDINGS: Final = 100
MAX_SCHEDULES: Final = 100
MAX_AMQP_NAME: Final = 255
"""Bytes of the name of an exchange, and of a routing key."""
NOTHING_BUT_EMPTY: Final[JsonObject] = {"type": "object", "additionalProperties": False}
"""The schema of payloads of a hook that names none: nothing may be in them."""
FiredBy = Literal["triggerHook", "triggerHookWithToken", "pulseMessage", "schedule"]

HookGroupId = Annotated[str, StringConstraints(strict=True, pattern=f"^(?:{HOOK_GROUP_ID_PATTERN})$")]
HookId = Annotated[str, StringConstraints(strict=True, pattern=f"^(?:{HOOK_ID_PATTERN})$")]
_AmqpName = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=MAX_AMQP_NAME)]


class HookMetadata(Request):
    """What people want to know of a hook."""

    name: Annotated[str, StringConstraints(strict=True, max_length=255)]
    description: Annotated[str, StringConstraints(strict=True, max_length=32768)]
    owner: Annotated[
        str,
        StringConstraints(strict=True, max_length=255, pattern=r"^[^@\s]+@[^@\s]+$"),
    ]
    email_on_error: Annotated[bool, Strict()] = True


class HookBinding(Request):
    """Messages that fire a hook: of an exchange, with a routing key of this topic pattern."""

    exchange: _AmqpName
    routing_key_pattern: _AmqpName


Bindings = Annotated[
    tuple[HookBinding, ...], Field(max_length=MAX_BINDINGS, json_schema_extra=UNIQUE_ITEMS), UNIQUE
]
Schedule = Annotated[
    tuple[Annotated[str, StringConstraints(strict=True, max_length=255)], ...],
    Field(max_length=MAX_SCHEDULES, json_schema_extra=UNIQUE_ITEMS),
    UNIQUE,
]


class CreateHookRequest(Request):
    """What a hook is to be. ``task`` is a JSON-e template of the body of a createTask."""

    schema_name = "create-hook-request"

    hook_group_id: HookGroupId | None = None
    hook_id: HookId | None = None
    metadata: HookMetadata
    task: JsonObject
    bindings: Bindings | None = None
    schedule: Schedule = ()
    trigger_schema: JsonObject = Field(default_factory=lambda: dict(NOTHING_BUT_EMPTY))


class HookDefinition(Document):
    """A hook as it is. What is secret about it is not in here."""

    schema_name = "hook-definition"

    hook_group_id: HookGroupId
    hook_id: HookId
    metadata: HookMetadata
    task: JsonObject
    bindings: tuple[HookBinding, ...] | None = None
    schedule: tuple[Text, ...]
    trigger_schema: JsonObject


class ListHookGroupsResponse(Document):
    schema_name = "list-hook-groups-response"

    groups: tuple[HookGroupId, ...]


class ListHooksResponse(Document):
    schema_name = "list-hooks-response"

    hooks: tuple[HookDefinition, ...]


class LastFireOfStatus(Document):
    """How the hook last fired; ``error`` tells why it created no task."""

    result: Literal["no-fire", "success", "error"]
    task_id: TaskId | None = None
    error: JsonObject | None = None
    time: Time | None = None


class HookStatusResponse(Document):
    """When the hook last fired, and when its schedule fires it next."""

    schema_name = "hook-status"

    last_fire: LastFireOfStatus
    next_scheduled_date: Time | None = None


class TriggerHookRequest(RequestUnion[dict[str, Any]]):
    """Whatever the ``triggerSchema`` of the hook allows."""

    schema_name = "trigger-hook"


class TriggeredStatus(Document):
    task_id: TaskId


class TriggerHookResponse(Document):
    """The task that was created; empty when the template rendered to nothing."""

    schema_name = "trigger-hook-response"

    task_id: TaskId | None = None
    status: TriggeredStatus | None = None


class TriggerTokenResponse(Document):
    """A secret: who knows it may fire the hook."""

    schema_name = "trigger-token-response"

    token: Text


class LastFire(Document):
    """One firing of a hook; ``task_state`` is the state of the task's last run now."""

    hook_group_id: HookGroupId
    hook_id: HookId
    fired_by: FiredBy
    task_id: TaskId
    task_create_time: Time
    result: Literal["success", "error"]
    error: Text
    task_state: Literal["unscheduled", "pending", "running", "completed", "failed", "exception", "unknown"]


class ListLastFiresResponse(Document):
    schema_name = "list-lastFires-response"

    last_fires: tuple[LastFire, ...]
    continuation_token: Text | None = None


class HookMessage(Message):
    """A hook changed; the exchange tells how."""

    schema_name = "hook-message"

    version: Literal[1] | None = None  # type: ignore[assignment]
    """These messages have none."""
    hook_group_id: HookGroupId
    hook_id: HookId


class HookCreatedMessage(HookMessage):
    """There is a new hook."""


class HookUpdatedMessage(HookMessage):
    """A hook has another definition."""


class HookDeletedMessage(HookMessage):
    """A hook is no more."""
