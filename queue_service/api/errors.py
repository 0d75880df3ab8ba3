"""Refusals as replies: status, body and text (``queue-behaviour.md`` 1.4)."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails, to_json

from queue_service.core.errors import InputValidationError, QueueError
from schemas.errors import ERROR_STATUS
from schemas.times import format_time

_EXPECTED = {
    "missing": "is required and missing",
    "extra_forbidden": "is not a known member",
    "string_type": "must be a string",
    "tuple_type": "must be an array",
    "list_type": "must be an array",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
}
MAX_VIOLATIONS = 100
MAX_LISTABLE = 10_000
"""Violations beyond which not even the first are told: pydantic lists all or none, at a kilobyte each."""


def error_body(
    code: str,
    message: str,
    *,
    method: str,
    params: Mapping[str, str],
    payload: Any,
    now: datetime,
    status: int | None = None,
    details: Mapping[str, Any] | None = None,
) -> tuple[int, bytes]:
    """Status and JSON body of a refusal."""
    status = ERROR_STATUS[code] if status is None else status
    time = format_time(now)
    facts = (("method", method), ("errorCode", code), ("statusCode", status), ("time", time))
    footer = "\n\n---\n\n" + "\n".join(f"* {name + ':':<11} {value}" for name, value in facts)
    body: dict[str, Any] = {
        "code": code,
        "message": message + footer,
        "requestInfo": {"method": method, "params": dict(params), "payload": payload, "time": time},
    }
    if details is not None:
        body["details"] = details
    # A payload may hold a number beyond all floats, such as 1e999: JSON has no word for it.
    return status, to_json(body, inf_nan_mode="null")


def refused(
    error: QueueError, *, method: str, params: Mapping[str, str], payload: Any, now: datetime
) -> tuple[int, bytes]:
    """Status and body of a typed refusal."""
    return error_body(
        error.code,
        error.message,
        method=method,
        params=params,
        payload=payload,
        now=now,
        details=error.details,
    )


def schema_violations(error: ValidationError) -> InputValidationError:
    """All violations of a body, each with the place and what was expected there."""
    if error.error_count() > MAX_LISTABLE:
        return InputValidationError(
            f"Schema validation of the request body failed at {error.error_count()} places."
        )
    found = violations(error)
    lines = [f" * {line}" for line in found[:MAX_VIOLATIONS]]
    if len(found) > MAX_VIOLATIONS:
        lines.append(f" * and {len(found) - MAX_VIOLATIONS} more")
    return InputValidationError("Schema validation of the request body failed:\n\n" + "\n".join(lines))


def violations(error: ValidationError) -> list[str]:
    """Each violation with its place and what was expected there."""
    found = error.errors(include_url=False, include_context=True, include_input=False)
    return [f"{_place(item)}: {_expected(item)}" for item in found]


def _place(item: ErrorDetails) -> str:
    return "`/" + "/".join(str(part) for part in item["loc"]) + "`"


def _expected(item: ErrorDetails) -> str:
    if item["type"] in _EXPECTED:
        return _EXPECTED[item["type"]]
    text = item["msg"].removeprefix("Value error, ")
    return text[0].lower() + text[1:]
