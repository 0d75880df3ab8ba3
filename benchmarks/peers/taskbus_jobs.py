"""Taskbus in the comparison: a job type, and a worker with its handler."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from benchmarks.peers.marks import mark
from benchmarks.peers.peer import ROOT_VARIABLE, Inserter, setting
from schemas.bulk import MAX_BULK
from taskbus import Queue
from taskbus.jobs import Job, JobOptions, Run, Taskbus, Worker

CONCURRENCY: Final = 250


class Noop(Job):
    number: int
    options = JobOptions(queue="peers/noop")


async def prepare() -> None:
    """The service makes its tables when it starts."""


@asynccontextmanager
async def inserting() -> AsyncIterator[Inserter]:
    async with Taskbus(Queue(setting(ROOT_VARIABLE), credentials=None)) as bus:

        async def many(numbers: Sequence[int]) -> None:
            for start in range(0, len(numbers), MAX_BULK):
                await bus.insert_many([Noop(number=number) for number in numbers[start : start + MAX_BULK]])

        async def one(number: int) -> None:
            await bus.insert(Noop(number=number))

        yield Inserter(many, one)


async def _work() -> None:
    worker = Worker(concurrency=CONCURRENCY)

    @worker.handle(Noop)
    async def noop(job: Noop, run: Run) -> None:
        mark(job.number)

    async with Taskbus(Queue(setting(ROOT_VARIABLE), credentials=None)) as bus:
        await worker.run(bus)


if __name__ == "__main__":
    asyncio.run(_work())
