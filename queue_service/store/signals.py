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
class QueueHeld:
    """Runs of a task queue wait for room under its limits, which there may be at this time."""

    task_queue_id: str
    until: datetime


@dataclass(frozen=True, slots=True)
class TimerSet:
    """Something falls due at a time that may be earlier than its loop planned to wake."""

    timer: Literal["claim", "deadline", "expiry", "delay"]
    due: datetime


@dataclass(frozen=True, slots=True)
class AccessChanged:
    """Clients or roles changed: what is kept of them in memory is old."""


@dataclass(frozen=True, slots=True)
class QuarantineChanged:
    """A worker was quarantined, or its quarantine was lifted."""


@dataclass(frozen=True, slots=True)
class TopicStirred:
    """Something happened that a feature's callers wait for; ``topic`` is a word of up to 40 characters."""

    topic: str


Signal = (
    OutboxFilled
    | TasksResolved
    | QueueFilled
    | QueueHeld
    | TimerSet
    | AccessChanged
    | QuarantineChanged
    | TopicStirred
)
Subscriber = Callable[[Signal], None]


class Signals:
    """Distinct signals; of timers of one kind only the earliest, as it is the one to wake up for."""

    def __init__(self) -> None:
        self._signals: dict[Signal | str, Signal] = {}

    def add(self, signal: Signal) -> None:
        if isinstance(signal, TimerSet):
            known = self._signals.get(signal.timer)
            if not isinstance(known, TimerSet) or signal.due < known.due:
                self._signals[signal.timer] = signal
        else:
            self._signals[signal] = signal

    def __len__(self) -> int:
        return len(self._signals)

    def all(self) -> tuple[Signal, ...]:
        return tuple(self._signals.values())

    def take(self) -> tuple[Signal, ...]:
        """All of them, leaving none."""
        taken = self.all()
        self._signals.clear()
        return taken
