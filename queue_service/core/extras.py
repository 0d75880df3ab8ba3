"""What a task has beyond a plain one: what its creator asked for, and what is counted of its attempts.

Rules: ``seed-systems.md`` C-1 to C-15, U-1 to U-11, X-1.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from queue_service.core.uniqueness import UniqueKey
from schemas.extensions import Retention, RetryPolicy, TaskExtensions
from schemas.times import Time

MAX_SNOOZED_BY: Final = 100


@dataclass(frozen=True, slots=True)
class Snoozed:
    """A worker that had a run and put it off; the run itself remembers only the worker that has it now."""

    run_id: int
    worker: str
    """``<workerGroup>/<workerId>``"""


@dataclass(frozen=True, slots=True)
class Extras:
    """The extensions of one task. A task that uses none has no such value."""

    run_at: Time | None = None
    held: bool = False
    max_attempts: int = 1
    retry_policy: RetryPolicy | None = None
    retention: Retention | None = None
    unique: UniqueKey | None = None
    errors: int = 0
    """How many errors were reported; those of claims that ran out are not among them."""
    snoozes: int = 0
    snoozed_by: tuple[Snoozed, ...] = ()
    """The latest ones."""
    witness: str = ""
    """The feature that is told of every change of the task, in the same transaction; mostly none."""
    cancel_requested: bool = False
    """Whether the run is to be the last, and the task cancelled unless it completes (K-3)."""
    traceparent: str | None = None
    """The trace in which it was created. It changes nothing of what happens to the task."""

    @property
    def plain(self) -> bool:
        """Whether there is nothing but a trace."""
        return replace(self, traceparent=None) == PLAIN

    def starts_after(self, now: datetime) -> datetime | None:
        """When the first run may be made, if that is not now."""
        return self.run_at if self.run_at is not None and self.run_at > now else None


PLAIN: Final = Extras()
"""What a task without extensions has."""


def extras_of(asked: TaskExtensions, traceparent: str | None) -> Extras | None:
    """What the creator of a task asked for, and its trace; None for a plain task that is not traced."""
    extras = Extras(
        run_at=asked.run_at,
        held=bool(asked.held),
        max_attempts=asked.max_attempts or 1,
        retry_policy=asked.retry_policy,
        retention=asked.retention,
        traceparent=traceparent,
    )
    return None if extras == PLAIN else extras
