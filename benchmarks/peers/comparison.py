"""Runs the comparison: each peer in turn with fresh queues, a worker process and an inserting process."""

import asyncio
import os
import signal
import statistics
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Final

from benchmarks.environment import POSTGRES, Environment, fresh_database
from benchmarks.measuring import Quantities
from benchmarks.own_process import in_own_process
from benchmarks.peers.marks import VARIABLE, Marks, marks
from benchmarks.peers.peer import AMQP_VARIABLE, PEERS, POSTGRES_VARIABLE, ROOT_VARIABLE, Peer
from benchmarks.report import Section

METHOD = """\
Jobs that do nothing but write their number into a pipe. Each peer has one worker process, started and set up
as its documentation does, and one process that inserts. *jobs/s*: from the first insertion to the last job,
inserting and working at once. *start p50, p99*: from the beginning of a job's insertion to its run at 25 a
second, one by one, with an idle worker. All on the same PostgreSQL (fsync on) and RabbitMQ, one after the
other. The jobs of taskbus live in the service, a process of its own, and all their events go to RabbitMQ."""

JOBS: Final = 5000
WARM_UP: Final = 200
RATE: Final = 25
LATENCY_SECONDS: Final = 10
LATEST_SECONDS: Final = 180.0
STOP_SECONDS: Final = 20.0


async def run(environment: Environment, *, quick: bool) -> Section:
    section = Section("Other job queues", METHOD)
    jobs, runs = (JOBS // 5, 1) if quick else (JOBS, 5)
    for peer in PEERS:
        installed = peer.installed
        if installed is None:
            section.notes.append(f"{peer.name} is not installed: pip install 'taskbus[peers]'")
            continue
        section.add(f"{peer.name} {installed}", await _measure(environment, peer, jobs, runs))
        section.notes.append(f"{peer.name}: {peer.promises}")
    for peer in PEERS[1:]:
        ours, theirs = (f"{one.name} {one.installed}" for one in (PEERS[0], peer))
        section.ratio("jobs", ours, theirs)
    return section


async def _measure(environment: Environment, peer: Peer, jobs: int, runs: int) -> list[Quantities]:
    async with AsyncExitStack() as stack:
        ran, name = stack.enter_context(marks())
        settings = {VARIABLE: name, **await stack.enter_async_context(_addresses(environment, peer))}
        await in_own_process(partial(_prepare, peer, settings))
        await stack.enter_async_context(_worker(peer, settings))
        await _together(peer, settings, ran, range(WARM_UP))
        found: list[Quantities] = []
        first = WARM_UP
        for _ in range(runs):
            rate = await _together(peer, settings, ran, range(first, first + jobs))
            first += jobs
            steady = range(first, first + RATE * LATENCY_SECONDS)
            inserted = await in_own_process(partial(_insert_steadily, peer, settings, steady))
            waited = await ran.of(steady, LATEST_SECONDS)
            first += len(steady)
            delays = [waited[number] - at for number, at in inserted.items()]
            found.append(
                {
                    ("jobs", "jobs/s"): rate,
                    ("start p50", "ms"): statistics.median(delays) * 1000,
                    ("start p99", "ms"): statistics.quantiles(delays, n=100)[98] * 1000,
                }
            )
        return found


async def _together(peer: Peer, settings: Mapping[str, str], ran: Marks, numbers: range) -> float:
    """Insert these jobs; how many ran per second."""
    began = await in_own_process(partial(_insert_all, peer, settings, numbers))
    ended = max((await ran.of(numbers, LATEST_SECONDS)).values())
    return len(numbers) / (ended - began)


@asynccontextmanager
async def _addresses(environment: Environment, peer: Peer) -> AsyncIterator[dict[str, str]]:
    if peer is PEERS[0]:
        async with environment.service(POSTGRES) as service:
            yield {ROOT_VARIABLE: f"http://127.0.0.1:{service.port}"}
    else:
        async with fresh_database(environment.postgres_url) as url:
            yield {POSTGRES_VARIABLE: url, AMQP_VARIABLE: environment.amqp_url}


@asynccontextmanager
async def _worker(peer: Peer, settings: Mapping[str, str]) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(
        *peer.command, env=os.environ | dict(settings), stdout=asyncio.subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


def _prepare(peer: Peer, settings: Mapping[str, str]) -> None:
    os.environ.update(settings)
    asyncio.run(peer.prepare())


def _insert_all(peer: Peer, settings: Mapping[str, str], numbers: range) -> float:
    """Insert as fast as it goes; when that began."""
    os.environ.update(settings)

    async def insert() -> float:
        async with peer.inserting() as inserter:
            began = time.monotonic()
            await inserter.many(numbers)
            return began

    return asyncio.run(insert())


def _insert_steadily(peer: Peer, settings: Mapping[str, str], numbers: range) -> dict[int, float]:
    """Insert at a steady rate; when each insertion began."""
    os.environ.update(settings)

    async def insert() -> dict[int, float]:
        async with peer.inserting() as inserter:
            start, began = time.monotonic() + 0.5, {}
            for place, number in enumerate(numbers):
                await asyncio.sleep(max(0.0, start + place / RATE - time.monotonic()))
                began[number] = time.monotonic()
                await inserter.one(number)
            return began

    return asyncio.run(insert())
