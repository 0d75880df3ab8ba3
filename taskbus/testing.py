"""Tests of jobs: the real service in this process, on a database of its own, and a clock that the test moves.

Needs the extra ``server``::

    async def test_an_invoice_is_sent_again_when_the_printer_jams() -> None:
        async with testing.bus(worker) as bus:
            result = await bus.insert(SendInvoice(customer=7))
            await bus.run_until_idle()
            bus.clock.advance("10m")
            await bus.run_until_idle()
            assert (await bus.state(result.task_id)) == "completed"
"""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from queue_service.clock import SystemClock
from queue_service.service import Service
from queue_service.settings import Settings
from queue_service.store.database import open_database
from queue_service.store.migrations import runner
from schemas import tracing
from schemas.attempts import AttemptsResponse
from schemas.durations import parse_duration
from schemas.task import TaskState
from taskbus.client import Queue
from taskbus.errors import error_from_response
from taskbus.jobs.bus import Taskbus
from taskbus.jobs.hooks import Hook, InsertMiddleware
from taskbus.jobs.options import Duration
from taskbus.jobs.worker import Worker
from taskbus.runs import Attempt, ClaimedRun
from taskbus.transport import ANSWER_SECONDS, Query, Sign, Transport

START: Final = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


class ManualClock:
    """The time of the service and of handlers: it stands still until the test moves it."""

    def __init__(self, start: datetime = START) -> None:
        self._start = start
        self._passed = timedelta()
        self._sleepers: dict[asyncio.Future[None], timedelta] = {}

    def now(self) -> datetime:
        """The time of the day."""
        return self._start + self._passed

    def time(self) -> float:
        """Seconds since the clock was made."""
        return self._passed.total_seconds()

    def advance(self, duration: Duration) -> datetime:
        """Move on by as much, such as ``10m``; the new time. What is due is done when the bus runs next."""
        self._passed += parse_duration(duration)
        for wake, due in self._sleepers.items():
            if due <= self._passed and not wake.done():
                wake.set_result(None)
        return self.now()

    async def sleep(self, seconds: float) -> None:
        """Return when the clock was moved by as much."""
        wake = asyncio.get_running_loop().create_future()
        self._sleepers[wake] = self._passed + timedelta(seconds=seconds)
        try:
            await wake
        finally:
            del self._sleepers[wake]


class NeverIdle(Exception):
    """There is always more to do."""


class InProcess(Transport):
    """Calls the service's application without a network."""

    def __init__(self, service: Service) -> None:
        super().__init__("http://taskbus.testing")
        self._application = service.application

    async def request(
        self,
        method: str,
        path: Sequence[str],
        *,
        query: Query | None = None,
        body: bytes | None = None,
        sign: Sign | None = None,
        accept: Sequence[int] = (),
        answer_seconds: float = ANSWER_SECONDS,
    ) -> bytes:
        """As of any transport, but nothing is tried again."""
        url = self.url(path, query)
        target = urlsplit(url)
        headers = {"host": target.netloc}
        if body is not None:
            headers["content-type"] = "application/json"
        if sign is not None:
            headers["authorization"] = sign(method, url, body)
        if (traceparent := tracing.current()) is not None:
            headers[tracing.HEADER] = traceparent
        sent: list[dict[str, Any]] = []
        received = iter([{"type": "http.request", "body": body or b"", "more_body": False}])

        async def receive() -> Any:
            message = next(received, None)
            return message if message is not None else await asyncio.Future()

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(target.path),
            "raw_path": target.path.encode(),
            "query_string": target.query.encode(),
            "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }
        await self._application(scope, receive, send)
        status, content = sent[0]["status"], b"".join(part.get("body", b"") for part in sent[1:])
        if status >= 300 and status not in accept:
            raise error_from_response(status, content, self.root_url)
        return content


class BusOfTest(Taskbus):
    """A bus whose jobs are done when the test says so. ``service`` is the service behind it."""

    def __init__(self, service: Service, clock: ManualClock, worker: Worker | None, **options: Any) -> None:
        super().__init__(Queue(transport=InProcess(service), credentials=None), now=clock.now, **options)
        self.service = service
        self.clock = clock
        self._worker = worker

    @property
    def amqp_url(self) -> str:
        """Where programs that listen find the broker of the service."""
        return self.service.amqp_url

    async def state(self, task_id: str) -> TaskState:
        """The state of a job's task."""
        return (await self.queue.status(task_id)).state

    async def attempts(self, task_id: str) -> AttemptsResponse:
        """How a job fared: its attempts, its errors, its output."""
        return await self.queue.attempts(task_id)

    async def run_until_idle(self, *, most: int = 10_000) -> int:
        """Do every job that is due by the clock, and all that comes of it; how many attempts that took.

        Raises NeverIdle after ``most`` attempts: a job may come again and again without a delay.
        """
        done = 0
        while done <= most:
            await self._settle()
            attempts = await self._claim()
            if not attempts:
                return done
            await asyncio.gather(*(attempt.execute() for attempt in attempts))
            done += len(attempts)
        raise NeverIdle(f"there is work to do after {done} attempts")

    async def _claim(self) -> list[Attempt]:
        if self._worker is None:
            return []
        executor = self._worker.executor(self.clock, self.queue)
        return [
            Attempt(ClaimedRun(claim, self.clock), self.queue, executor, clock=self.clock, jitter=lambda: 0.0)
            for task_queue_id, concurrency in self._worker.queues.items()
            for claim in await self.queue.claim_bulk(
                task_queue_id, worker_group="testing", worker_id="testing", tasks=concurrency
            )
        ]

    async def _settle(self) -> None:
        """What the service does by itself when its time has come."""
        for loop in self.service.loops.every:
            while await loop.run_once():
                pass


@asynccontextmanager
async def bus(
    worker: Worker | None = None,
    *,
    start: datetime = START,
    middleware: Sequence[InsertMiddleware] = (),
    hooks: Sequence[Hook] = (),
) -> AsyncIterator[BusOfTest]:
    """A bus with a service of its own, in this process. ``worker`` has the handlers of its jobs."""
    clock = ManualClock(start)
    with tempfile.TemporaryDirectory(prefix="taskbus-") as folder:
        file = Path(folder) / "taskbus.sqlite"
        await _make_database(file)
        settings = Settings(database_url=f"sqlite:///{file}", amqp_url="", amqp_port=0, no_auth=True)
        async with Service(settings, clock=clock) as service:
            yield BusOfTest(service, clock, worker, middleware=middleware, hooks=hooks)


@cache
def _templates() -> tempfile.TemporaryDirectory[str]:
    """A folder of this process, removed at its end."""
    return tempfile.TemporaryDirectory(prefix="taskbus-template-")


async def _make_database(file: Path) -> None:
    """An empty database with all tables: a copy of one that was made once, which takes seconds."""
    template = Path(_templates().name) / file.name
    if not template.exists():
        database = open_database(f"sqlite:///{file}", SystemClock())
        try:
            await runner.migrate(database)
        finally:
            await database.close()
        shutil.copyfile(file, template)
    else:
        shutil.copyfile(template, file)
