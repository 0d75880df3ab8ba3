"""What a committed transaction announces, so that waiting parts wake at once instead of polling."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal


@dataclass(frozen=True, slots=True)
class OutboxFilled:
    """Messages wait for the relay."""


@dataclass(frozen=True, slots=True)
class TasksResolved:
    """Tasks ended: dependents and groups must look."""


@dataclass(frozen=True, slots=True)
class QueueFilled:
    """Runs became pending in a task queue."""

    task_queue_id: str


@dataclass(frozen=True, slots=True)
class TimerSet:
    """Something falls due at a time that may be earlier than its loop planned to wake."""

    timer: Literal["claim", "deadline", "expiry"]
    due: datetime


Signal = OutboxFilled | TasksResolved | QueueFilled | TimerSet
Subscriber = Callable[[Signal], None]
