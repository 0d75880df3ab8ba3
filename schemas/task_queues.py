"""Control of task queues: whether they hand out work, how much of it, and what waits in them.

Rules: ``seed-systems.md`` C-10, C-17, L-1 to L-3, Q-1 to Q-6. Nothing here is part of Taskcluster.
"""

from typing import Annotated, Final

from pydantic import Field

from schemas.base import Document, Request
from schemas.ids import ProvisionerId, TaskQueueId, WorkerType
from schemas.limits import ConcurrencyLimit, RateLimit
from schemas.messages import Message
from schemas.times import Time
from schemas.workers import Count

EVERY_QUEUE: Final = "*"
"""Stands for all present task queues where they are paused and resumed."""

FairShare = Annotated[float, Field(strict=True, ge=0, le=0.5)]


class TaskQueueState(Document):
    """Whether a task queue hands out work; ``pausedAt`` is there while it does not."""

    task_queue_id: TaskQueueId
    paused_at: Time | None = None


class TaskQueueStatesResponse(Document):
    """The task queues that were named, as they stand now, by id."""

    schema_name = "task-queue-states-response"

    task_queues: tuple[TaskQueueState, ...]


class TaskQueueLimits(Request):
    """How much of a task queue's work may be under way, and in which order it is handed out."""

    schema_name = "task-queue-limits"

    concurrency: ConcurrencyLimit | None = None
    rate: RateLimit | None = None
    fair_share: FairShare | None = None
    """The part of the claims that goes to the oldest run whatever its priority; `highest` comes first."""


class TaskQueueLoadResponse(Document):
    """What waits in a task queue and what is under way, and what holds it back."""

    schema_name = "task-queue-load-response"

    task_queue_id: TaskQueueId
    pending: Count
    """Runs that wait for a worker."""
    delayed: Count
    """Runs, and tasks, that wait for a time."""
    running: Count
    """Runs that workers have."""
    paused_at: Time | None = None
    limits: TaskQueueLimits | None = None


class TaskQueueMessage(Message):
    """A task queue was paused or resumed; the exchange tells which. ``pausedAt`` is there while it is."""

    schema_name = "task-queue-message"

    task_queue_id: TaskQueueId
    provisioner_id: ProvisionerId
    worker_type: WorkerType
    paused_at: Time | None = None


class QueuePausedMessage(TaskQueueMessage):
    """A task queue hands out no work any more, until it is resumed."""


class QueueResumedMessage(TaskQueueMessage):
    """A task queue hands out work again."""
