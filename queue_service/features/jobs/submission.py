"""From what a caller submits to the job and the task that is to be created (B.4)."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import ValidationError

from queue_service.api.creation import creation_of
from queue_service.api.errors import schema_violations
from queue_service.core.errors import InputError
from queue_service.core.limits import Limits
from queue_service.core.uniqueness import canonical
from queue_service.features.jobs.job import Job
from queue_service.features.jobs.params import check_size
from queue_service.features.jobs.types import DEADLINE, RegisteredType
from queue_service.features.jobs.witness import NAME
from queue_service.operations.tasks import Creation
from schemas.jobs import JobRetention, SubmitJobRequest
from schemas.queue import CreateTaskRequest
from schemas.task import JsonObject

ENV_ID: Final = "envId"
KEPT: Final = timedelta(days=30)
"""How long a job is kept after its deadline, unless its type says otherwise."""
OWNER: Final = "taskbus@example.com"
SOURCE: Final = "https://example.com/jobs"


@dataclass(frozen=True, slots=True)
class Submission:
    """A job to create with its task; ``secrets`` are the parameters that the task does not show."""

    job: Job
    creation: Creation
    secrets: JsonObject


def submission_of(
    request: SubmitJobRequest, type: RegisteredType, job_id: str, now: datetime, limits: Limits
) -> Submission:
    """The job, its parameters checked.

    Raises InputTooLarge, InputValidationError with all violations of the parameters, and InputError.
    """
    check_size(request.params)
    request = _with_env_id(request, type)
    type.schema.check(request.params)
    secrets = {name: value for name, value in request.params.items() if name in type.secrets}
    open_params = {name: value for name, value in request.params.items() if name not in type.secrets}
    try:
        body = CreateTaskRequest.model_validate(_task_of(request, type, open_params, now))
    except ValidationError as error:
        raise schema_violations(error) from None
    creation = creation_of(job_id, body, _granted, now, limits)
    job = Job(
        task_id=job_id,
        type=type.name,
        version=type.stored.version,
        env_id=request.env_id,
        digest=_digest(request, open_params),
        secrets=None,
        any_order=type.definition.step_order == "any",
        resumable=type.definition.resumable,
        steps=type.steps(),
        created=now,
        expires=creation.definition.expires,
    )
    return Submission(job, replace(creation, witness=NAME), secrets)


def unknown_type(name: str) -> InputError:
    """What is submitted has no registered type (JS-2)."""
    return InputError(
        f"There is no job type `{name}`: register it first.", {"code": "UnknownJobType", "type": name}
    )


def _granted(**_: Any) -> None:
    """The scope for the type, and those for the routes, are all that a job needs."""


def _with_env_id(request: SubmitJobRequest, type: RegisteredType) -> SubmitJobRequest:
    """The request with its ``envId`` in both places where the type's parameters have one, too (JS-3)."""
    if ENV_ID not in type.schema.properties:
        return request
    among_params = request.params.get(ENV_ID)
    if request.env_id is None:
        try:
            return SubmitJobRequest.model_validate({**request.to_wire(), ENV_ID: among_params})
        except ValidationError:
            return request  # the schema of the parameters says what is wrong with it
    if among_params is None:
        return request.model_copy(update={"params": {**request.params, ENV_ID: request.env_id}})
    if among_params != request.env_id:
        raise InputError(
            f"`/envId` is `{request.env_id}` and `/params/envId` is `{among_params}`: they differ."
        )
    return request


def _task_of(
    request: SubmitJobRequest, type: RegisteredType, params: JsonObject, now: datetime
) -> dict[str, Any]:
    """The createTask body of a job. Its payload is that of :class:`taskbus.jobs.Job`."""
    definition = type.definition
    defaults = definition.defaults
    start = max(now, request.run_at or now)
    deadline = start + ((defaults and defaults.deadline) or DEADLINE)
    payload: JsonObject = {"kind": type.name, "args": params}
    if defaults is not None and defaults.timeout is not None:
        timeout = defaults.timeout
        payload["timeout"] = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    unique = request.unique or definition.unique
    members = {
        "taskQueueId": definition.task_queue_id,
        "taskGroupId": request.task_group_id,
        "dependencies": request.dependencies,
        "priority": request.priority or (defaults and defaults.priority),
        "retries": _first(request.retries, defaults and defaults.retries),
        "maxAttempts": _first(request.max_attempts, defaults and defaults.max_attempts),
        "retryPolicy": defaults and defaults.retry_policy,
        "retention": definition.retention and _retention(definition.retention),
        "unique": unique,
        "limits": definition.concurrency and {"concurrency": definition.concurrency},
        "runAt": request.run_at,
        "routes": request.routes,
        "created": now,
        "deadline": deadline,
        "expires": deadline + KEPT,
        "payload": payload,
        "tags": {**request.tags, **({ENV_ID: request.env_id} if request.env_id else {})},
        "metadata": {
            "name": type.name,
            "description": definition.description,
            "owner": OWNER,
            "source": SOURCE,
        },
    }
    return {name: value for name, value in members.items() if value is not None}


def _retention(asked: JobRetention) -> Mapping[str, Any]:
    kept = {"completed": asked.done, "failed": asked.error, "canceled": asked.cancelled}
    return {**{name: value for name, value in kept.items() if value is not None}, "shorten": True}


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _digest(request: SubmitJobRequest, params: JsonObject) -> str:
    """Tells whether two submissions of one id say the same; of secrets it knows nothing."""
    said = request.model_copy(update={"params": params, "job_id": None}).to_wire()
    return hashlib.sha256(canonical(said).encode()).hexdigest()
