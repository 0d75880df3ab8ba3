"""Types of jobs for the registry of the service: what a class says of itself, and its jobs' parameters."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypedDict

from pydantic import SecretBytes, SecretStr

from schemas.jobs import JobTypeDefinition, SubmitJobRequest
from schemas.task import Priority
from taskbus.jobs.job import Job
from taskbus.jobs.options import Retention, Step


class SubmitOptions(TypedDict, total=False):
    """What a submission may say; the rest is said by the type."""

    job_id: str
    """Chosen by the caller, so that a repeat does no harm; a new one if left out."""
    env_id: str
    priority: Priority
    run_at: datetime
    dependencies: Sequence[str]
    task_group_id: str
    retries: int
    max_attempts: int
    tags: Mapping[str, str]
    routes: Sequence[str]


def definition_of(job_type: type[Job]) -> JobTypeDefinition:
    """The definition of a class of jobs, to be registered. Its docstring is the description."""
    options = job_type.options
    asked = options.extensions
    defaults = {
        "priority": options.level,
        "maxAttempts": options.max_attempts,
        "retryPolicy": asked.get("retryPolicy"),
        "timeout": options.timeout,
        "deadline": options.deadline,
    }
    members = {
        "description": (job_type.__doc__ or "").strip() if job_type.__doc__ != Job.__doc__ else "",
        "paramsSchema": job_type.model_json_schema(),
        "steps": [_step(step) for step in options.steps],
        "stepOrder": options.step_order,
        "resumable": options.resumable,
        "taskQueueId": options.queue,
        "defaults": {name: value for name, value in defaults.items() if value is not None},
        "retention": None if options.retention is None else _retention(options.retention),
        "unique": asked.get("unique"),
        "concurrency": asked.get("limits", {}).get("concurrency"),
        "lock": options.lock,
        "aliases": list(job_type.aliases),
    }
    return JobTypeDefinition.model_validate(
        {name: value for name, value in members.items() if value is not None}
    )


def submission_of(job: Job, options: SubmitOptions) -> SubmitJobRequest:
    """The submission of a job. Raises ValueError (pydantic.ValidationError) that names what is wrong."""
    return SubmitJobRequest.model_validate({"type": job.kind, "params": params_of(job), **options})


def params_of(job: Job) -> dict[str, Any]:
    """The parameters of a job as JSON values, the secret ones as they are."""
    params = job.model_dump(mode="json")
    for name, value in job:
        if isinstance(value, SecretStr):
            params[name] = value.get_secret_value()
        elif isinstance(value, SecretBytes):
            params[name] = value.get_secret_value().decode()
    return params


def _step(step: str | Step) -> dict[str, Any]:
    return {"name": step} if isinstance(step, str) else {"name": step.name, "always": step.always}


def _retention(retention: Retention) -> dict[str, Any]:
    kept = {"done": retention.completed, "error": retention.failed, "cancelled": retention.canceled}
    return {name: value for name, value in kept.items() if value is not None}
