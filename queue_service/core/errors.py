"""Why a call is refused: one class per wire error code, without HTTP.

The status of each code lives in ``schemas.errors``; only the API turns a code into a reply.
"""

from collections.abc import Mapping
from typing import Any, ClassVar


class QueueError(Exception):
    """The call is refused."""

    code: ClassVar[str] = "InternalServerError"

    def __init__(self, message: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.details = details
        """What programs may want to read, for calls of ours; Taskcluster's errors have none."""


class MalformedPayload(QueueError):
    """The body is not JSON of the kind that was promised."""

    code = "MalformedPayload"


class InvalidRequestArguments(QueueError):
    """A URL parameter or the query string is out of form."""

    code = "InvalidRequestArguments"


class InputValidationError(QueueError):
    """The body violates its schema."""

    code = "InputValidationError"


class InputError(QueueError):
    """The input has the right shape and is wrong all the same."""

    code = "InputError"


class AuthenticationFailed(QueueError):
    """The credentials are not valid."""

    code = "AuthenticationFailed"


class InsufficientScopes(QueueError):
    """The caller lacks scopes."""

    code = "InsufficientScopes"


class ResourceNotFound(QueueError):
    """There is no such thing."""

    code = "ResourceNotFound"


class ResourceExpired(QueueError):
    """There was such a thing until it expired."""

    code = "ResourceExpired"


class RequestConflict(QueueError):
    """The state of the thing forbids the call."""

    code = "RequestConflict"


class LeaseExpired(QueueError):
    """The lease is over: nothing of the call was applied."""

    code = "LeaseExpired"


class DecodeError(QueueError):
    """What is stored cannot be read in the format that was asked for."""

    code = "DecodeError"


class NoMatchingMethod(QueueError):
    """The client can use none of the ways that the service has to hand over the bytes of an object."""

    code = "NoMatchingMethod"


class NoWorker(QueueError):
    """No attached worker took the item in time."""

    code = "NoWorker"


class WorkTimeout(QueueError):
    """The workers that had the item did not answer in time."""

    code = "WorkTimeout"


class WorkerLost(QueueError):
    """The workers that had the item are gone."""

    code = "WorkerLost"


class WorkFailed(QueueError):
    """The worker says that the item failed."""

    code = "WorkFailed"


class InputTooLarge(QueueError):
    """The input is larger than the service accepts."""

    code = "InputTooLarge"


def task_not_found(task_id: str) -> ResourceNotFound:
    return ResourceNotFound(
        f"`{task_id}` does not correspond to a task that exists.\n"
        "Are you sure this task has already been submitted?"
    )


def run_not_found(task_id: str, run_id: int) -> ResourceNotFound:
    return ResourceNotFound(f"Task `{task_id}` has no run {run_id}.")


def group_not_found(task_group_id: str) -> ResourceNotFound:
    return ResourceNotFound(f"There is no task group with taskGroupId `{task_group_id}`.")
