"""Records of tasks' lives: what a listener would have written down, told by the queue's own rules."""

from datetime import UTC, datetime, timedelta
from typing import Final

from events.exchanges import exchange_for
from examples.demo.record import Record
from queue_service.core import transitions
from queue_service.core.definition import complete, unscheduled_task
from queue_service.core.task import Change, Task
from schemas.ids import slugid
from schemas.messages import Message, TaskGroupResolvedMessage
from taskbus import command_task

NOW: Final = datetime(2024, 5, 1, 12, 0, tzinfo=UTC)
CLAIM: Final = timedelta(seconds=4)
GROUP_ID: Final = "fN1SbArXTPSVFNUvaOlinQ"


class Story:
    """Makes things happen to tasks of one group; every message that follows becomes a record."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.submitted: dict[str, tuple[str, ...]] = {}
        self._tasks: dict[str, Task] = {}
        self._now = NOW

    def create(self, subject: str, *, kind: str = "compile", after: tuple[str, ...] = ()) -> str:
        """The id of a new task, pending unless it waits for others."""
        task_id = slugid()
        self.submitted[task_id] = after
        definition = command_task(
            ["true"],
            queue="demo/commands",
            created=NOW,
            task_group_id=GROUP_ID,
            dependencies=after,
            tags={"kind": kind, "subject": subject},
        )
        unscheduled = unscheduled_task(task_id, complete(task_id, definition))
        self._happens(transitions.create(unscheduled, self._tick(), unmet_dependencies=bool(after)))
        return task_id

    def schedule(self, task_id: str) -> None:
        """What it depends on has completed."""
        self._happens(transitions.dependencies_met(self._tasks[task_id], self._tick()))

    def claim(self, task_id: str, worker_id: str = "worker-1") -> None:
        now = self._tick()
        change = transitions.claim(
            self._tasks[task_id], now, now + CLAIM, worker_group="demo", worker_id=worker_id
        )
        self._happens(change)

    def complete(self, task_id: str) -> None:
        self._happens(transitions.report(*self._last_run(task_id), "completed", self._tick()))

    def fail(self, task_id: str) -> None:
        self._happens(transitions.report(*self._last_run(task_id), "failed", self._tick()))

    def expire(self, task_id: str) -> None:
        """The worker is gone; the claim runs out, and a new run is pending."""
        self._now += CLAIM
        self._happens(transitions.expire_claim(self._tasks[task_id], self._tick()))

    def resolve_group(self) -> None:
        self._tell(
            TaskGroupResolvedMessage(
                task_group_id=GROUP_ID, scheduler_id="-", expires=NOW + timedelta(days=366)
            )
        )

    def _last_run(self, task_id: str) -> tuple[Task, int]:
        task = self._tasks[task_id]
        return task, len(task.runs) - 1

    def _happens(self, change: Change) -> None:
        self._tasks[change.after.task_id] = change.after
        for message in change.messages:
            self._tell(message)

    def _tell(self, message: Message) -> None:
        self.records.append(
            Record(
                arrived=self._now,
                exchange=exchange_for(type(message)).full_name,
                message_id=str(len(self.records) + 1),
                message=message.to_wire(),
            )
        )

    def _tick(self) -> datetime:
        self._now += timedelta(milliseconds=100)
        return self._now


def whole_story() -> Story:
    """Two tasks, one of which is lost by worker-1 and completed by worker-2, and a report on both."""
    story = Story()
    one, two = story.create("one.py"), story.create("two.py")
    report = story.create("everything", kind="report", after=(one, two))
    story.claim(one, "worker-1")
    story.claim(two, "worker-2")
    story.complete(two)
    story.expire(one)
    story.claim(one, "worker-2")
    story.complete(one)
    story.schedule(report)
    story.claim(report, "worker-2")
    story.complete(report)
    story.resolve_group()
    return story
