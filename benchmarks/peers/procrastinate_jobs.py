"""procrastinate in the comparison."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from procrastinate import App, PsycopgConnector

from benchmarks.peers.marks import mark
from benchmarks.peers.peer import POSTGRES_VARIABLE, Inserter, setting

AT_ONCE: Final = 1000
CONCURRENCY: Final = 10

app = App(connector=PsycopgConnector(conninfo=setting(POSTGRES_VARIABLE)))


@app.task(queue="peers", name="noop")
async def noop(number: int) -> None:
    mark(number)


async def prepare() -> None:
    async with app.open_async():
        await app.schema_manager.apply_schema_async()


@asynccontextmanager
async def inserting() -> AsyncIterator[Inserter]:
    async with app.open_async():

        async def many(numbers: Sequence[int]) -> None:
            for start in range(0, len(numbers), AT_ONCE):
                await noop.batch_defer_async(
                    *({"number": number} for number in numbers[start : start + AT_ONCE])
                )

        async def one(number: int) -> None:
            await noop.defer_async(number=number)

        yield Inserter(many, one)


async def _work() -> None:
    async with app.open_async():
        await app.run_worker_async(queues=["peers"], concurrency=CONCURRENCY)


if __name__ == "__main__":
    asyncio.run(_work())
