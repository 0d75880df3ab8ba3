"""What an idle service costs: processor time and memory, without workers and with some that wait."""

import asyncio
from functools import partial

from benchmarks.environment import FLOOR, POSTGRES, SQLITE, Environment, Service
from benchmarks.load import Connection, Connections, run_loop
from benchmarks.measuring import Quantities
from benchmarks.own_process import in_own_process
from benchmarks.report import Section
from benchmarks.tasks import claim_call

METHOD = """\
A fresh service without tasks. After 5 s the processor time of each program over 20 s (from /proc, as
a part of one core) and the resident memory of the server at their end; 3 times in a row. Waiting workers are
connections of another process, each of which calls claimWork again when it is answered with nothing, after
20 s. The built-in broker is a part of the server."""
TARGET = "Target: processor at most 1 %, memory at most 120 MB"

SETTLE_SECONDS = 5.0
SECONDS = 20.0
WORKERS = (0, 20)
MEGABYTE = 1e6


async def run(environment: Environment, *, quick: bool) -> Section:
    section = Section("Idle service", METHOD, notes=[TARGET])
    runs, seconds = (1, 5.0) if quick else (3, SECONDS)
    async with environment.service(FLOOR) as service:
        section.add(FLOOR, await _watched(service, runs, seconds))
    for variant in (POSTGRES, SQLITE):
        async with environment.service(variant) as service:
            for workers in WORKERS:
                section.add(_case(variant, workers), await _with_workers(service, workers, runs, seconds))
    for variant in (POSTGRES, SQLITE):
        section.ratio("memory", _case(variant, 0), FLOOR)
        section.ratio("server", _case(variant, WORKERS[-1]), _case(variant, 0))
    return section


def _case(variant: str, workers: int) -> str:
    return f"{variant}, {workers} waiting workers"


async def _with_workers(service: Service, workers: int, runs: int, seconds: float) -> list[Quantities]:
    if workers == 0:
        return await _watched(service, runs, seconds)
    waiting = asyncio.create_task(in_own_process(partial(wait_for_work, service.port, workers)))
    try:
        watching = asyncio.create_task(_watched(service, runs, seconds))
        await asyncio.wait([waiting, watching], return_when=asyncio.FIRST_COMPLETED)
        if waiting.done():
            watching.cancel()
            waiting.result()
        return await watching
    finally:
        waiting.cancel()
        await asyncio.wait([waiting])


async def _watched(service: Service, runs: int, seconds: float) -> list[Quantities]:
    """Look at the service for so many times so many seconds."""
    await asyncio.sleep(SETTLE_SECONDS)
    found: list[Quantities] = []
    for _ in range(runs):
        before = service.cpu_seconds()
        await asyncio.sleep(seconds)
        after = service.cpu_seconds()
        quantities = {(name, "CPU %"): (after[name] - before[name]) / seconds * 100 for name in before}
        memory = service.programs[0].main.memory_info().rss / MEGABYTE
        found.append({("memory", "MB"): memory, **quantities})
    return found


def wait_for_work(port: int, workers: int) -> None:
    """Call claimWork again and again, until the process is killed; run this in a process of its own."""

    async def work(connection: Connection, claim: bytes) -> None:
        while True:
            await connection.call(claim)

    async def run() -> None:
        async with Connections(port, workers) as opened, asyncio.TaskGroup() as group:
            for number, connection in enumerate(opened.all):
                group.create_task(work(connection, claim_call("idle", f"worker-{number}", 1)))

    run_loop(run)
