"""Task queues and workers as they were last seen: how long they are kept, and what is shown of them.

Rules: ``queue-behaviour.md`` 7.4. Nothing here decides about a run: what is told of workers is for people
and for programs that start and stop workers.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from queue_service.core.errors import ResourceNotFound
from schemas.workers import TaskQueueResponse, TaskRun, WorkerEntry, WorkerResponse, WorkerTypeResponse

KEPT: Final = timedelta(days=1)
"""How long a task queue and a worker are kept after claimWork or reclaimTask, a worker after quarantine."""
KEPT_AFTER_CLAIM_TASK: Final = timedelta(days=5)
"""How long a task queue is kept after claimTask."""
RECENT_TASKS: Final = 20
MAX_DETAILS: Final = 100
"""Quarantines of one worker that are remembered."""
NEVER_QUARANTINED: Final = timedelta(days=3650)
"""How long before its first claim the quarantine of a worker ended that never was in one."""
_EARLIEST: Final = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class WorkerKey:
    """Which worker: its ids are its own only within its task queue."""

    task_queue_id: str
    worker_group: str
    worker_id: str


@dataclass(frozen=True, slots=True)
class Seen:
    """When somebody was seen, and how long they are kept for that."""

    at: datetime
    expires: datetime

    def merged(self, other: "Seen") -> "Seen":
        """Both: neither time moves backwards."""
        return Seen(max(self.at, other.at), max(self.expires, other.expires))


@dataclass(frozen=True, slots=True)
class RecentTask:
    """A run that a worker claimed, and when."""

    task_id: str
    run_id: int
    claimed: datetime

    def shown(self) -> TaskRun:
        return TaskRun.trusted(task_id=self.task_id, run_id=self.run_id)


@dataclass(frozen=True, slots=True)
class QuarantineDetail:
    """Who quarantined a worker, or lifted its quarantine, and why."""

    client_id: str
    updated_at: datetime
    quarantine_until: datetime
    quarantine_info: str


@dataclass(frozen=True, slots=True)
class TaskQueue:
    """A task queue that workers asked for work."""

    task_queue_id: str
    seen: Seen

    def to_response(self) -> TaskQueueResponse:
        return TaskQueueResponse.trusted(
            task_queue_id=self.task_queue_id, expires=self.seen.expires, last_date_active=self.seen.at
        )

    def to_worker_type(self) -> WorkerTypeResponse:
        provisioner_id, _, worker_type = self.task_queue_id.partition("/")
        return WorkerTypeResponse.trusted(
            task_queue_id=self.task_queue_id,
            provisioner_id=provisioner_id,
            worker_type=worker_type,
            expires=self.seen.expires,
            last_date_active=self.seen.at,
        )


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker that asked for work or was declared."""

    key: WorkerKey
    first_claim: datetime
    seen: Seen
    recent_tasks: tuple[RecentTask, ...] = ()
    quarantine_until: datetime | None = None
    details: tuple[QuarantineDetail, ...] = ()

    def quarantined(self, now: datetime) -> bool:
        return self.quarantine_until is not None and self.quarantine_until > now

    def shown(self, now: datetime) -> bool:
        """Whether it is told of: a quarantined worker is, however long ago it was seen."""
        return self.seen.expires > now or self.quarantined(now)

    def to_response(self) -> WorkerResponse:
        provisioner_id, _, worker_type = self.key.task_queue_id.partition("/")
        return WorkerResponse.trusted(
            task_queue_id=self.key.task_queue_id,
            provisioner_id=provisioner_id,
            worker_type=worker_type,
            worker_group=self.key.worker_group,
            worker_id=self.key.worker_id,
            quarantine_until=self.quarantine_until or self.first_claim - NEVER_QUARANTINED,
            expires=self.seen.expires,
            first_claim=self.first_claim,
            recent_tasks=tuple(task.shown() for task in self.recent_tasks),
            last_date_active=self.seen.at,
        )

    def to_entry(self, now: datetime) -> WorkerEntry:
        return WorkerEntry.trusted(
            worker_group=self.key.worker_group,
            worker_id=self.key.worker_id,
            first_claim=self.first_claim,
            last_date_active=self.seen.at,
            latest_task=self.recent_tasks[-1].shown() if self.recent_tasks else None,
            quarantine_until=self.quarantine_until if self.quarantined(now) else None,
        )


def notice(worker: Worker, seen: Seen | None, claims: Iterable[RecentTask]) -> Worker:
    """A worker that was seen, or whose claims became known, or both."""
    return replace(
        worker,
        seen=worker.seen.merged(seen) if seen is not None else worker.seen,
        recent_tasks=remember(worker.recent_tasks, claims),
    )


def declare(worker: Worker, expires: datetime) -> Worker:
    """declareWorker: kept until then at least. To be declared is no activity."""
    return replace(worker, seen=worker.seen.merged(Seen(_EARLIEST, expires)))


def quarantine(worker: Worker, until: datetime, info: str, client_id: str, now: datetime) -> Worker:
    """quarantineWorker: no work until then; a date that has passed lifts it. Kept for a day at least."""
    detail = QuarantineDetail(client_id, now, until, info)
    return replace(
        worker,
        seen=worker.seen.merged(Seen(_EARLIEST, now + KEPT)),
        quarantine_until=until,
        details=(*worker.details, detail)[-MAX_DETAILS:],
    )


def remember(known: Iterable[RecentTask], claims: Iterable[RecentTask]) -> tuple[RecentTask, ...]:
    """The newest claims, oldest first, each once: claimTask may be repeated."""
    newest = {(task.task_id, task.run_id): task for task in (*claims, *known)}
    return tuple(sorted(newest.values(), key=lambda task: task.claimed)[-RECENT_TASKS:])


def worker_not_found(key: WorkerKey) -> ResourceNotFound:
    return ResourceNotFound(
        f"There is no worker with workerGroup `{key.worker_group}` and workerId `{key.worker_id}` "
        f"in task queue `{key.task_queue_id}`."
    )


def task_queue_not_found(task_queue_id: str) -> ResourceNotFound:
    return ResourceNotFound(f"There is no task queue `{task_queue_id}`: no worker asked it for work lately.")


def provisioner_not_found(provisioner_id: str) -> ResourceNotFound:
    return ResourceNotFound(
        f"There is no provisioner `{provisioner_id}`: no worker asked a task queue of it for work lately."
    )
