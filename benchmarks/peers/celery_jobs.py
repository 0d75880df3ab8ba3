"""Celery on RabbitMQ in the comparison."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from celery import Celery

from benchmarks.peers.marks import mark
from benchmarks.peers.peer import AMQP_VARIABLE, Inserter, setting

app = Celery("peers", broker=setting(AMQP_VARIABLE))
app.conf.update(
    task_acks_late=True,
    task_ignore_result=True,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"confirm_publish": True},
)


@app.task(name="noop")  # type: ignore[misc]
def noop(number: int) -> None:
    mark(number)


async def prepare() -> None:
    """Its worker declares its queue."""


@asynccontextmanager
async def inserting() -> AsyncIterator[Inserter]:
    async def many(numbers: Sequence[int]) -> None:
        for number in numbers:
            noop.delay(number)

    async def one(number: int) -> None:
        noop.delay(number)

    yield Inserter(many, one)
