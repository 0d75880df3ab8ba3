"""Request and response bodies of the index, which finds tasks by names that their creators chose."""

import math
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema

from schemas.base import Document, Request, Text
from schemas.ids import TaskId
from schemas.task import JsonObject
from schemas.times import Time

MAX_INDEXES: Final = 10_000
_EXACT: Final = 2.0**53


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("must be a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError("must be a number of double precision")
    return number


def _shortest(number: float) -> float | int:
    return int(number) if number.is_integer() and abs(number) <= _EXACT else number


Rank = Annotated[
    float,
    BeforeValidator(_number),
    PlainSerializer(_shortest, return_type=Any, when_used="json"),
    WithJsonSchema({"type": "number"}),
]
"""Any JSON number; a whole one is written without a fraction."""


class IndexedTaskResponse(Document):
    """A task in the index; ``namespace`` is its whole index path."""

    schema_name = "indexed-task-response"

    namespace: Text
    task_id: TaskId
    rank: Rank
    data: JsonObject
    expires: Time


class InsertTaskRequest(Request):
    """What to find at an index path; it replaces a task of lower or equal rank."""

    schema_name = "insert-task-request"

    task_id: TaskId
    rank: Rank
    data: JsonObject
    expires: Time


class ListTasksAtIndexRequest(Request):
    """Which index paths to look up; paths without a task are left out of the answer."""

    schema_name = "list-tasks-at-index"

    indexes: Annotated[tuple[Text, ...], Field(max_length=MAX_INDEXES)]


class ListTasksResponse(Document):
    schema_name = "list-tasks-response"

    tasks: tuple[IndexedTaskResponse, ...]
    continuation_token: Text | None = None


class Namespace(Document):
    """A namespace; ``name`` is its last word, ``expires`` when it and all that is in it may be gone."""

    namespace: Text
    name: Text
    expires: Time


class ListNamespacesResponse(Document):
    schema_name = "list-namespaces-response"

    namespaces: tuple[Namespace, ...]
    continuation_token: Text | None = None
