"""SIGTERM while workers wait and calls are under way: an end in order, and nothing lost over the restart."""

import asyncio
import signal
from contextlib import suppress
from typing import Any, Final

import pika
import pytest
from pika.exceptions import AMQPConnectionError

from schemas.ids import slugid
from taskbus import Queue, ServerError, task_definition
from tests.e2e.history import problems
from tests.e2e.observer import Observer
from tests.e2e.programs import ROOT, Programs
from tests.events.proxy import Proxy

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(60)]

STOP_SECONDS: Final = 3.0
CREATES: Final = 40


async def test_sigterm_ends_in_order_and_a_restart_continues(
    taskbus: Programs,
    observer: Observer,
    quick: dict[str, Any],
    database_url: str,
    rabbitmq_url: str,
    name: str,
) -> None:
    definition = task_definition({}, queue=f"{name}/work", scheduler_id=name)
    async with Proxy(rabbitmq_url) as broker:
        await broker.refuse()
        settings = {**quick, "long_poll": 20, "database_url": database_url, "amqp_url": broker.url}
        server = await taskbus.serve(**settings)
        async with Queue(server.root_url, credentials=ROOT, retries=0) as queue:
            idle = [
                asyncio.create_task(
                    queue.claim_work(f"{name}/idle", worker_group="g", worker_id=f"w{number}")
                )
                for number in range(5)
            ]
            ids = [slugid() for _ in range(CREATES)]
            creating = {
                task_id: asyncio.create_task(queue.create_task(task_id, definition)) for task_id in ids
            }
            await asyncio.wait(creating.values(), return_when=asyncio.FIRST_COMPLETED)
            server.process.send_signal(signal.SIGTERM)
            assert await server.exit(STOP_SECONDS) == 0
            told = await asyncio.gather(*idle, return_exceptions=True)
            # Who comes only after the desk has closed is told to come again.
            assert all(one == () or (isinstance(one, ServerError) and one.status == 503) for one in told)
            await asyncio.wait(creating.values())
        answered = [task_id for task_id, call in creating.items() if call.exception() is None]
        assert answered
        assert observer.heard == []

        await broker.accept()
        server = await taskbus.serve(**settings)
        async with Queue(server.root_url, credentials=ROOT) as queue:
            statuses = await queue.statuses(ids)
            assert set(answered) <= statuses.keys()
            claimed = await queue.claim_work(f"{name}/work", worker_group="g", worker_id="w", tasks=32)
            assert len(claimed) == min(len(statuses), 32)
            statuses = await queue.statuses(ids)
        await observer.until(lambda: not problems(observer.heard, statuses.values()))
        assert problems(observer.heard, statuses.values()) == []


async def test_a_program_that_does_not_read_does_not_hold_up_the_end(taskbus: Programs) -> None:
    server = await taskbus.serve()
    connection = await asyncio.to_thread(pika.BlockingConnection, pika.URLParameters(server.amqp_url))
    server.process.send_signal(signal.SIGTERM)
    assert await server.exit(STOP_SECONDS) == 0
    with suppress(AMQPConnectionError):
        await asyncio.to_thread(connection.close)
