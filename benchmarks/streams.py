"""Streams: how soon thousands of readers of one process see a change of state."""

import asyncio
import json
import statistics
import time
from functools import partial
from typing import Any, Final

import psutil

from benchmarks.environment import POSTGRES, SQLITE, Environment
from benchmarks.load import HOST, Connections, request_bytes, run_loop
from benchmarks.measuring import Quantities
from benchmarks.own_process import in_own_process
from benchmarks.report import Section
from benchmarks.tasks import BASE, definitions

METHOD = """\
So many readers of Server-Sent Events are connected to one server process, over sockets of their own. Then
tasks are created and cancelled one at a time, {rest} s apart; each reader notes when its event arrives. Seen:
from the beginning of the call that changes the state to the event at a reader, so with the transaction; the
last of all readers counts for each change. All: every reader listens to task-exception, and gets each event.
Memory: of the server, more than before, by reader. Reading and changing share the machine with the server."""
TARGET = "Target: each of 5,000 readers on one process sees a change of state within 1 s"

READERS: Final = 5000
CHANGES: Final = 20
REST_SECONDS: Final = 1.0
OPENING: Final = 100
"""Connections that are opened at once."""
LATEST_SECONDS: Final = 60.0
_QUERY: Final = "exchange=exchange/taskcluster-queue/v1/task-exception&routingKey=%23"


async def run(environment: Environment, *, quick: bool) -> Section:
    section = Section("Streams", METHOD.format(rest=f"{REST_SECONDS:g}"), notes=[TARGET])
    repeats, changes = (1, 5) if quick else (3, CHANGES)
    for variant in (SQLITE, POSTGRES):
        for _ in range(repeats):
            async with environment.service(variant) as service:
                pid = service.programs[0].main.pid
                found = await in_own_process(partial(read, service.port, pid, changes))
                section.add(f"{variant}, {READERS:,} readers", [found])
    return section


def read(port: int, server: int, changes: int) -> Quantities:
    """Connect the readers and make so many changes; run this in a process of its own."""
    return run_loop(partial(_read, port, psutil.Process(server), changes))


class _Reader(asyncio.Protocol):
    """A reader that costs little: it looks for the marks of events in what it is sent."""

    def __init__(self, arrived: list[float]) -> None:
        self._arrived = arrived
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        transport.write(request_bytes("GET", f"/api/events/v1/stream?{_QUERY}"))

    def data_received(self, data: bytes) -> None:
        if b"event: ready" in data and not self.ready.done():
            self.ready.set_result(None)
        for _ in range(data.count(b'data: {"exchange"')):
            self._arrived.append(time.monotonic())


async def _read(port: int, server: psutil.Process, changes: int) -> Quantities:
    arrived: list[float] = []
    before = server.memory_info().rss
    readers = await _connected(port, arrived)
    memory = (server.memory_info().rss - before) / READERS
    first: list[float] = []
    last: list[float] = []
    async with Connections(port, 1) as connections, asyncio.timeout(LATEST_SECONDS * changes):
        (connection,) = connections.all
        for task_id, body in definitions(changes, "streams"):
            await connection.call(request_bytes("PUT", f"{BASE}/task/{task_id}", json.dumps(body).encode()))
            await asyncio.sleep(REST_SECONDS)
            arrived.clear()
            began = time.monotonic()
            await connection.call(request_bytes("POST", f"{BASE}/task/{task_id}/cancel"))
            while len(arrived) < READERS:  # noqa: ASYNC110 (to announce each would cost more)
                await asyncio.sleep(0.002)
            first.append(min(arrived) - began)
            last.append(max(arrived) - began)
    for transport in readers:
        transport.abort()
    return {
        ("first reader p50", "ms"): statistics.median(first) * 1000,
        ("last reader p50", "ms"): statistics.median(last) * 1000,
        ("last reader max", "ms"): max(last) * 1000,
        ("memory", "KB/reader"): memory / 1000,
    }


async def _connected(port: int, arrived: list[float]) -> list[asyncio.Transport]:
    """Readers that have been told that they are connected."""
    loop = asyncio.get_running_loop()
    transports: list[asyncio.Transport] = []
    for _ in range(READERS // OPENING):
        opened = await asyncio.gather(
            *(loop.create_connection(lambda: _Reader(arrived), HOST, port) for _ in range(OPENING))
        )
        async with asyncio.timeout(LATEST_SECONDS):
            await asyncio.gather(*(reader.ready for _, reader in opened))
        transports += [transport for transport, _ in opened]
    return transports
