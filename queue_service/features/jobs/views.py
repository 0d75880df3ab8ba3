"""Jobs as they are shown: put together from the job, its task and what is kept beside it (J-3)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from queue_service.core.attempts import error_history
from queue_service.core.extras import PLAIN
from queue_service.core.task import Task
from queue_service.features.jobs import store
from queue_service.features.jobs.job import Job, attempt_of, cancel_requested, overall, reason_of, state_of
from queue_service.features.jobs.operations import job_not_found
from queue_service.features.jobs.store import NEWEST_OF_ALL, Place
from queue_service.store import attempts, tasks
from queue_service.store.statements import Connection
from schemas.jobs import JobLinks, JobResponse, JobState
from schemas.task import JsonObject, TaskDefinition
from schemas.times import to_ms

CHUNK: Final = 500
MAX_EXAMINED: Final = 5000
"""Jobs that one page looks at."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which jobs a list has; None for any."""

    type: str | None = None
    state: JobState | None = None
    env_id: str | None = None
    tag: tuple[str, str] | None = None
    created_after: datetime | None = None

    def fits(self, job: Job, task: Task) -> bool:
        return (
            (self.state is None or state_of(task) == self.state)
            and (self.env_id is None or job.env_id == self.env_id)
            and (self.tag is None or task.tags.get(self.tag[0]) == self.tag[1])
        )


async def show(connection: Connection, job_id: str) -> JobResponse:
    """The whole job. Raises ResourceNotFound."""
    task = (await tasks.get(connection, [job_id])).get(job_id)
    job = (await store.get(connection, [job_id])).get(job_id)
    definition = (await tasks.definitions(connection, [job_id])).get(job_id)
    if task is None or job is None or definition is None:
        raise job_not_found(job_id)
    reported = await attempts.errors_of(connection, job_id)
    return shown(
        job,
        task,
        definition,
        errors=error_history(task, reported),
        output=await attempts.output_of(connection, job_id),
    )


def shown(job: Job, task: Task, definition: TaskDefinition, **details: Any) -> JobResponse:
    """The job as its callers see it; ``details``: members that are read from elsewhere."""
    extras, runs = task.extras or PLAIN, task.runs
    return JobResponse.trusted(
        job_id=job.task_id,
        type=job.type,
        type_version=job.version,
        state=state_of(task),
        reason=reason_of(job, task),
        params=definition.payload.get("args", {}),
        env_id=job.env_id,
        priority=task.priority,
        attempt=attempt_of(task),
        max_attempts=max(extras.max_attempts, attempt_of(task)),
        created=job.created,
        started=next((run.started for run in runs if run.started is not None), None),
        finished=runs[-1].resolved if runs and task.resolved else None,
        progress=overall(job),
        steps=job.steps,
        cancel_requested=cancel_requested(task) or None,
        links=JobLinks.trusted(
            task=f"/api/queue/v1/task/{job.task_id}", stream=f"/api/jobs/{job.task_id}/stream"
        ),
        **details,
    )


async def several(connection: Connection, job_ids: Sequence[str]) -> dict[str, JobResponse]:
    """These jobs, by id, without their errors and outputs."""
    found = await tasks.get(connection, job_ids)
    known = await store.get(connection, job_ids)
    defined = await tasks.definitions(connection, job_ids)
    return {
        job_id: shown(known[job_id], found[job_id], defined[job_id])
        for job_id in job_ids
        if job_id in found and job_id in known and job_id in defined
    }


async def page(
    connection: Connection, wanted: Wanted, after: Place | None, limit: int
) -> tuple[list[JobResponse], Place | None]:
    """The next jobs that are wanted, the newest first, and where to go on; of some thousand jobs at most."""
    place, examined = after or NEWEST_OF_ALL, 0
    fitting: list[str] = []
    rest: Place | None = None
    while rest is None:
        chunk = await store.page(connection, wanted.type, place, CHUNK)
        fits = await _fitting(connection, chunk, wanted)
        for found in chunk:
            if wanted.created_after is not None and found.created <= to_ms(wanted.created_after):
                return await _in_order(connection, fitting), None
            if found.task_id in fits:
                if len(fitting) == limit:
                    return await _in_order(connection, fitting), place
                fitting.append(found.task_id)
            place = found
        if len(chunk) < CHUNK:
            break
        examined += len(chunk)
        if examined >= MAX_EXAMINED:
            rest = place
    return await _in_order(connection, fitting), rest


async def _fitting(connection: Connection, chunk: Sequence[Place], wanted: Wanted) -> set[str]:
    ids = [place.task_id for place in chunk]
    found: Mapping[str, Task] = await tasks.get(connection, ids)
    known = await store.get(connection, ids)
    return {
        task_id for task_id, job in known.items() if task_id in found and wanted.fits(job, found[task_id])
    }


async def _in_order(connection: Connection, job_ids: Sequence[str]) -> list[JobResponse]:
    found = await several(connection, job_ids)
    return [found[job_id] for job_id in job_ids if job_id in found]


def params_of(definition: TaskDefinition) -> JsonObject:
    """The parameters of a job that are no secret."""
    return dict(definition.payload.get("args", {}))
