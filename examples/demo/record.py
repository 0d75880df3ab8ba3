"""What the listener writes down: one line of JSON per message, in the order of arrival."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from events.exchanges import find_exchange
from schemas.base import Document
from schemas.messages import Message, TaskMessage
from schemas.task import JsonObject, Run
from schemas.times import Time


class Record(Document):
    """One message. ``exchange`` is the full name; ``message_id`` tells a repeat from another message."""

    arrived: Time
    exchange: str
    message_id: str
    message: JsonObject

    @property
    def kind(self) -> str:
        """What happened, such as ``task-pending``."""
        return self.exchange.rpartition("/")[2]

    @cached_property
    def event(self) -> Message:
        """The message as an object. Raises ValueError when the exchange is none of the queue's."""
        declared = find_exchange(self.exchange)
        if declared is None:
            raise ValueError(f"not an exchange of the queue: {self.exchange}")
        return declared.payload.model_validate(self.message)

    @property
    def task(self) -> TaskMessage | None:
        """The message if it is about a task, None if it is about a group."""
        return self.event if isinstance(self.event, TaskMessage) else None

    @property
    def subject(self) -> str:
        """What the task works on, by its tags; the group's id for a message about a group."""
        if self.task is None:
            return str(self.message.get("taskGroupId", ""))
        tags = self.task.task.tags if self.task.task else {}
        return f"{tags.get('kind', 'task')} {tags.get('subject', self.task.status.task_id)}"

    @property
    def run_id(self) -> int | None:
        """The run that the message is about."""
        return getattr(self.event, "run_id", None)

    @property
    def worker_id(self) -> str | None:
        """The worker that holds or held the run."""
        return getattr(self.event, "worker_id", None)

    @property
    def run(self) -> Run | None:
        """The run that the message is about, as its status shows it."""
        runs = self.task.status.runs if self.task else ()
        return next((run for run in runs if run.run_id == self.run_id), None)


def read_records(file: Path) -> list[Record]:
    """All records in the file; none when it does not exist."""
    return list(_records(file)) if file.exists() else []


def _records(file: Path) -> Iterator[Record]:
    with file.open("rb") as lines:
        for line in lines:
            yield Record.from_json(line)
