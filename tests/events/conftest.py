"""The two brokers every test about AMQP runs on, and names that no other test uses."""

import itertools
import os
from collections.abc import AsyncIterator

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel

from events.testing import embedded_broker


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
