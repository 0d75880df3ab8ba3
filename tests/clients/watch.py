"""What a plain pika program hears of the queue's events; tests wait for what they want to see."""

import json
import time
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

import pika

EXCHANGES: Final = "exchange/taskcluster-queue/v1/"
KINDS: Final = (
    "task-defined",
    "task-pending",
    "task-running",
    "task-completed",
    "task-failed",
    "task-exception",
    "task-group-resolved",
    "artifact-created",
)


class Event(NamedTuple):
    """A message: which exchange it came from, without the common part, and what it says."""

    kind: str
    body: dict[str, Any]

    @property
    def task_id(self) -> str:
        return str(self.body.get("status", {}).get("taskId", ""))


class Watch:
    """Hears every event from the moment it is entered; remembers all."""

    def __init__(self, amqp_url: str) -> None:
        self.heard: list[Event] = []
        self._url = amqp_url
        self._connection: pika.BlockingConnection
        self._channel: Any

    def __enter__(self) -> Self:
        self._connection = pika.BlockingConnection(pika.URLParameters(self._url))
        self._channel = self._connection.channel()
        queue = self._channel.queue_declare("", exclusive=True).method.queue
        for kind in KINDS:
            # The service declares them, too, when it has reached the broker; who is first does not matter.
            self._channel.exchange_declare(EXCHANGES + kind, "topic", durable=True)
            self._channel.queue_bind(queue, EXCHANGES + kind, "#")
        self._queue = queue
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def until(
        self,
        kind: str,
        *,
        task_id: str = "",
        run_id: int | None = None,
        task_queue_id: str = "",
        seconds: float = 60,
    ) -> Event:
        """The first event of this kind, heard already or to come. Raises AssertionError otherwise."""

        def wanted(event: Event) -> bool:
            return (
                event.kind == kind
                and task_id in ("", event.task_id)
                and task_queue_id in ("", event.body.get("status", {}).get("taskQueueId"))
                and run_id in (None, event.body.get("runId"))
            )

        for event in self.heard:
            if wanted(event):
                return event
        end = time.monotonic() + seconds
        for method, _, body in self._channel.consume(self._queue, auto_ack=True, inactivity_timeout=1):
            if method is not None:
                event = Event(method.exchange.removeprefix(EXCHANGES), json.loads(body))
                self.heard.append(event)
                if wanted(event):
                    self._channel.cancel()
                    return event
            if time.monotonic() > end:
                break
        self._channel.cancel()
        told = [(event.kind, event.task_id, event.body.get("runId")) for event in self.heard]
        raise AssertionError(f"no {kind} {task_id} within {seconds:g} s, only {told}")

    def story(self, task_id: str) -> list[str]:
        """The kinds of what was heard of a task, in order."""
        return [event.kind for event in self.heard if event.task_id == task_id]
