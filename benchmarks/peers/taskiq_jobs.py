"""taskiq on RabbitMQ in the comparison."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from taskiq_aio_pika import AioPikaBroker

from benchmarks.peers.marks import mark
from benchmarks.peers.peer import AMQP_VARIABLE, Inserter, setting

AT_ONCE: Final = 64

broker = AioPikaBroker(setting(AMQP_VARIABLE))


@broker.task(task_name="noop")
async def noop(number: int) -> None:
    mark(number)


async def prepare() -> None:
    """Its client declares its queue."""


@asynccontextmanager
async def inserting() -> AsyncIterator[Inserter]:
    await broker.startup()
    try:
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(number: int) -> None:
            async with gate:
                await noop.kiq(number)

        async def many(numbers: Sequence[int]) -> None:
            await asyncio.gather(*(one(number) for number in numbers))

        yield Inserter(many, one)
    finally:
        await broker.shutdown()
