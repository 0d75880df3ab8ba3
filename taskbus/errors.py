"""Everything a user of this package may catch, under one base.

A refusal of the server is an :class:`ApiError` with the code of ``queue-behaviour.md`` 1.4; no answer at all
is a :class:`ConnectionFailed`; an answer nobody can read is an :class:`InvalidResponse`.
"""

from contextlib import suppress
from typing import Final, get_args

from pydantic import ValidationError

from schemas.artifacts import ErrorArtifactContent
from schemas.errors import ERROR_STATUS, ErrorResponse, RequestInfo
from schemas.task import ExceptionReason


class TaskbusError(Exception):
    """Base of every error of this package that is not a wrong argument."""


class ConnectionFailed(TaskbusError):
    """The server could not be reached, or went away before it answered."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(
            f"cannot reach {url}: {reason}. Is the server running there? "
            "Start one with 'taskbus serve', or name another with TASKBUS_ROOT_URL or --root-url."
        )
        self.url = url
        self.reason = reason


class EventsMissed(TaskbusError):
    """The server does not keep all events that a listener has missed; listen again from ``last_id``."""

    def __init__(self, last_id: str) -> None:
        super().__init__("events were missed: the server keeps them for some minutes only")
        self.last_id = last_id


class InvalidResponse(TaskbusError):
    """The answer is not what the queue's API sends; most often the root URL is that of another service."""

    def __init__(self, url: str, problem: str) -> None:
        super().__init__(f"{url} did not answer as a task queue does: {problem}. Check the root URL.")
        self.url = url


class ApiError(TaskbusError):
    """The server refused the call.

    ``message`` is markdown without the footer that repeats ``code`` and ``status``; ``request_info`` is
    absent when the refusal does not come from the API itself (an unknown route, a proxy). ``root_url`` is the
    server's, empty for a refusal of the storage of artifacts.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        request_info: RequestInfo | None = None,
        root_url: str = "",
    ) -> None:
        super().__init__(f"{message} ({code}, HTTP {status})" if code else f"{message} (HTTP {status})")
        self.status = status
        self.code = code
        self.message = message
        self.request_info = request_info
        self.root_url = root_url


class InputError(ApiError):
    """The request is wrong: its path, its query or its body. Every 400 of the API is one."""


class MalformedPayload(InputError):
    """The body is not JSON."""


class InvalidRequestArguments(InputError):
    """A value in the URL does not have the form it must have."""


class InputValidationError(InputError):
    """The body violates its JSON Schema; the message lists every violation."""


class AuthenticationFailed(ApiError):
    """The credentials are wrong, expired or disabled."""


class InsufficientScopes(ApiError):
    """The client may not do this; the message lists the scopes that are missing."""


class NotFound(ApiError):
    """There is no such task, run or group."""


class Conflict(ApiError):
    """The state does not allow it: another definition, a lost claim, a passed deadline, a sealed group."""


class LeaseExpired(Conflict):
    """The lease of these members is over; nothing of the call was done, and others may have them."""


class DecodeError(ApiError):
    """The value cannot be read in the format that was asked for."""


class Expired(ApiError):
    """It is past its expiry."""


class ArtifactError(ApiError):
    """There is no such artifact, and the worker said why: ``code`` is its reason."""


class InputTooLarge(ApiError):
    """The body exceeds the server's limit."""


class ServerError(ApiError):
    """The server failed, even after retries. Its log has the details under the id in the message."""


class WorkNotDone(ApiError):
    """The item of work came to its end without a result; its :attr:`code` tells how. Not to be retried."""


class WorkFailed(WorkNotDone):
    """The worker answered with an error."""


class WorkerLost(WorkNotDone):
    """The worker was lost, and no retries are left."""


class WorkTimeout(WorkNotDone):
    """No worker answered in time, and no retries are left."""


class NoWorker(WorkNotDone):
    """No worker took the item while it was held."""


class TaskFailed(TaskbusError):
    """Raised by a worker's handler: the work was done and found wanting. The run is reported as failed."""


class TaskException(TaskbusError):
    """Raised by a worker's handler: something other than the work is at fault.

    The run is reported as an exception with ``reason``. The queue tries ``intermittent-task`` and
    ``worker-shutdown`` again while the task has retries left; the other reasons are final. Raises ValueError
    for a reason the queue does not know.
    """

    def __init__(self, reason: ExceptionReason, message: str = "") -> None:
        if reason not in (known := get_args(ExceptionReason)):
            raise ValueError(f"reason: expected one of {', '.join(known)}, got {reason!r}")
        super().__init__(message or reason)
        self.reason: ExceptionReason = reason


_BY_CODE: Final[dict[str, type[ApiError]]] = {
    "MalformedPayload": MalformedPayload,
    "InvalidRequestArguments": InvalidRequestArguments,
    "InputValidationError": InputValidationError,
    "InputError": InputError,
    "AuthenticationFailed": AuthenticationFailed,
    "InsufficientScopes": InsufficientScopes,
    "ResourceNotFound": NotFound,
    "RequestConflict": Conflict,
    "LeaseExpired": LeaseExpired,
    "DecodeError": DecodeError,
    "ResourceExpired": Expired,
    "InputTooLarge": InputTooLarge,
    "InternalServerError": ServerError,
    "WorkFailed": WorkFailed,
    "WorkerLost": WorkerLost,
    "WorkTimeout": WorkTimeout,
    "NoWorker": NoWorker,
}

FAILED_DEPENDENCY: Final = 424
_FOOTER: Final = "\n\n---\n\n"
_EXCERPT: Final = 200


def refusal(code: str, message: str, root_url: str = "") -> ApiError:
    """The error of a code that came without a response of its own."""
    status = ERROR_STATUS.get(code, 500)
    kind = _BY_CODE.get(code, ServerError if status >= 500 else ApiError)
    return kind(status, code, message, root_url=root_url)


def error_from_response(status: int, body: bytes, root_url: str = "") -> ApiError:
    """The error that a response with a status of 300 or more stands for."""
    if status == FAILED_DEPENDENCY:
        with suppress(ValidationError):
            why = ErrorArtifactContent.from_json(body)
            return ArtifactError(status, why.reason, why.message, root_url=root_url)
    try:
        answer = ErrorResponse.from_json(body)
    except ValidationError:
        excerpt = body[:_EXCERPT].decode(errors="replace").strip()
        kind = ServerError if status >= 500 else ApiError
        return kind(status, "", excerpt or "the server refused without a reason", root_url=root_url)
    text = answer.message.partition(_FOOTER)[0].strip()
    kind = _BY_CODE.get(answer.code, ServerError if status >= 500 else ApiError)
    return kind(status, answer.code, text, answer.request_info, root_url)


def describe(error: ValidationError) -> str:
    """All violations on one line, each with the member it is about."""
    return "; ".join(
        f"{'.'.join(map(str, entry['loc']))}: {entry['msg']}" if entry["loc"] else entry["msg"]
        for entry in error.errors(include_url=False, include_context=False, include_input=False)
    )
