"""The error body of the HTTP API (``queue-behaviour.md`` 1.4)."""

from typing import Any, Final

from schemas.base import Document
from schemas.times import Time

ERROR_STATUS: Final[dict[str, int]] = {
    "MalformedPayload": 400,
    "InvalidRequestArguments": 400,
    "InputValidationError": 400,
    "InputError": 400,
    "AuthenticationFailed": 401,
    "InsufficientScopes": 403,
    "ResourceNotFound": 404,
    "NoMatchingMethod": 406,
    "RequestConflict": 409,
    "LeaseExpired": 409,
    "ResourceExpired": 410,
    "InputTooLarge": 413,
    "DecodeError": 422,
    "WorkFailed": 424,
    "InternalServerError": 500,
    "WorkerLost": 502,
    "NoWorker": 504,
    "WorkTimeout": 504,
}
"""HTTP status of each error code."""


class RequestInfo(Document):
    method: str
    params: dict[str, str]
    payload: Any
    time: Time


class ErrorResponse(Document):
    """What every refused call answers; ``message`` is markdown that ends with a footer."""

    schema_name = "error-response"

    code: str
    message: str
    request_info: RequestInfo
    details: dict[str, Any] | None = None
    """What a program may want to read of some refusals of calls that Taskcluster does not have."""
