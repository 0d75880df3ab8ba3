"""Unmodified programs on the client libraries people use, against both brokers."""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import aio_pika
import kombu
import pika
import pytest
from pika.exceptions import UnroutableError

from tests.broker.peer import unique

NODE = Path(__file__).parent / "node"
LARGE = b"x" * (1024 * 1024)


async def test_an_aio_pika_program(amqp_url: str) -> None:
    connection = await aio_pika.connect_robust(amqp_url)
    async with connection:
        channel = await connection.channel(on_return_raises=True)
        await channel.set_qos(prefetch_count=2)
        exchange = await channel.declare_exchange(
            unique("topic"), aio_pika.ExchangeType.TOPIC, auto_delete=True
        )
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(exchange, "route.#")
        for body in (b"one", b"two", LARGE):
            message = aio_pika.Message(
                body,
                headers={"CC": ["route.b"], "number": 1},
                content_type="application/json",
                delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            )
            confirmation = await exchange.publish(message, routing_key="primary.a", mandatory=True)
            assert type(confirmation).__name__ == "Ack"
        seen = []
        async with queue.iterator() as messages:
            async for incoming in messages:
                seen.append((incoming.body[:3], incoming.redelivered, incoming.headers["CC"]))
                if len(seen) == 1:
                    await incoming.nack(requeue=True)
                else:
                    await incoming.ack()
                if len(seen) == 4:
                    break
        assert sorted(seen) == [
            (b"one", False, ["route.b"]),
            (b"one", True, ["route.b"]),
            (b"two", False, ["route.b"]),
            (b"xxx", False, ["route.b"]),
        ]
        with pytest.raises(aio_pika.exceptions.PublishError):
            await exchange.publish(aio_pika.Message(b"lost"), routing_key="nowhere", mandatory=True)
        assert await queue.get(fail=False) is None
        with pytest.raises(aio_pika.exceptions.ChannelNotFoundEntity):
            await channel.declare_queue(unique("missing"), passive=True)


def pika_program(url: str) -> list[tuple[bytes, bool]]:
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.confirm_delivery()
    channel.basic_qos(prefetch_count=2)
    exchange = unique("topic")
    channel.exchange_declare(exchange, "topic", auto_delete=True)
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(queue, exchange, "route.#")
    for body in (b"one", b"two", LARGE):
        properties = pika.BasicProperties(headers={"CC": ["route.b"]}, delivery_mode=2)
        channel.basic_publish(exchange, "primary.a", body, properties, mandatory=True)
    with pytest.raises(UnroutableError):
        channel.basic_publish(exchange, "nowhere", b"lost", mandatory=True)
    seen = []
    for method, _, body in channel.consume(queue, inactivity_timeout=20):
        seen.append((body[:3], method.redelivered))
        if len(seen) == 1:
            channel.basic_nack(method.delivery_tag, requeue=True)
        else:
            channel.basic_ack(method.delivery_tag)
        if len(seen) == 4:
            break
    assert channel.cancel() == 0
    assert channel.basic_get(queue) == (None, None, None)
    connection.close()
    return sorted(seen)


async def test_a_pika_program(amqp_url: str) -> None:
    seen = await asyncio.to_thread(pika_program, amqp_url)
    assert seen == [(b"one", False), (b"one", True), (b"two", False), (b"xxx", False)]


def kombu_program(url: str) -> tuple[list[Any], list[Any]]:
    name = unique("kombu")
    exchange = kombu.Exchange(name, "topic", auto_delete=True, durable=False)
    queue = kombu.Queue(name, exchange, routing_key="route.#", exclusive=True)
    seen: list[Any] = []

    def handle(body: Any, message: kombu.Message) -> None:
        seen.append(body)
        message.ack()

    with kombu.Connection(url, transport_options={"confirm_publish": True}) as connection:
        with (
            connection.Producer() as producer,
            connection.Consumer(queue, callbacks=[handle], prefetch_count=1),
        ):
            for number in range(3):
                body = {"number": number, "fill": "x" * 200_000}
                producer.publish(body, exchange=exchange, routing_key="route.a", declare=[queue])
            while len(seen) < 3:
                connection.drain_events(timeout=20)
        simple = connection.SimpleQueue(
            f"{name}.simple",
            queue_opts={"auto_delete": True, "durable": False},
            exchange_opts={"auto_delete": True},
        )
        for word in ("first", "second"):
            simple.put(word)
        words = []
        for _ in range(2):
            message = simple.get(timeout=20)
            words.append(message.payload)
            message.ack()
        simple.close()
    return [body["number"] for body in seen], words


async def test_a_kombu_program(amqp_url: str) -> None:
    assert await asyncio.to_thread(kombu_program, amqp_url) == ([0, 1, 2], ["first", "second"])


async def finished(*command: str) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=NODE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), 60)
    finally:
        if process.returncode is None:
            process.kill()
    return process.returncode, out.decode(), err.decode()


async def test_an_npm_amqplib_program(amqp_url: str) -> None:
    """Runs where node is installed and finds amqplib: `npm install` in tests/broker/node, or NODE_PATH."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed: the amqplib program was not run")
    if (await finished(node, "--eval", "require.resolve('amqplib')"))[0] != 0:
        pytest.skip("npm amqplib is not installed: run `npm install` in tests/broker/node, or set NODE_PATH")
    code, out, err = await finished(node, "program.js", amqp_url, unique("node"))
    assert code == 0, err
    seen = json.loads(out)
    assert seen["returned"] == "come back"
    assert sorted((each["body"], each["redelivered"]) for each in seen["received"]) == [
        ("one", False),
        ("one", True),
        ("two", False),
        ("xxxxx", False),
    ]
    assert seen["received"][0]["headers"] == {"CC": ["route.b"], "number": 1}
    assert (seen["fetched"], seen["missing"]) == ("fetched", 404)
