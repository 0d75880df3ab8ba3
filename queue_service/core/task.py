"""A task as the rules see it, and a change of it as the store writes it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from queue_service.core.extras import Extras
from queue_service.core.uniqueness import HeldKey
from schemas.attempts import AttemptError
from schemas.messages import Message
from schemas.task import Priority, Requires, Run, TaskState, TaskStatus


@dataclass(frozen=True, slots=True)
class Task:
    """Everything of a task that a rule needs; the payload stays in its own, never updated, row."""

    task_id: str
    task_queue_id: str
    scheduler_id: str
    project_id: str
    task_group_id: str
    deadline: datetime
    expires: datetime
    requires: Requires
    retries: int
    routes: tuple[str, ...]
    tags: Mapping[str, str]
    priority: Priority
    retries_left: int
    runs: tuple[Run, ...] = ()
    ever_resolved: bool = False
    """Set at the first resolution and never cleared, not even by a rerun (``queue-behaviour.md`` 5)."""
    claimed_by_id: bool = False
    """The running run was taken by ``claimTask``, so that its worker may ask for it again (6.3)."""
    available_at: datetime | None = None
    """Until then the pending run, or the first run of an unscheduled task, is delayed (C-9, C-11)."""
    extras: Extras | None = None
    """What it has beyond a plain task."""
    lane: str = ""
    """Where its runs wait for a limit by key; empty when there is none (``seed-systems.md`` C.7)."""
    version: int = 0

    @property
    def state(self) -> TaskState:
        return self.runs[-1].state if self.runs else "unscheduled"

    @property
    def last_run(self) -> Run | None:
        return self.runs[-1] if self.runs else None

    @property
    def in_line(self) -> bool:
        """Whether its last run waits for a worker, and nothing else."""
        return self.state == "pending" and self.available_at is None

    @property
    def resolved(self) -> bool:
        return self.state in ("completed", "failed", "exception")

    @property
    def traceparent(self) -> str | None:
        """The trace in which it was created, if that is known."""
        return None if self.extras is None else self.extras.traceparent

    @property
    def attempt(self) -> int:
        """How often it was started, without what was snoozed or cut short by its worker's shutdown (C-2)."""
        return sum(counts_as_attempt(run) for run in self.runs)

    def held_key(self, now: datetime) -> HeldKey | None:
        """The key by which it keeps equal tasks from being created, if it does (U-6)."""
        if self.extras is None or self.extras.unique is None:
            return None
        return self.extras.unique.held_by(self.state, self.runs[-1].resolved if self.runs else None, now)

    def deadline_passed(self, now: datetime) -> bool:
        return self.deadline <= now

    def status(self) -> TaskStatus:
        """The status as the wire has it. The values were validated when they came in."""
        provisioner_id, _, worker_type = self.task_queue_id.partition("/")
        return TaskStatus.trusted(
            task_id=self.task_id,
            provisioner_id=provisioner_id,
            worker_type=worker_type,
            task_queue_id=self.task_queue_id,
            scheduler_id=self.scheduler_id,
            project_id=self.project_id,
            task_group_id=self.task_group_id,
            priority=self.priority,
            deadline=self.deadline,
            expires=self.expires,
            retries_left=self.retries_left,
            state=self.state,
            runs=self.runs,
        )


@dataclass(frozen=True, slots=True)
class Change:
    """One transition: the task before (None when it is new) and after, and what must be told.

    ``after is before`` when the call is a repeat that only tells again, or does nothing at all.
    """

    before: Task | None
    after: Task
    messages: tuple[Message, ...] = ()
    error: AttemptError | None = None
    """What went wrong with the run that ended; it is kept beside the task, and so is the output."""
    output: str | None = None
    """The task's result as JSON."""

    @property
    def alters(self) -> bool:
        """Whether there is anything to write."""
        return self.after is not self.before

    @property
    def resolves(self) -> bool:
        """Whether the task ended by this change, so that dependents and its group must look."""
        return self.alters and self.after.resolved and (self.before is None or not self.before.resolved)

    @property
    def queues(self) -> bool:
        """Whether a run got in line by this change, and takes its place at the end of its class."""
        before, after = self.before, self.after
        return (
            self.alters
            and after.in_line
            and (before is None or not before.in_line or len(before.runs) < len(after.runs))
        )

    @property
    def delays(self) -> bool:
        """Whether a run, or a task, has to wait for a time by this change."""
        after = self.after.available_at
        return (
            self.alters and after is not None and (self.before is None or self.before.available_at != after)
        )

    @property
    def makes_room(self) -> bool:
        """Whether a worker's run ended by this change."""
        before = self.before
        return before is not None and before.state == "running" and self.after.state != "running"

    @property
    def claims(self) -> bool:
        """Whether a worker took the run by this change."""
        return self.after.state == "running" and (self.before is None or self.before.state != "running")


def counts_as_attempt(run: Run) -> bool:
    """Whether a run was an attempt, or is one (``seed-systems.md`` C-2)."""
    return run.started is not None and run.reason_resolved != "worker-shutdown"


def nothing(task: Task) -> Change:
    """The change that changes and tells nothing."""
    return Change(task, task)
