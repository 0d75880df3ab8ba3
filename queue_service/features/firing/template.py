"""What a template renders to, made the body of a createTask (``hooks-and-triggers.md`` 3)."""

from calendar import monthrange
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import ValidationError

from queue_service.api.errors import schema_violations
from schemas.queue import CreateTaskRequest
from schemas.times import format_time

DEADLINE_AFTER: Final = timedelta(days=1)

JsonObject = dict[str, Any]


def context(*, fired_by: str, task_id: str, now: datetime, client_id: str | None, payload: Any) -> JsonObject:
    """The variables of the template. Those that make no sense for the kind of firing are absent."""
    given = {"clientId": client_id, "payload": payload}
    return {
        "firedBy": fired_by,
        "taskId": task_id,
        "now": format_time(now),
        **{name: value for name, value in given.items() if value is not None},
    }


def request_of(rendered: JsonObject, task_id: str, now: datetime) -> CreateTaskRequest:
    """The task, with what a template may leave out: times, and the task's own group.

    Raises InputValidationError that lists every violation.
    """
    body = {
        "created": format_time(now),
        "deadline": format_time(now + DEADLINE_AFTER),
        "expires": format_time(_next_month(now)),
        "taskGroupId": task_id,
        **rendered,
    }
    try:
        return CreateTaskRequest.model_validate(body)
    except ValidationError as error:
        raise schema_violations(error) from None


def _next_month(moment: datetime) -> datetime:
    """The same day of the next month, or its last day."""
    year, month = (moment.year + 1, 1) if moment.month == 12 else (moment.year, moment.month + 1)
    return moment.replace(year=year, month=month, day=min(moment.day, monthrange(year, month)[1]))
