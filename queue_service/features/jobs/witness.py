"""Follows the tasks of jobs: whatever changes a task writes the job's steps and events along with it.

So the stream of a job tells what the queue has committed, no more and no less, whoever made the change.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from queue_service.core.task import Change, Task
from queue_service.features.jobs import event_store, store
from queue_service.features.jobs.following import Followed, follow
from queue_service.features.jobs.job import Job, completed_steps, reason_of, state_of
from queue_service.store import outbox
from queue_service.store.database import Tx
from queue_service.store.outbox import Outgoing
from schemas.jobs import JobLine, JobProgress, JobResolvedMessage, JobStep, JobUpdatedMessage
from schemas.task import JsonObject

NAME: Final = "jobs"
"""The feature, as tasks of jobs have it as their witness."""


def is_job(task: Task) -> bool:
    """Whether the task is a typed job."""
    return task.extras is not None and task.extras.witness == NAME


class JobWitness:
    """A :class:`queue_service.store.witness.Witness`. Three statements more for a transaction with jobs."""

    async def changed(self, tx: Tx, changes: Sequence[Change]) -> None:
        """Steps, events and messages of jobs follow from what became of their tasks (P-6, P-7, E-2, B.8)."""
        known = await store.get(tx.connection, [change.after.task_id for change in changes if change.before])
        followed: list[Followed] = []
        told: list[Outgoing] = []
        before = dict(known)
        for change in changes:
            task = change.after
            if change.before is None or task.task_id not in known:
                continue
            result = follow(known[task.task_id], change, tx.now)
            known[task.task_id] = result.job
            followed.append(result)
            told.extend(updated(result.job, task, step=step) for step in result.steps)
            if result.ended:
                told.append(_resolved(result.job, task))
        await event_store.append(tx, [event for result in followed for event in result.events])
        await store.save(tx, [job for task_id, job in known.items() if job != before[task_id]])
        await outbox.record(tx, told)

    async def handed_out(self, tx: Tx, tasks: Sequence[Task]) -> Mapping[str, JsonObject]:
        """Which steps a worker may leave out, and where the one under way got to (P-7)."""
        known = await store.get(tx.connection, [task.task_id for task in tasks])
        return {task_id: _told(job) for task_id, job in known.items()}


def updated(
    job: Job,
    task: Task,
    *,
    step: JobStep | None = None,
    progress: JobProgress | None = None,
    log: JobLine | None = None,
) -> Outgoing:
    """The message that a step of the job changed, or how far the job is, or a line of its worker."""
    message = JobUpdatedMessage.trusted(
        job_id=job.task_id,
        type=job.type,
        state=state_of(task),
        env_id=job.env_id,
        task_group_id=task.task_group_id,
        step=step,
        progress=progress,
        log=log,
    )
    return Outgoing(message, (), (job.task_id,))


def _resolved(job: Job, task: Task) -> Outgoing:
    message = JobResolvedMessage.trusted(
        job_id=job.task_id,
        type=job.type,
        state=state_of(task),
        env_id=job.env_id,
        task_group_id=task.task_group_id,
        reason=reason_of(job, task),
        steps=job.steps,
    )
    return Outgoing(message, (), (job.task_id,))


def _told(job: Job) -> JsonObject:
    told: JsonObject = {
        "type": job.type,
        "typeVersion": job.version,
        "completedSteps": list(completed_steps(job)),
    }
    if job.cursor is not None:
        told["cursor"] = job.cursor
    if job.secrets is not None:
        told["hasSecrets"] = True
    return told
