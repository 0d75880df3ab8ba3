"""What workers tell of attempts beyond Taskcluster, and what is shown of them (``seed-systems.md`` C)."""

from typing import Annotated, Any

from pydantic import Field

from schemas.base import INTEGRAL, Document, Request, Text
from schemas.durations import DurationOrZero
from schemas.extensions import FailedAttempt, Flag
from schemas.ids import TaskId
from schemas.task import RunId
from schemas.times import Time

MAX_OUTPUT = 256 * 1024
"""Bytes of a task's output as JSON."""

Count = Annotated[int, Field(ge=0), INTEGRAL]


class FailureReport(FailedAttempt):
    """The body that reportFailed may have. Other members are ignored, as Taskcluster ignores them all."""

    schema_name = "failure-report"

    retry: Flag = True
    """False: the failure is final, whatever attempts are left."""
    retry_at: Time | None = None
    """When to try again, in place of what the task's policy says; a time in the past is not heeded."""


class CompletionReport(Document):
    """The body that reportCompleted may have; ``success`` is Taskcluster's, for old workers."""

    schema_name = "completion-report"

    success: Any = None
    output: Any = None
    """The result of the task: any JSON of 256 KiB or less."""


class SnoozeRequest(Request):
    """For how long a run is put off."""

    schema_name = "snooze-request"

    delay: DurationOrZero


class CancelRunRequest(FailedAttempt, Request):
    """Why a worker cancels the task that it works on."""

    schema_name = "cancel-run-request"


class AttemptError(Document):
    """What went wrong with one attempt."""

    at: Time
    """When the attempt began; of a claim that ran out, when that was noticed."""
    attempt: Count
    run_id: RunId
    error: Text
    trace: Text


class AttemptsResponse(Document):
    """How a task fared so far."""

    schema_name = "attempts-response"

    task_id: TaskId
    attempt: Count
    """How often it was started, without what was snoozed or cut short by its worker's shutdown."""
    max_attempts: Count
    snoozes: Count
    available_at: Time | None = None
    """Until then the next run is delayed."""
    errors: tuple[AttemptError, ...]
    """The oldest first."""
    output: Any = None
    worked_by: tuple[Text, ...]
    """The latest hundred workers as ``<workerGroup>/<workerId>``, the oldest first."""
