"""Task groups: who may add to one, and how long it is kept (``queue-behaviour.md`` 5)."""

from dataclasses import dataclass
from datetime import datetime

from queue_service.core.errors import RequestConflict
from schemas.queue import TaskGroupResponse


@dataclass(frozen=True, slots=True)
class TaskGroup:
    task_group_id: str
    scheduler_id: str
    expires: datetime
    sealed: datetime | None = None

    def to_response(self) -> TaskGroupResponse:
        return TaskGroupResponse.trusted(
            task_group_id=self.task_group_id,
            scheduler_id=self.scheduler_id,
            expires=self.expires,
            sealed=self.sealed,
        )


def admit(group: TaskGroup, scheduler_id: str) -> None:
    """Raise RequestConflict when a task of this scheduler may not join the group."""
    if group.scheduler_id != scheduler_id:
        raise RequestConflict(
            f"Task group `{group.task_group_id}` belongs to schedulerId `{group.scheduler_id}`, "
            f"and the task has schedulerId `{scheduler_id}`."
        )
    if group.sealed is not None:
        raise RequestConflict(
            f"Task group `{group.task_group_id}` was sealed at {group.sealed.isoformat()}; "
            "no task can be added to it."
        )


def refuse_unless_sealed(group: TaskGroup) -> None:
    """cancelTaskGroup acts on sealed groups only."""
    if group.sealed is None:
        raise RequestConflict(
            f"Task group `{group.task_group_id}` is not sealed. Seal it first, so that no task is added "
            "while it is cancelled."
        )
