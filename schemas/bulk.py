"""Bodies of the calls that do many things at once: create tasks, claim runs, report runs.

Rules: ``seed-systems.md`` B-1 to B-5. These calls are our extension of the queue's API.
"""

from collections.abc import Callable
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, JsonValue, ValidationError, WrapValidator, model_validator
from pydantic.alias_generators import to_camel

from schemas.base import INTEGRAL, Document, Request, Text
from schemas.durations import DurationOrZero
from schemas.extensions import FailedAttempt, Flag
from schemas.ids import TaskId, WorkerGroup, WorkerId
from schemas.queue import CreateTaskRequest
from schemas.task import ExceptionReason, RunId, TaskState
from schemas.times import Time

MAX_BULK: Final = 1000
"""Tasks or runs of one call."""


def _or_violations(value: object, validate: Callable[[object], Any]) -> object:
    """The item, or what is wrong with it: whoever sent many is told of all that are wrong."""
    try:
        return validate(value)
    except ValidationError as error:
        return error


RunOutcome = Literal["completed", "failed", "exception", "snoozed", "cancelled"]
_MEMBERS: Final[dict[RunOutcome, tuple[set[str], set[str]]]] = {
    "completed": (set(), {"output"}),
    "failed": (set(), {"error", "trace", "retry", "retry_at"}),
    "exception": ({"reason"}, {"error", "trace"}),
    "snoozed": ({"delay"}, set()),
    "cancelled": (set(), {"error", "trace"}),
}
"""What a report of each outcome must have, and what else it may have."""


class TaskToCreate(Request):
    """One task of a bulk: the id that its creator chose, and the body of a createTask."""

    task_id: TaskId
    task: CreateTaskRequest


class CreateTasksRequest(Request):
    """Tasks to create in one transaction, all or none.

    An item that is out of shape is kept as the ``pydantic.ValidationError`` that tells why.
    """

    schema_name = "create-tasks-request"

    tasks: Annotated[
        tuple[Annotated[TaskToCreate, WrapValidator(_or_violations)], ...],
        Field(min_length=1, max_length=MAX_BULK),
    ]
    mode: Literal["each", "fast"] = "each"


class CreatedTask(Document):
    """What became of one task of a bulk; ``task_id`` is that of an existing task when it is a duplicate."""

    task_id: TaskId
    created: bool | None = None
    """False for a repeat: the task existed already, with an equal definition."""
    unique_skipped_as_duplicate: Literal[True] | None = None


class CreateTasksResponse(Document):
    """What became of each task, in the order in which they were sent; in fast mode only how many."""

    schema_name = "create-tasks-response"

    tasks: tuple[CreatedTask, ...] | None = None
    count: Annotated[int, Field(ge=0), INTEGRAL] | None = None


class ClaimBulkRequest(Request):
    """A worker that asks for many runs; ``wait`` is how long it waits for the first one."""

    schema_name = "claim-bulk-request"

    worker_group: WorkerGroup
    worker_id: WorkerId
    tasks: Annotated[int, Field(ge=1, le=MAX_BULK), INTEGRAL] = MAX_BULK
    wait: DurationOrZero | None = None


class RunReport(FailedAttempt, Request):
    """How one run ended; beside the outcome only what the single call of that outcome takes."""

    task_id: TaskId
    run_id: RunId
    outcome: RunOutcome
    reason: ExceptionReason | None = None
    """Of an exception."""
    output: JsonValue = None
    """The result of a completed task."""
    retry: Flag | None = None
    """Of a failure: false makes it final."""
    retry_at: Time | None = None
    """Of a failure: when to try again, in place of what the policy of the task says."""
    delay: DurationOrZero | None = None
    """For how long the run is put off."""

    @model_validator(mode="after")
    def _what_the_outcome_takes(self) -> Self:
        needed, possible = _MEMBERS[self.outcome]
        given = self.model_fields_set - {"task_id", "run_id", "outcome"}
        for name in needed - given:
            raise ValueError(f"`{to_camel(name)}` must be given with the outcome `{self.outcome}`")
        for name in sorted(given - needed - possible):
            raise ValueError(f"`{to_camel(name)}` cannot be given with the outcome `{self.outcome}`")
        return self


class ReportRunsRequest(Request):
    """Runs that ended; each is judged on its own."""

    schema_name = "report-runs-request"

    reports: Annotated[tuple[RunReport, ...], Field(min_length=1, max_length=MAX_BULK)]


class ReportError(Document):
    """Why one report was refused: code and text as of the single call."""

    code: Text
    message: Text


class ReportOutcome(Document):
    """What became of one report: the state of the task afterwards, or the refusal."""

    task_id: TaskId
    run_id: RunId
    state: TaskState | None = None
    error: ReportError | None = None


class ReportRunsResponse(Document):
    """What became of each report, in the order in which they were sent."""

    schema_name = "report-runs-response"

    reports: tuple[ReportOutcome, ...]
