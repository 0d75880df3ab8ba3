"""Bodies of the calls that find tasks by what is known of them, to list or to delete them.

Rules: ``seed-systems.md`` O-1, O-4, O-5. These calls are our extension of the queue's API.
"""

from datetime import datetime
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from schemas.base import INTEGRAL, Document, Request, Text
from schemas.extensions import Flag
from schemas.ids import TaskId, TaskQueueId
from schemas.task import JsonObject, Priority, Tags, TaskDefinitionAndStatus, TaskState
from schemas.times import Time

MAX_IDS: Final = 1000
MAX_NAMED: Final = 100
"""Kinds or task queues that a filter names."""


class TimeRange(Request):
    """Times from one to another, both included; an end that is left out is open."""

    from_: Annotated[Time | None, Field(alias="from")] = None
    to: Time | None = None

    def has(self, moment: datetime) -> bool:
        return (self.from_ is None or self.from_ <= moment) and (self.to is None or moment <= self.to)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.from_ is not None and self.to is not None and self.to < self.from_:
            raise ValueError("`to` must not be before `from`")
        return self


class TaskFilter(Request):
    """Which tasks: those for which all that is given holds."""

    task_ids: Annotated[tuple[TaskId, ...], Field(min_length=1, max_length=MAX_IDS)] | None = None
    kinds: Annotated[tuple[Text, ...], Field(min_length=1, max_length=MAX_NAMED)] | None = None
    """Of the ``kind`` in the payload."""
    task_queue_ids: Annotated[tuple[TaskQueueId, ...], Field(min_length=1, max_length=MAX_NAMED)] | None = (
        None
    )
    states: Annotated[tuple[TaskState, ...], Field(min_length=1, max_length=6)] | None = None
    priorities: Annotated[tuple[Priority, ...], Field(min_length=1, max_length=7)] | None = None
    tags_all: Annotated[Tags, Field(min_length=1, max_length=MAX_NAMED)] | None = None
    """Every one of these tags, with its value."""
    tags_any: Annotated[Tags, Field(min_length=1, max_length=MAX_NAMED)] | None = None
    """At least one of them."""
    metadata: Annotated[JsonObject, Field(min_length=1)] | None = None
    """These members are in the metadata, with these values."""
    created: TimeRange | None = None
    since: TimeRange | None = None
    """When the task got into its state: the natural time of the state."""
    deadline: TimeRange | None = None
    expires: TimeRange | None = None

    @property
    def narrows(self) -> bool:
        """Whether it asks for anything."""
        return any(getattr(self, name) is not None for name in TaskFilter.model_fields)


class SearchTasksRequest(TaskFilter):
    """Which tasks, and in which order: by id, or by the time at which each got into its state."""

    schema_name = "search-tasks-request"

    order: Literal["id", "time"] = "id"
    descending: Flag = False


class SearchTasksResponse(Document):
    """A page of tasks. It may have fewer than ``limit``, or none, while there is a token for the next one."""

    schema_name = "search-tasks-response"

    tasks: tuple[TaskDefinitionAndStatus, ...]
    continuation_token: Text | None = None


class DeleteTasksRequest(TaskFilter):
    """Which tasks to delete; ``all`` instead of a filter for every one."""

    schema_name = "delete-tasks-request"

    all: Flag = False

    @model_validator(mode="after")
    def _one_or_the_other(self) -> Self:
        if self.all == self.narrows:
            raise ValueError("either a filter or `all: true` must be given")
        return self


class DeleteTasksResponse(Document):
    """How many were deleted, and how many left alone because they run."""

    schema_name = "delete-tasks-response"

    deleted: Annotated[int, Field(ge=0), INTEGRAL]
    skipped: Annotated[int, Field(ge=0), INTEGRAL]
    continuation_token: Text | None = None
    """Where to go on: the call looked at as many tasks as one call may."""
