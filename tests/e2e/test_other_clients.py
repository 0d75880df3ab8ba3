"""Unmodified AMQP programs hear the service's own events, from the broker that is built in."""

import asyncio
import json
import queue
import threading
from collections.abc import Callable
from typing import Any, Final

import kombu
import pika
import pytest

from schemas.ids import slugid
from taskbus import Queue, task_definition
from tests.e2e.programs import ROOT, Programs

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(60)]

EXCHANGE: Final = "exchange/taskcluster-queue/v1/task-completed"
ROUTE: Final = "route.ci.main"
HEAR_SECONDS: Final = 10.0

Heard = tuple[str, str, dict[str, Any]]
"""The routing key, the content type and the payload of a message."""


class Listening(threading.Thread):
    """Runs a blocking program, which tells when it listens and hands over what it hears."""

    def __init__(self, program: Callable[[str, Callable[[], None]], Heard], amqp_url: str) -> None:
        super().__init__(name=program.__name__, daemon=True)
        self.listens = threading.Event()
        self.heard: queue.Queue[Heard] = queue.Queue()
        self._program = program
        self._amqp_url = amqp_url

    def run(self) -> None:
        self.heard.put(self._program(self._amqp_url, self.listens.set))


def pika_program(amqp_url: str, listens: Callable[[], None]) -> Heard:
    with pika.BlockingConnection(pika.URLParameters(amqp_url)) as connection:
        channel = connection.channel()
        name = channel.queue_declare("", exclusive=True).method.queue
        channel.queue_bind(name, EXCHANGE, ROUTE)
        messages = channel.consume(name, inactivity_timeout=HEAR_SECONDS)
        listens()
        method, properties, body = next(messages)
        channel.basic_ack(method.delivery_tag)
        channel.cancel()
        return method.routing_key, properties.content_type, json.loads(body)


def kombu_program(amqp_url: str, listens: Callable[[], None]) -> Heard:
    heard: list[Heard] = []

    def on_message(body: Any, message: kombu.Message) -> None:
        message.ack()
        heard.append((message.delivery_info["routing_key"], message.content_type, body))

    with kombu.Connection(amqp_url) as connection:
        exchange = kombu.Exchange(EXCHANGE, type="topic", durable=True)
        bound = kombu.Queue("", exchange, ROUTE, exclusive=True, channel=connection.channel())
        with kombu.Consumer(connection, bound, callbacks=[on_message], accept=["json"]):
            listens()
            connection.drain_events(timeout=HEAR_SECONDS)
    return heard[0]


async def test_programs_bound_to_a_route_hear_the_end_of_its_task(taskbus: Programs) -> None:
    server = await taskbus.serve()
    programs = [Listening(program, server.amqp_url) for program in (pika_program, kombu_program)]
    for program in programs:
        program.start()
        assert await asyncio.to_thread(program.listens.wait, HEAR_SECONDS), program.name

    other, ours = slugid(), slugid()
    async with Queue(server.root_url, credentials=ROOT) as client:
        await client.create_task(other, task_definition({}, queue="e2e/any", routes=["ci.branch"]))
        await client.create_task(ours, task_definition({}, queue="e2e/any", routes=["ci.main"]))
        for claim in await client.claim_work("e2e/any", worker_group="g", worker_id="w", tasks=2):
            await client.report_completed(claim.status.task_id, claim.run_id)

    for program in programs:
        routing_key, content_type, body = await asyncio.to_thread(program.heard.get, timeout=HEAR_SECONDS)
        assert routing_key == f"primary.{ours}.0.g.w.e2e.any.-.{ours}._", program.name
        assert content_type == "application/json", program.name
        assert body["status"]["state"] == "completed", program.name
