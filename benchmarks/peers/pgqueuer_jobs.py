"""pgqueuer in the comparison."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import asyncpg
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries

from benchmarks.peers.marks import mark
from benchmarks.peers.peer import POSTGRES_VARIABLE, Inserter, setting

AT_ONCE: Final = 1000
BATCH: Final = 32


@asynccontextmanager
async def _driver() -> AsyncIterator[AsyncpgDriver]:
    connection = await asyncpg.connect(setting(POSTGRES_VARIABLE))
    try:
        yield AsyncpgDriver(connection)
    finally:
        await connection.close()


async def prepare() -> None:
    async with _driver() as driver:
        await Queries(driver).install()


@asynccontextmanager
async def inserting() -> AsyncIterator[Inserter]:
    async with _driver() as driver:
        queries = Queries(driver)

        async def many(numbers: Sequence[int]) -> None:
            for start in range(0, len(numbers), AT_ONCE):
                part = numbers[start : start + AT_ONCE]
                payloads: list[bytes | None] = [b"%d" % number for number in part]
                await queries.enqueue(["noop"] * len(part), payloads, [0] * len(part))

        async def one(number: int) -> None:
            await queries.enqueue("noop", b"%d" % number)

        yield Inserter(many, one)


async def _work() -> None:
    async with _driver() as driver:
        worker = PgQueuer(driver)

        @worker.entrypoint("noop")
        async def noop(job: Job) -> None:
            mark(int(job.payload or b""))

        await worker.run(batch_size=BATCH)


if __name__ == "__main__":
    asyncio.run(_work())
