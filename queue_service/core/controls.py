"""What holds a task queue back: whether it is paused, and its limits (``seed-systems.md`` C.5, C.7)."""

from dataclasses import dataclass, replace
from datetime import datetime

from queue_service.core.errors import RequestConflict
from schemas.task_queues import QueuePausedMessage, QueueResumedMessage, TaskQueueLimits, TaskQueueState
from schemas.times import format_time


@dataclass(frozen=True, slots=True)
class Controls:
    """The controls of one task queue."""

    task_queue_id: str
    paused_at: datetime | None = None
    limits: TaskQueueLimits | None = None

    def to_state(self) -> TaskQueueState:
        return TaskQueueState.trusted(task_queue_id=self.task_queue_id, paused_at=self.paused_at)


def pause(controls: Controls, now: datetime) -> Controls:
    """No run is handed out any more. A paused task queue keeps the time of its first pause (Q-3)."""
    return controls if controls.paused_at is not None else replace(controls, paused_at=now)


def resume(controls: Controls, now: datetime) -> Controls:
    """Runs are handed out again. Nothing changes for a task queue that is not paused (Q-3)."""
    return controls if controls.paused_at is None else replace(controls, paused_at=None)


def told(after: Controls) -> QueuePausedMessage | QueueResumedMessage:
    """The message about a pause or its end (Q-4)."""
    provisioner_id, _, worker_type = after.task_queue_id.partition("/")
    kind = QueueResumedMessage if after.paused_at is None else QueuePausedMessage
    return kind.trusted(
        task_queue_id=after.task_queue_id,
        provisioner_id=provisioner_id,
        worker_type=worker_type,
        paused_at=after.paused_at,
    )


def refuse_when_paused(controls: Controls) -> None:
    """Raise RequestConflict for a claim by id while the task queue is paused (Q-2)."""
    if controls.paused_at is not None:
        raise RequestConflict(
            f"Task queue `{controls.task_queue_id}` is paused since {format_time(controls.paused_at)}: "
            "no run of it can be claimed before it is resumed."
        )
