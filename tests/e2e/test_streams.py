"""A listener over HTTP misses nothing: the broker is away, its server is killed, another process goes on."""

import asyncio
import signal
from typing import Any, Final

import pytest

from events import TaskDefined
from schemas.ids import slugid
from taskbus import Events, Queue, task_definition
from tests.e2e.programs import ROOT, Programs
from tests.events.proxy import Proxy

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

SECONDS: Final = 60.0
STOP_SECONDS: Final = 5.0
TASKS: Final = 10


class Heard:
    """What a listener was told so far, and where it is."""

    def __init__(self, name: str) -> None:
        self._queue = f"{name}/work"
        self.task_ids: list[str] = []
        self.last_id: str | None = None
        self._more = asyncio.Event()

    async def listen(self, root_url: str) -> None:
        async with Events(root_url, credentials=ROOT) as events:
            async for found in events.listen(TaskDefined(task_queue_id=self._queue), last_id=self.last_id):
                self.last_id = found.id
                self.task_ids.append(found.event.status.task_id)
                self._more.set()

    async def until(self, count: int) -> None:
        while len(self.task_ids) < count:
            self._more.clear()
            await self._more.wait()

    async def create(self, queue: Queue, count: int) -> list[str]:
        """Create so many tasks, one after the other."""
        ids = [slugid() for _ in range(count)]
        for task_id in ids:
            definition = task_definition({}, queue=self._queue)
            await queue.create_task(task_id, definition)
        return ids


async def begun(heard: Heard, root_url: str, queue: Queue) -> "asyncio.Task[None]":
    """A listener that is there: it has heard of the last task so far."""
    listening = asyncio.create_task(heard.listen(root_url))
    while not heard.task_ids:
        await heard.create(queue, 1)
        await asyncio.wait([listening], timeout=0.3)
    (last,) = await heard.create(queue, 1)
    while heard.task_ids[-1] != last:
        await heard.until(len(heard.task_ids) + 1)
    return listening


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_a_listener_goes_on_at_the_next_server_while_the_broker_is_away(
    taskbus: Programs,
    quick: dict[str, Any],
    database_url: str,
    rabbitmq_url: str,
    name: str,
    how: signal.Signals,
) -> None:
    heard = Heard(name)
    async with Proxy(rabbitmq_url) as broker, asyncio.timeout(SECONDS):
        await broker.refuse()
        settings = {**quick, "database_url": database_url, "amqp_url": broker.url}
        server = await taskbus.serve(**settings)
        async with Queue(server.root_url, credentials=ROOT) as queue:
            listening = await begun(heard, server.root_url, queue)
            before = len(heard.task_ids)
            made = await heard.create(queue, TASKS)
            server.process.send_signal(how)
            await server.exit(STOP_SECONDS)
        listening.cancel()
        await asyncio.wait([listening])

        server = await taskbus.serve(**settings)
        async with Queue(server.root_url, credentials=ROOT) as queue:
            listening = asyncio.create_task(heard.listen(server.root_url))
            made += await heard.create(queue, TASKS)
            await heard.until(before + len(made))
            await broker.accept()
            made += await heard.create(queue, TASKS)
            await heard.until(before + len(made))
        listening.cancel()
        await asyncio.wait([listening])
    assert heard.task_ids[before:] == made


async def test_a_server_that_stops_ends_its_streams(taskbus: Programs, name: str) -> None:
    heard = Heard(name)
    server = await taskbus.serve()
    async with Queue(server.root_url, credentials=ROOT) as queue:
        listening = await begun(heard, server.root_url, queue)
    server.process.send_signal(signal.SIGTERM)
    assert await server.exit(STOP_SECONDS) == 0
    listening.cancel()
    await asyncio.wait([listening])
