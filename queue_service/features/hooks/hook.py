"""A hook and its firings as values, and the rules of defining one (``hooks-and-triggers.md`` 1, 2, 6)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from queue_service.core.definition import equal_json
from queue_service.core.errors import InputError, RequestConflict, ResourceNotFound
from queue_service.features.firing import cron, json_schema
from schemas.hooks import Bindings, CreateHookRequest, FiredBy, HookDefinition

MAX_ERROR = 128 * 1024
"""Characters kept of why a firing failed."""

Key = tuple[str, str]
"""hookGroupId and hookId."""


@dataclass(frozen=True)
class Hook:
    """A hook as it is stored."""

    group_id: str
    hook_id: str
    definition: CreateHookRequest
    trigger_token: str = field(repr=False)
    next_task_id: str = field(repr=False)
    """Of the task that the schedule creates next. Nobody may know it, or he could be first."""
    next_date: datetime | None = None

    @property
    def key(self) -> Key:
        return self.group_id, self.hook_id

    @property
    def role(self) -> str:
        """Whose scopes its tasks may have."""
        return f"hook-id:{self.group_id}/{self.hook_id}"

    @property
    def bindings(self) -> Bindings:
        return self.definition.bindings or ()

    def scheduled(self, now: datetime, next_task_id: str) -> "Hook":
        """With the next date after now, and another task for it. Missed dates are skipped."""
        date = cron.next_date(self.definition.schedule, now)
        return replace(self, next_date=date, next_task_id=next_task_id)

    def shown(self) -> HookDefinition:
        """What may be told of it."""
        definition = self.definition
        return HookDefinition.trusted(
            hook_group_id=self.group_id,
            hook_id=self.hook_id,
            metadata=definition.metadata,
            task=definition.task,
            bindings=definition.bindings,
            schedule=definition.schedule,
            trigger_schema=definition.trigger_schema,
        )


@dataclass(frozen=True, slots=True)
class Fire:
    """A firing that created a task, or failed to."""

    key: Key
    fired_by: FiredBy
    task_id: str
    created: datetime
    error: str = ""
    """Why no task was created: JSON or plain text."""
    message: str | None = None
    """What names the message that caused it, and no other message."""
    id: int = 0


def hook_not_found(key: Key) -> ResourceNotFound:
    group_id, hook_id = key
    return ResourceNotFound(f"There is no hook `{hook_id}` in the hook group `{group_id}`.")


def check_definition(key: Key, definition: CreateHookRequest, denied: Sequence[re.Pattern[str]]) -> None:
    """Raise InputError for what is wrong with a definition although it has the right shape.

    ``denied``: exchanges to which hooks must not be bound.
    """
    for name, given, expected in zip(
        ("hookGroupId", "hookId"), (definition.hook_group_id, definition.hook_id), key, strict=True
    ):
        if given is not None and given != expected:
            raise InputError(f"`{name}` is `{given}`, and the URL says `{expected}`: they must agree.")
    cron.check(definition.schedule, "/schedule")
    if (problem := json_schema.problem(definition.trigger_schema)) is not None:
        place, reason = problem
        raise InputError(f"`/triggerSchema{place}`: this is no JSON Schema: {reason}")
    for number, binding in enumerate(definition.bindings or ()):
        if any(pattern.match(binding.exchange) for pattern in denied):
            raise InputError(f"`/bindings/{number}/exchange`: hooks must not listen to `{binding.exchange}`.")


def refuse_different(stored: CreateHookRequest, wanted: CreateHookRequest) -> None:
    """Pass when both say the same. Raises RequestConflict."""
    if not equal_json(_comparable(stored), _comparable(wanted)):
        raise RequestConflict("The hook exists already, and with another definition. Use `updateHook`.")


def updated(stored: CreateHookRequest, wanted: CreateHookRequest) -> CreateHookRequest:
    """What replaces the definition: bindings that are not mentioned stay."""
    if wanted.bindings is not None:
        return wanted
    return wanted.model_copy(update={"bindings": stored.bindings})


def _comparable(definition: CreateHookRequest) -> dict[str, Any]:
    wire = definition.to_wire()
    return {"bindings": [], **{name: value for name, value in wire.items() if not name.startswith("hook")}}
