"""dramatiq on RabbitMQ in the comparison."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker

from benchmarks.peers.marks import mark
from benchmarks.peers.peer import AMQP_VARIABLE, Inserter, setting

dramatiq.set_broker(RabbitmqBroker(url=setting(AMQP_VARIABLE), confirm_delivery=True))


@dramatiq.actor
def noop(number: int) -> None:
    mark(number)


async def prepare() -> None:
    """Its client declares its queue."""


@asynccontextmanager
async def inserting() -> AsyncIterator[Inserter]:
    async def many(numbers: Sequence[int]) -> None:
        for number in numbers:
            noop.send(number)

    async def one(number: int) -> None:
        noop.send(number)

    yield Inserter(many, one)
