"""Whole lives: create, claim, complete; tasks per second until every message is confirmed and counted."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from pydantic_core import from_json

from benchmarks.environment import POSTGRES, PROCESSES, SQLITE, Environment
from benchmarks.load import Connection, Connections, Load, closed_loop, measured, run_loop
from benchmarks.measuring import TASK_EVENTS, Quantities, loaded
from benchmarks.report import Section
from benchmarks.tasks import claim_call, completed_calls, create_calls, groups_of

METHOD = """\
64 connections: 32 create tasks, and at the same time 32 belong to workers that claim and complete them until
all are done. With claims of 32 there are 4 workers of 8 connections: one call claims up to 32 tasks, then all
8 connections report them completed. With single claims there are 32 workers of one connection. *answered*,
*confirmed*, listener and databases as for createTask: four messages per task, and those of the groups. The
calls behind p50 and p99 are of all kinds, waiting claims included."""
TARGET = """\
Target on PostgreSQL + RabbitMQ: 600 lives/s confirmed with claims of 32, 400/s with single claims; SQLite at
least three quarters of that"""
REFERENCE = """\
For context, not measured here: the reference implementation on the same kind of two cores: 43 to 51 lives/s
with single claims, 75/s with claims of 32"""

CREATORS = 32
TASKS = 4000
WARM_UP = 400


@dataclass(frozen=True, slots=True)
class Crew:
    """Workers of one kind: how many runs each asks for, and how many connections it has."""

    name: str
    workers: int
    connections: int
    wanted: int


CREWS = (Crew("claims of 32", 4, 8, 32), Crew("single claims", 32, 1, 1))


async def run(environment: Environment, *, quick: bool) -> Section:
    section = Section("Full life: create, claim, complete", METHOD, notes=[TARGET, REFERENCE])
    tasks = TASKS // 4 if quick else TASKS
    expected = dict.fromkeys(TASK_EVENTS, tasks) | {"task-group-resolved": groups_of(tasks)}
    for variant in (POSTGRES, PROCESSES, SQLITE):
        async with environment.service(variant) as service:
            await loaded(service, partial(live, service.port, CREWS[0], *_tasks(WARM_UP, "warm-up")), {})
            for crew in CREWS:
                runs: list[Quantities] = []
                for number in range(1 if quick else 5):
                    load = partial(live, service.port, crew, *_tasks(tasks, f"life-{crew.wanted}-{number}"))
                    runs.append((await loaded(service, load, expected)).quantities(tasks))
                section.add(f"{variant}, {crew.name}", runs)
    for crew in CREWS:
        section.ratio("confirmed", f"{SQLITE}, {crew.name}", f"{POSTGRES}, {crew.name}")
    return section


def _tasks(count: int, worker_type: str) -> tuple[str, list[bytes]]:
    return worker_type, create_calls(count, worker_type)


def live(port: int, crew: Crew, worker_type: str, calls: Sequence[bytes]) -> Load:
    """Create the tasks and complete them all; run this in a process of its own."""

    async def run() -> Load:
        async with Connections(port, CREATORS + crew.workers * crew.connections) as opened:
            return await measured(opened, lambda: _all_lives(opened.all, crew, worker_type, calls))

    return run_loop(run)


async def _all_lives(
    connections: Sequence[Connection], crew: Crew, worker_type: str, calls: Sequence[bytes]
) -> None:
    remaining = len(calls)
    done = asyncio.get_running_loop().create_future()

    async def work(number: int, lanes: Sequence[Connection]) -> None:
        nonlocal remaining
        claim = claim_call(worker_type, f"worker-{number}", crew.wanted)
        while remaining:
            reports = completed_calls(from_json(await lanes[0].call(claim))["tasks"])
            await closed_loop(lanes[: len(reports)], reports)
            remaining -= len(reports)
        if not done.done():
            done.set_result(None)

    lanes = _lanes(connections[CREATORS:], crew.connections)
    workers = [asyncio.create_task(work(number, mine)) for number, mine in enumerate(lanes)]
    try:
        creating = asyncio.create_task(closed_loop(connections[:CREATORS], calls))
        for ended in asyncio.as_completed([done, creating, *workers]):
            await ended
            if done.done() and creating.done():
                return
    finally:
        for worker in workers:
            worker.cancel()


def _lanes(connections: Sequence[Connection], size: int) -> Iterator[Sequence[Connection]]:
    for start in range(0, len(connections), size):
        yield connections[start : start + size]
