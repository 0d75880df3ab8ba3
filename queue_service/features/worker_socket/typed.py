"""A typed job as an item of ``work.v2``: what its frame has beside that of other items."""

from typing import Any

from queue_service.features.jobs.job import Job, completed_steps
from queue_service.features.jobs.secrets import Secrets
from schemas.task import JsonObject


def job_members(job: Job, params: JsonObject, secrets: Secrets) -> dict[str, Any]:
    """All parameters, the secret ones too, as the data; which steps are done, and the cursor (P-7).

    Raises RequestConflict and NoSecretKey for secrets that cannot be read.
    """
    told: dict[str, Any] = {
        "type": job.type,
        "type_version": job.version,
        "completed_steps": completed_steps(job),
    }
    if job.cursor is not None:
        told["cursor"] = job.cursor
    return {"data": {**params, **secrets.open(job.task_id, job.secrets)}, "job": told}
