"""The stream of events on a running queue, with the relay and the scribe moved by the test."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlencode

from sqlalchemy import func, select

from queue_service.api.app import Application
from queue_service.api.permit import Gate
from queue_service.catalogue import APIS
from queue_service.features.feature import Parts
from queue_service.features.streams.api import EventsApi
from queue_service.features.streams.feature import EVENTS_API, STREAMS
from queue_service.features.streams.scribe import PATIENCE
from queue_service.features.streams.tail import Tail
from queue_service.loops.loop import Loop
from queue_service.loops.outbox_relay import OutboxRelay
from queue_service.settings import Settings
from queue_service.store.event_tables import event_log
from tests.api.attached import Socket
from tests.api.neighbour import Neighbour
from tests.api.running_queue import RunningQueue
from tests.loops.scripted_publisher import ScriptedPublisher
from tests.streams.reader import Reader

QUEUE: Final = "exchange/taskcluster-queue/v1/"
EVERYTHING: Final = [(QUEUE + name, "#") for name in ("task-defined", "task-pending", "task-running")]
COUNT: Final = select(func.count()).select_from(event_log)
Pairs = Sequence[tuple[str, str]]

assert EVENTS_API in APIS


class Streams(Neighbour):
    """One process that streams. Nothing is published, or logged without the broker, but by the test."""

    def __init__(
        self, queue: RunningQueue, application: Application, tail: Tail, loops: Sequence[Loop]
    ) -> None:
        super().__init__(queue, EVENTS_API, application)
        self.queue = queue
        self.application = application
        self.tail = tail
        self.writing, self.trimming = loops
        self.publisher = ScriptedPublisher()
        self.relay = OutboxRelay(
            queue.database,
            self.publisher,  # type: ignore[arg-type]
            "this",
            idle=timedelta(hours=1),
        )

    def read(
        self, pairs: Pairs = EVERYTHING, last: str | None = None, headers: Mapping[str, str] | None = None
    ) -> Reader:
        return Reader(self.application, target(pairs, last), headers)

    def socket(self, pairs: Pairs = EVERYTHING, last: str | None = None) -> Socket:
        path, _, query = target(pairs, last).partition("?")
        return Socket(self.application, path, query)

    async def publish(self) -> None:
        """The broker takes all that waits."""
        while await self.relay.run_once():
            pass

    async def log_without_broker(self) -> None:
        """So much time passes that messages are logged whether the broker took them or not."""
        self.queue.clock.advance(seconds=PATIENCE.total_seconds())
        while await self.writing.run_once():
            pass

    async def logged(self) -> int:
        """Events in the log."""
        async with self.queue.database.read() as connection:
            return int((await connection.execute(COUNT)).scalar_one())


def target(pairs: Pairs, last: str | None = None) -> str:
    query = [("exchange", exchange) for exchange, _ in pairs] + [("routingKey", key) for _, key in pairs]
    return "/api/events/v1/stream?" + urlencode([*query, *([] if last is None else [("lastEventId", last)])])


@asynccontextmanager
async def running_streams(
    queue: RunningQueue, gate: Gate | None = None, **settings: Any
) -> AsyncIterator[Streams]:
    """The feature as the service starts it."""
    given: Any = gate or queue.permit
    parts = Parts(queue.database, queue.clock, Settings(**settings), "test", queue.api, given, None)
    async with STREAMS.open(parts) as running:
        application = Application([EVENTS_API], running.handlers, queue.clock, given, "1.2.3")
        (api,) = running.handlers
        assert isinstance(api, EventsApi)
        streams = Streams(queue, application, api._tail, running.loops)
        try:
            yield streams
        finally:
            await streams.relay.stop()
