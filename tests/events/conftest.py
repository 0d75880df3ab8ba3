"""The two brokers every test about AMQP runs on, and names that no other test uses."""

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Awaitable, Callable

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel

from events.messages import encode
from events.publisher import Publisher
from events.testing import embedded_broker
from schemas.messages import Message


@pytest.fixture(params=["embedded", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
async def amqp_url(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """A broker's URL; the test runs once per broker."""
    if request.param == "rabbitmq":
        yield request.getfixturevalue("rabbitmq_url")
    else:
        async with embedded_broker() as broker:
            yield broker.url


_numbers = itertools.count()


@pytest.fixture
def name() -> str:
    """A name for a queue or an exchange of this test."""
    return f"test-{os.getpid()}-{next(_numbers)}"


@pytest.fixture
async def admin(amqp_url: str) -> AsyncIterator[AbstractChannel]:
    """A channel of an independent program, to see and change what is on the broker."""
    connection = await aio_pika.connect(amqp_url)
    async with connection:
        yield await connection.channel()


@pytest.fixture
async def queue(admin: AbstractChannel, name: str) -> AsyncIterator[str]:
    """The name of a durable queue, which is deleted in the end with those beside it."""
    yield name
    for suffix in ("", ".dead", ".retry.20ms", ".retry.80ms", ".retry.1000ms", ".retry.4000ms"):
        await admin.queue_delete(name + suffix)


@pytest.fixture
async def publish(amqp_url: str) -> AsyncIterator[Callable[..., Awaitable[None]]]:
    """``await publish(event, *routes)``: the broker has the message when it returns."""
    publisher = Publisher(amqp_url)
    await publisher.connect()
    numbers = itertools.count(1)

    async def publish(event: Message, *routes: str) -> None:
        settled: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        publisher.send(encode(event, routes, message_id=f"m{next(numbers)}"), settled.set_result)
        assert await settled

    yield publish
    await publisher.close()
