"""A worker between a scripted queue and a handler that the test controls."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from taskbus.runs import Handler
from taskbus.worker import Worker
from tests.taskbus.hands import Hands, StartWorker
from tests.taskbus.manual_clock import ManualClock
from tests.taskbus.scripted_queue import ScriptedQueue


@pytest.fixture
def queue() -> ScriptedQueue:
    return ScriptedQueue()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
def working(queue: ScriptedQueue, clock: ManualClock) -> StartWorker:
    """A context with a running worker, which is stopped and awaited at its end."""

    @asynccontextmanager
    async def start(handler: Handler, **options: Any) -> AsyncIterator[tuple[Worker, asyncio.Task[None]]]:
        options = {"drain": 5.0, "jitter": lambda: 0.0, "clock": clock, **options}
        worker = Worker(queue, "prov/type", handler, worker_group="group", worker_id="worker", **options)
        running = asyncio.create_task(worker.run())
        try:
            yield worker, running
        finally:
            worker.stop()
            if not running.done():
                await running

    return start
