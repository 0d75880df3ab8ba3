"""Attached workers: how soon a new item is on the socket of a worker, with many of them on one gateway."""

import asyncio
import json
import statistics
import time
from functools import partial
from typing import Any, Final

import aiohttp
import psutil

from benchmarks.environment import POSTGRES, SQLITE, Environment
from benchmarks.load import run_loop
from benchmarks.measuring import Quantities
from benchmarks.own_process import in_own_process
from benchmarks.report import Section

METHOD = """\
So many connections of one process attach to one server process (work.v1, one name, no filter) and answer each
item at once. Items are created at a steady rate, each by a call of its own at its time, whether or not those
before are answered. Created: from the call's beginning to the item's frame at the worker, so with the
transaction that creates it and the one that claims it. Dispatched: the same from the call's answer; an item
whose frame is there before the answer counts as 0. Memory: of the server, more than before, by connection."""
TARGET = "Target: dispatch at most 20 ms (p99) with 1,000 workers at 200 items/s"

WORKERS: Final = 1000
RATE: Final = 200
SECONDS: Final = 30
ATTACHING: Final = 50
"""Connections that are opened at once."""
LATEST_SECONDS: Final = 60.0
_REGISTRATION: Final = '[{"name": "bench"}]'


async def run(environment: Environment, *, quick: bool) -> Section:
    section = Section("Attached workers", METHOD, notes=[TARGET])
    repeats, seconds = (1, 10) if quick else (3, SECONDS)
    for variant in (POSTGRES, SQLITE):
        for _ in range(repeats):
            async with environment.service(variant) as service:
                pid = service.programs[0].main.pid
                found = await in_own_process(partial(attached, service.port, pid, seconds))
                section.add(f"{variant}, {WORKERS:,} workers, {RATE} items/s", [found])
    return section


def attached(port: int, server: int, seconds: int) -> Quantities:
    """Attach, and create items for so many seconds; run this in a process of its own."""
    return run_loop(partial(_attached, f"http://127.0.0.1:{port}", psutil.Process(server), seconds))


async def _attached(url: str, server: psutil.Process, seconds: int) -> Quantities:
    arrived: dict[int, float] = {}
    all_there, wanted = asyncio.Event(), RATE * seconds

    async def work(socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            item = json.loads(message.data)
            arrived[item["data"]] = time.monotonic()
            await socket.send_str(json.dumps({"task_id": item["task_id"], "result": "done"}))
            if len(arrived) == wanted:
                all_there.set()

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        before = server.memory_info().rss
        sockets = await _attach(session, url)
        memory = (server.memory_info().rss - before) / len(sockets)
        working = [asyncio.create_task(work(socket)) for socket in sockets]
        calls = await _create(session, url, wanted)
        async with asyncio.timeout(LATEST_SECONDS):
            await all_there.wait()
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)
    created = [arrived[number] - began for number, (began, _) in enumerate(calls)]
    dispatched = [max(arrived[number] - answered, 0.0) for number, (_, answered) in enumerate(calls)]
    return {
        **_percentiles("dispatched", dispatched),
        **_percentiles("created", created),
        ("memory", "KB/connection"): memory / 1000,
    }


async def _attach(session: aiohttp.ClientSession, url: str) -> list[aiohttp.ClientWebSocketResponse]:
    gate = asyncio.Semaphore(ATTACHING)

    async def attach() -> aiohttp.ClientWebSocketResponse:
        async with gate:
            socket = await session.ws_connect(f"{url}/work/queue", compress=0)
            await socket.send_str(_REGISTRATION)
            return socket

    sockets = await asyncio.gather(*(attach() for _ in range(WORKERS)))
    async with asyncio.timeout(LATEST_SECONDS):
        while await _count(session, url) < WORKERS:  # noqa: ASYNC110 (work.v1 announces nothing)
            await asyncio.sleep(0.5)
    return sockets


async def _count(session: aiohttp.ClientSession, url: str) -> int:
    async with session.get(f"{url}/api/work/v1/workers") as answer:
        return len((await answer.json())["workers"])


async def _create(session: aiohttp.ClientSession, url: str, wanted: int) -> list[tuple[float, float]]:
    """When each call began and was answered."""

    async def create(number: int) -> tuple[float, float]:
        await asyncio.sleep(start + number / RATE - time.monotonic())
        began = time.monotonic()
        body: dict[str, Any] = {"name": "bench", "data": number}
        async with session.post(f"{url}/api/work/v1/tasks", json=body) as answer:
            if answer.status != 201:
                raise ValueError(f"an item was answered {answer.status}: {await answer.text()}")
        return began, time.monotonic()

    start = time.monotonic() + 1
    return await asyncio.gather(*(create(number) for number in range(wanted)))


def _percentiles(name: str, values: list[float]) -> Quantities:
    return {
        (f"{name} p50", "ms"): statistics.median(values) * 1000,
        (f"{name} p99", "ms"): statistics.quantiles(values, n=100)[98] * 1000,
    }
