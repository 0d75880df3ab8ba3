"""Bodies and messages of triggers: tasks that start by the clock, by messages or by members of worksets.

Rules: ``seed-systems.md`` D.5, D.6, R-1 to R-6.
"""

import re
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, Strict, StringConstraints, model_validator

from schemas.base import INTEGRAL, Document, Request, Text
from schemas.durations import Duration, DurationOrZero
from schemas.hooks import NOTHING_BUT_EMPTY, HookBinding
from schemas.ids import TENANT_PATTERN, TRIGGER_ID_PATTERN, TaskId
from schemas.kv import Key, ValueFormat
from schemas.messages import Message
from schemas.task import UNIQUE, UNIQUE_ITEMS, JsonObject
from schemas.times import Time, parse_time
from schemas.worksets import AckMode, LeaseTtl, SetName

MAX_PATTERNS: Final = 100
MAX_CATCH_UP: Final = 100
MAX_FILTER: Final = 100
SHORTEST_INTERVAL: Final = timedelta(seconds=1)

TriggerId = Annotated[str, StringConstraints(strict=True, pattern=f"^(?:{TRIGGER_ID_PATTERN})$")]
Namespace = Annotated[
    str,
    StringConstraints(
        strict=True,
        max_length=239,
        pattern=rf"^{TENANT_PATTERN}:[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)*$",
    ),
]
"""``tenant:namespace`` of the KV service."""
TriggerState = Literal["active", "paused", "exhausted", "blocked"]
"""``exhausted``: it fired as often as its limit allows. ``blocked``: a range failed too often."""
FiredBy = Literal["interval", "cron", "message", "workset", "manual"]
Misfire = Literal["one", "all", "skip"]
"""What becomes of ticks that nobody saw in time: one task for the latest, one for each, or none."""
Overlap = Literal["allow", "skip", "queue-one"]
"""What a tick does while a task of the tick before is unfinished."""

_PRODUCTS_TIME: Final = re.compile(
    r"(\d{4}-\d{2}-\d{2}) (\d{2}:\d{2}:\d{2}(?:\.\d{1,3})?) ([+-]\d{2}):?(\d{2})", re.ASCII
)


def _parse_start(value: object) -> datetime:
    """A time of the wire, or one such as ``2024-05-01 12:00:00.000 +0200``."""
    if isinstance(value, str) and (match := _PRODUCTS_TIME.fullmatch(value)):
        value = f"{match[1]}T{match[2]}{match[3]}:{match[4]}"
    return parse_time(value)


def _long_enough(value: timedelta) -> timedelta:
    if value < SHORTEST_INTERVAL:
        raise ValueError("must be at least 1 second")
    return value


def _listed(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _exactly_one(given: dict[str, object]) -> str:
    """The name of the only member that is there. Raises ValueError."""
    names = [name for name, value in given.items() if value is not None]
    if len(names) != 1:
        found = f", and there are {' and '.join(names)}" if names else ", and there is none"
        raise ValueError(f"must have exactly one of {', '.join(given)}{found}")
    return names[0]


class WindowStart(Request):
    """Where contiguous ranges begin: at a time, or at a watermark that was kept under a name."""

    start_time: Annotated[Time, BeforeValidator(_parse_start)] | None = None
    high_watermark: Key | None = None
    """The name under which the watermark is kept; the trigger's own if left out."""
    tracked: Key | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> "WindowStart":
        _exactly_one({"startTime": self.start_time, "tracked": self.tracked})
        if self.tracked is not None and self.high_watermark is not None:
            raise ValueError("must not have highWatermark beside tracked, which names the watermark already")
        return self

    @property
    def name(self) -> str | None:
        """The name of the watermark; None for the trigger's own."""
        return self.tracked or self.high_watermark


class Window(Request):
    """The range of time that each firing covers (TR-5)."""

    size: Duration
    offset: DurationOrZero = timedelta(0)
    """How long a range is over before it is covered."""
    start: WindowStart | None = None
    """With it ranges are contiguous and a failed one comes again; without, each is computed from its tick."""
    catch_up: Annotated[int, Field(ge=1, le=MAX_CATCH_UP), INTEGRAL] = 1
    """How many ranges a tick may cover, if it is behind."""


class Interval(Request):
    """A tick each ``duration``, counted from the creation of the trigger (TR-1)."""

    duration: Annotated[Duration, AfterValidator(_long_enough)]
    random_offset: Duration | None = None
    immediate: Annotated[bool, Strict()] = False
    window: Window | None = None


class Cron(Request):
    """A tick at each date of one of the patterns (TR-2)."""

    cron: Annotated[
        tuple[Annotated[str, StringConstraints(strict=True, max_length=255)], ...],
        BeforeValidator(_listed),
        Field(min_length=1, max_length=MAX_PATTERNS, json_schema_extra=UNIQUE_ITEMS),
        UNIQUE,
    ]
    timezone: Annotated[str, StringConstraints(strict=True, min_length=1, max_length=100)] = "UTC"
    random_offset: Duration | None = None
    immediate: Annotated[bool, Strict()] = False
    window: Window | None = None


_Filter = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=255)]
_Filters = Annotated[
    tuple[_Filter, ...], BeforeValidator(_listed), Field(min_length=1, max_length=MAX_FILTER), UNIQUE
]


class MessageFilter(Request):
    """Which messages fire: those that pass all filters; a list passes when one value is equal (TR-6)."""

    limit: Annotated[int, Field(ge=1, le=2**31), INTEGRAL] | None = None
    """After so many firings the trigger is exhausted."""
    filter_kind: Literal["system", "user"] | None = None
    filter_source: (
        Annotated[
            tuple[Literal["job", "worker", "server"], ...], BeforeValidator(_listed), Field(min_length=1)
        ]
        | None
    ) = None
    filter_worker: _Filter | None = None
    filter_job: _Filter | None = None
    filter_type: _Filters | None = None
    filter_tag: _Filters | None = None
    bindings: Annotated[tuple[HookBinding, ...], Field(min_length=1, max_length=MAX_FILTER)] | None = None
    """Ours: the messages to listen to, by exchange and routing key, in place of those that filters name."""


class PopBatch(Request):
    """A workset whose members become tasks, a batch each (WK-11)."""

    namespace: Namespace
    set: SetName
    limit: Annotated[int, Field(ge=1, le=1000), INTEGRAL] = 1
    lease_ttl_ms: LeaseTtl = 60_000
    ack_mode: AckMode = "ack-batch"


class KvGet(Request):
    """The value of one key."""

    key: Key


class KvIterate(Request):
    """The values of the keys that begin with ``prefix``, in their order."""

    prefix: Annotated[
        str, StringConstraints(strict=True, max_length=512, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")
    ] = ""
    page_size: Annotated[int, Field(ge=1, le=1000), INTEGRAL] = 100


class KvInput(Request):
    """What a firing reads for its task; if there is nothing, there is no task (KV-6)."""

    namespace: Namespace
    get: KvGet | None = None
    iterate: KvIterate | None = None
    value_format: ValueFormat = "json"

    @model_validator(mode="after")
    def _one_of_them(self) -> "KvInput":
        _exactly_one({"get": self.get, "iterate": self.iterate})
        return self


class TransientRetry(Request):
    """For one operation of the trigger that fails for the moment (TR-11), and for ranges that fail (TR-5)."""

    timeout: Duration = timedelta(seconds=30)
    retries: Annotated[int, Field(ge=0, le=100), INTEGRAL] = 0


class CreateTriggerRequest(Request):
    """What a trigger is to be. ``task`` is a JSON-e template of the body of a createTask."""

    schema_name = "create-trigger-request"

    description: Annotated[str, StringConstraints(strict=True, max_length=32768)] = ""
    interval: Interval | None = None
    cron: Cron | None = None
    message: MessageFilter | None = None
    pop_batch: PopBatch | None = None
    """By itself it is popped all the time; with interval or cron a batch at each tick."""
    input: KvInput | None = None
    misfire: Misfire = "one"
    overlap: Overlap = "allow"
    retry: TransientRetry = TransientRetry()
    payload_schema: JsonObject = Field(default_factory=lambda: dict(NOTHING_BUT_EMPTY))
    """What a manual firing may bring."""
    task: JsonObject

    @model_validator(mode="after")
    def _fired_by_one_thing(self) -> "CreateTriggerRequest":
        if self.pop_batch is None or self.message is not None:
            _exactly_one({"interval": self.interval, "cron": self.cron, "message": self.message})
        elif self.interval is not None and self.cron is not None:
            raise ValueError("must not have both interval and cron")
        if self.pop_batch is not None:
            self._check_batches()
        if self.overlap != "allow" and self.timed is None:
            raise ValueError("overlap is for interval and cron only")
        return self

    def _check_batches(self) -> None:
        """A batch is what its firing is about: no message, no range and no other input beside it."""
        beside = {"message": self.message, "window": self.window, "input": self.input}
        if named := [name for name, value in beside.items() if value is not None]:
            raise ValueError(f"must not have {named[0]} beside popBatch")
        if self.overlap != "allow":
            raise ValueError("must not have overlap beside popBatch: batches do not overlap")

    @property
    def timed(self) -> Interval | Cron | None:
        """What the clock has to do with it."""
        return self.interval or self.cron

    @property
    def window(self) -> Window | None:
        return None if self.timed is None else self.timed.window


class TriggerWatermark(Document):
    """How far contiguous ranges have come."""

    name: Text
    """The key in the namespace ``taskbus:triggers`` of the KV service."""
    time: Time
    open_ranges: Annotated[int, Field(ge=0), INTEGRAL]
    """Ranges beyond it that are under way, or failed."""


class TriggerDefinition(Document):
    """A trigger as it is."""

    schema_name = "trigger-definition"

    group: TriggerId
    id: TriggerId
    state: TriggerState
    created: Time
    next_tick: Time | None = None
    """The next date of the schedule."""
    fires: Annotated[int, Field(ge=0), INTEGRAL]
    """How often it fired, manually or by itself; failed firings count."""
    fired_by_messages: Annotated[int, Field(ge=0), INTEGRAL] | None = None
    """How many messages have fired it, of those that count for its limit."""
    watermark: TriggerWatermark | None = None
    blocked_because: Text | None = None
    description: Text = ""
    interval: Interval | None = None
    cron: Cron | None = None
    message: MessageFilter | None = None
    pop_batch: PopBatch | None = None
    input: KvInput | None = None
    misfire: Misfire
    overlap: Overlap
    retry: TransientRetry
    payload_schema: JsonObject
    task: JsonObject


class ListTriggersResponse(Document):
    schema_name = "list-triggers-response"

    triggers: tuple[TriggerDefinition, ...]
    continuation_token: Text | None = None


class FireTriggerRequest(Request):
    """A manual firing; the payload obeys the trigger's ``payloadSchema``."""

    schema_name = "fire-trigger-request"

    payload: JsonObject = Field(default_factory=dict)


class FireTriggerResponse(Document):
    """The firing and its task; no task when the template rendered to nothing."""

    schema_name = "fire-trigger-response"

    fire_id: Annotated[int, Field(ge=1), INTEGRAL] | None = None
    task_id: TaskId | None = None


class WindowRange(Document):
    """A half-open range of time: ``from`` is in it, ``to`` is not."""

    from_: Annotated[Time, Field(alias="from")]
    to: Time


class TriggerFire(Document):
    """One firing of a trigger, and what became of it."""

    fire_id: Annotated[int, Field(ge=1), INTEGRAL]
    fired_by: FiredBy
    time: Time
    scheduled_for: Time | None = None
    window: WindowRange | None = None
    outcome: Literal["created", "duplicate", "error"]
    """``duplicate``: the task is unique, and an equal one was there already."""
    task_id: TaskId
    error: Text | None = None
    task_state: Literal["unscheduled", "pending", "running", "completed", "failed", "exception", "unknown"]


class ListTriggerFiresResponse(Document):
    """The last 50 firings, the newest first."""

    schema_name = "list-trigger-fires-response"

    fires: tuple[TriggerFire, ...]


class DeleteTriggerResponse(Document):
    schema_name = "delete-trigger-response"

    deleted: bool


class TriggerMessage(Message):
    """Something that whoever looks after a trigger must know; the exchange tells what."""

    schema_name = "trigger-message"

    group: TriggerId
    trigger_id: TriggerId
    reason: Text
    details: dict[str, Any] | None = None


class TriggerBlockedMessage(TriggerMessage):
    """A range failed as often as it may: the trigger covers no more until it is resumed (TR-5)."""


class TriggerLoopMessage(TriggerMessage):
    """A message did not fire the trigger, because triggers have fired each other too often (TR-9)."""


class TriggerExhaustedMessage(TriggerMessage):
    """The trigger has fired as often as its limit allows (TR-7)."""
