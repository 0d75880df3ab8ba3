"""What limits cost a claim: none, one by key of each task, one by key of the task queue."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import quote

from pydantic_core import from_json

from benchmarks.environment import POSTGRES, SQLITE, Environment
from benchmarks.load import Connection, Connections, Load, measured, request_bytes, run_loop
from benchmarks.measuring import Quantities, loaded
from benchmarks.own_process import in_own_process
from benchmarks.report import Section
from benchmarks.tasks import BASE, PROVISIONER, claim_call, definitions

METHOD = """\
4,000 tasks wait in a task queue, created by 1,000 in a call. Then workers claim all of them, each on a
connection of its own: four with claims of 32, or eight with single claims. The tasks are those of 1,000
customers in turn. *no limits*: plain tasks. *limit of the tasks*: each has a concurrency limit of 4 for its
customer. *limit of the task queue*: plain tasks in a task queue with that limit, set before they are claimed.
*answered* counts claims until the last one is answered."""
TARGET = "Target: with limits on 1,000 keys at least 70 % of the claims/s without"

KEYS = 1000
PER_KEY = 4
TASKS = KEYS * PER_KEY
BULK = 1000
LIMIT = {"concurrency": {"limit": PER_KEY, "key": "{customer}"}}
WITHOUT, OF_TASKS, OF_QUEUE = CASES = ("no limits", "limit of the tasks", "limit of the task queue")


@dataclass(frozen=True, slots=True)
class Crew:
    """Workers of one kind, and how many runs each asks for."""

    name: str
    workers: int
    wanted: int


CREWS = (Crew("claims of 32", 4, 32), Crew("single claims", 8, 1))


async def run(environment: Environment, *, quick: bool) -> Section:
    section = Section("Claims under limits by key", METHOD, notes=[TARGET])
    tasks = KEYS if quick else TASKS
    for variant in (POSTGRES, SQLITE):
        async with environment.service(variant) as service:
            for crew in CREWS:
                runs: dict[str, list[Quantities]] = {case: [] for case in CASES}
                for number in range(1 if quick else 5):
                    for place, case in enumerate(CASES):
                        worker_type = f"limits-{crew.wanted}-{place}-{number}"
                        await in_own_process(partial(prepare, service.port, case, worker_type, tasks))
                        await service.drained()
                        claiming = partial(claim_all, service.port, crew, worker_type, tasks)
                        runs[case].append((await loaded(service, claiming, {})).quantities(tasks))
                for case in CASES:
                    section.add(f"{variant}, {crew.name}, {case}", runs[case])
    for variant in (POSTGRES, SQLITE):
        for crew in CREWS:
            for case in (OF_TASKS, OF_QUEUE):
                case_of = f"{variant}, {crew.name}, "
                section.ratio("answered", case_of + case, case_of + WITHOUT)
    return section


def prepare(port: int, case: str, worker_type: str, tasks: int) -> Load:
    """Create the tasks, and set the limits of their task queue; run this in a process of its own."""

    async def run() -> Load:
        async with Connections(port, 1) as opened:
            return await measured(opened, lambda: _prepare(opened.all[0], case, worker_type, tasks))

    return run_loop(run)


async def _prepare(connection: Connection, case: str, worker_type: str, tasks: int) -> None:
    if case == OF_QUEUE:
        queue = quote(f"{PROVISIONER}/{worker_type}", safe="")
        path = f"{BASE}/task-queues/{queue}/limits"
        await connection.call(request_bytes("PUT", path, json.dumps(LIMIT).encode()))
    for call in _create_calls(worker_type, tasks, {"limits": LIMIT} if case == OF_TASKS else {}):
        await connection.call(call)


def _create_calls(worker_type: str, count: int, members: dict[str, Any]) -> Iterator[bytes]:
    tasks = [
        {"taskId": task_id, "task": {**task, "tags": {"customer": str(number % KEYS)}, **members}}
        for number, (task_id, task) in enumerate(definitions(count, worker_type))
    ]
    for start in range(0, count, BULK):
        body = json.dumps({"tasks": tasks[start : start + BULK]}, separators=(",", ":")).encode()
        yield request_bytes("POST", f"{BASE}/tasks/bulk", body)


def claim_all(port: int, crew: Crew, worker_type: str, tasks: int) -> Load:
    """Claim every task; run this in a process of its own."""

    async def run() -> Load:
        async with Connections(port, crew.workers) as opened:
            return await measured(opened, lambda: _claim_all(opened.all, crew, worker_type, tasks))

    return run_loop(run)


async def _claim_all(connections: Sequence[Connection], crew: Crew, worker_type: str, tasks: int) -> None:
    remaining = tasks
    done = asyncio.get_running_loop().create_future()

    async def work(number: int, connection: Connection) -> None:
        nonlocal remaining
        claim = claim_call(worker_type, f"worker-{number}", crew.wanted)
        while remaining:
            claimed = from_json(await connection.call(claim))["tasks"]
            remaining -= len(claimed)
        if not done.done():
            done.set_result(None)

    workers = [asyncio.create_task(work(*each)) for each in enumerate(connections)]
    try:
        for ended in asyncio.as_completed([done, *workers]):
            await ended
            if done.done():
                return
    finally:
        for worker in workers:
            worker.cancel()
