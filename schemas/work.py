"""Attached workers: bodies of the work API, and the frames of its sockets (``seed-systems.md`` part A)."""

from datetime import timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, StringConstraints

from schemas.base import INTEGRAL, Document, Request, Text
from schemas.durations import Duration
from schemas.extensions import Flag
from schemas.ids import TaskId, WorkerGroup, WorkerId
from schemas.jobs import Amount, StepName, Total
from schemas.messages import Message
from schemas.task import Priority, Tags, TaskStatus
from schemas.times import Time

NAME_PATTERN: Final = r"[A-Za-z][A-Za-z0-9_-]{0,37}"
MAX_ATTRS: Final = 20
MAX_FILTER_VALUES: Final = 1000
MAX_DESCRIPTIONS: Final = 100
MAX_CAPACITY: Final = 1000
SHORTEST: Final = timedelta(seconds=1)
LONGEST: Final = timedelta(hours=24)
DEFAULT_TIMEOUT: Final = timedelta(seconds=30)
DEFAULT_RETRIES: Final = 5

_Name = Annotated[str, StringConstraints(strict=True, pattern=f"^(?:{NAME_PATTERN})$")]
Attrs = Annotated[dict[Text, Text], Field(max_length=MAX_ATTRS)]


def _bounded(value: timedelta) -> timedelta:
    if not SHORTEST <= value <= LONGEST:
        raise ValueError("must be between 1 s and 24 h")
    return value


Timeout = Annotated[Duration, AfterValidator(_bounded)]

# ---- what workers say of themselves ------------------------------------------------------------------


class WorkDescription(Document):
    """Work that a connection takes: of this name, with attributes among these values."""

    name: _Name
    filter: Annotated[
        dict[Text, Annotated[tuple[Text, ...], Field(max_length=MAX_FILTER_VALUES)]],
        Field(max_length=MAX_ATTRS),
    ] = Field(default_factory=dict)
    info: Any = None
    description: Any = None
    args_description: Any = Field(default=None, alias="args_description")
    allowed_on_kind: Any = Field(default=None, alias="allowed_on_kind")
    expect_node_result: Any = Field(default=None, alias="expect_node_result")


Descriptions = Annotated[tuple[WorkDescription, ...], Field(min_length=1, max_length=MAX_DESCRIPTIONS)]


class HelloFrame(Document):
    """``work.v2``: what the connection takes, and how much at once."""

    kind: Literal["hello"]
    capacity: Annotated[int, Field(ge=1, le=MAX_CAPACITY), INTEGRAL] = 100
    tasks: Descriptions


class ProgressFrame(Document):
    """``work.v2``: how far an item is."""

    kind: Literal["progress"]
    task_id: TaskId = Field(alias="task_id")
    run_id: Annotated[int, INTEGRAL] = Field(alias="run_id")
    step: Text | None = None
    percent: Annotated[float, Field(ge=0, le=100)] | None = None
    current: Amount | None = None
    total: Total | None = None
    message: Annotated[str, StringConstraints(strict=True, max_length=1000)] | None = None


class ReportFrame(Document):
    """``work.v2``: what a worker tells of a typed job. What is not named here is a report of the jobs' API.

    A frame with an ``id``, of the worker's choice, is answered by ``reported`` or ``error`` with the same.
    """

    kind: Literal["step", "log", "output"]
    task_id: TaskId = Field(alias="task_id")
    run_id: Annotated[int, INTEGRAL] = Field(alias="run_id")
    id: Annotated[int, Field(ge=0, lt=2**53), INTEGRAL] | None = None
    step: StepName | None = None


class ExtendFrame(Document):
    """``work.v2``: more time for an item; beyond the task's deadline it is cut."""

    kind: Literal["extend"]
    task_id: TaskId = Field(alias="task_id")
    run_id: Annotated[int, INTEGRAL] = Field(alias="run_id")
    seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)]


class SnoozeFrame(Document):
    """``work.v2``: a pause for an item."""

    kind: Literal["snooze"]
    task_id: TaskId = Field(alias="task_id")
    run_id: Annotated[int, INTEGRAL] = Field(alias="run_id")
    seconds: Annotated[float, Field(ge=0, le=LONGEST.total_seconds())]


# ---- the HTTP API ------------------------------------------------------------------------------------


class CreateWorkRequest(Request):
    """An item of work for an attached worker."""

    schema_name = "create-work-request"

    task_id: TaskId | None = None
    name: _Name
    attrs: Attrs = Field(default_factory=dict)
    data: Any = Field(default_factory=dict)
    timeout: Timeout = DEFAULT_TIMEOUT
    """From the moment a worker has it."""
    hold_timeout: Timeout | None = None
    """How long it waits for a worker at most; as long as ``timeout`` unless told otherwise."""
    retries: Annotated[int, Field(ge=0, le=49), INTEGRAL] = DEFAULT_RETRIES
    priority: Priority = "lowest"
    spillover: Flag = False
    """Whether it may go to a less specific worker while the most specific ones are full."""
    tags: Tags = Field(default_factory=dict)


class WorkResponse(Document):
    """How the item stands; ``output`` once it is done."""

    schema_name = "work-response"

    status: TaskStatus
    output: Any = None


class WorkItem(Document):
    """An item as workers know it."""

    task_id: TaskId = Field(alias="task_id")
    task_name: Text = Field(alias="task_name")
    data: Any
    attrs: dict[str, str]


class WorkInFlight(Document):
    """An item that a worker has."""

    task: WorkItem
    worker: Text
    retry_counter: int = Field(alias="retry_counter")
    deadline: Time
    progress: dict[str, Any] | None = None


class WorkList(Document):
    """The items that workers have now."""

    schema_name = "work-list"

    items: tuple[WorkInFlight, ...]


class HeldItem(Document):
    """An item that waits for a worker."""

    task_id: TaskId
    name: Text
    attrs: dict[str, str]
    held_until: Time


class HeldWork(Document):
    schema_name = "held-work"

    items: tuple[HeldItem, ...]


class AttachedWorker(Document):
    """A connection with what it takes and has."""

    worker_group: Text
    worker_id: Text
    protocol: Text
    capacity: int
    in_flight: int
    draining: bool
    attached: Time
    tasks: tuple[dict[str, Any], ...]


class AttachedWorkers(Document):
    """The connections of the process that answers."""

    schema_name = "attached-workers"

    workers: tuple[AttachedWorker, ...]


# ---- messages ----------------------------------------------------------------------------------------


class WorkerConnectionMessage(Message):
    """A worker attached or detached."""

    worker_group: WorkerGroup
    worker_id: WorkerId
    task_name: Text
    """The first that it takes."""


class WorkerAttachedMessage(WorkerConnectionMessage):
    """A worker attached."""

    schema_name = "worker-attached-message"

    first_seen: Literal[True] | None = None
    """Nobody has seen this worker before. Each connection is another worker, so this is always so."""


class WorkerDetachedMessage(WorkerConnectionMessage):
    """A worker is gone."""

    schema_name = "worker-detached-message"

    reason: Text
