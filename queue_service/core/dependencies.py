"""When a task may start: the rules about what it waits for (``queue-behaviour.md`` 4)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from queue_service.core.errors import InputError
from schemas.task import Requires, TaskState


@dataclass(frozen=True, slots=True)
class Dependency:
    """What the rule needs to know of a task that another one waits for."""

    task_id: str
    state: TaskState
    expires: datetime


def satisfied(requires: Requires, state: TaskState) -> bool:
    """Whether a dependency in this state lets its dependent go."""
    if requires == "all-completed":
        return state == "completed"
    return state in ("completed", "failed", "exception")


def unmet(
    requires: Requires,
    dependencies: Iterable[str],
    known: Mapping[str, Dependency],
    deadline: datetime,
) -> frozenset[str]:
    """The dependencies that are not satisfied yet.

    Raises InputError that lists, one id a line, those that do not exist, or, when all exist, those that
    expire before the deadline.
    """
    wanted = tuple(dependencies)
    missing = [task_id for task_id in wanted if task_id not in known]
    if missing:
        raise InputError("`dependencies` lists tasks that do not exist:\n" + _listed(missing))
    too_early = [task_id for task_id in wanted if known[task_id].expires < deadline]
    if too_early:
        raise InputError("`dependencies` lists tasks that expire before `deadline`:\n" + _listed(too_early))
    return frozenset(task_id for task_id in wanted if not satisfied(requires, known[task_id].state))


def _listed(task_ids: Iterable[str]) -> str:
    return "\n".join(f" * {task_id}" for task_id in task_ids)
