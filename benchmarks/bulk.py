"""Lives in bulks: create 1,000, claim many and report as many in a call; tasks per second, all confirmed."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import quote

from pydantic_core import from_json

from benchmarks.environment import POSTGRES, SQLITE, Environment
from benchmarks.load import Connection, Connections, Load, closed_loop, measured, request_bytes, run_loop
from benchmarks.measuring import TASK_EVENTS, Quantities, loaded
from benchmarks.report import Section
from benchmarks.tasks import BASE, PROVISIONER, definitions, groups_of

METHOD = """\
As full lives, by the calls that do many things at once: two connections create tasks, 1,000 in a call, and
meanwhile workers, each on a connection of its own, claim up to so many runs in a call and report them in the
next. Everything else, with the definitions of about 1.4 KB and the listener that must hear four messages per
task, is as for full lives. The calls behind p50 and p99 are of all three kinds: compare tasks/s only."""
TARGET = "Target on PostgreSQL + RabbitMQ with claims of 32 or more: 1,500 lives/s confirmed"

CREATORS = 2
BULK = 1000
TASKS = 20_000
WARM_UP = 2000
EMPTY_SECONDS = 0.01
"""How long a worker that found nothing waits before it asks again."""


@dataclass(frozen=True, slots=True)
class Crew:
    """Workers of one kind, and how many runs each asks for."""

    name: str
    workers: int
    wanted: int


CREWS = (Crew("claims of 32", 4, 32), Crew("claims of 250", 4, 250))


async def run(environment: Environment, *, quick: bool) -> Section:
    section = Section("Lives in bulks of 1,000", METHOD, notes=[TARGET])
    tasks = TASKS // 4 if quick else TASKS
    expected = dict.fromkeys(TASK_EVENTS, tasks) | {"task-group-resolved": groups_of(tasks)}
    for variant in (POSTGRES, SQLITE):
        async with environment.service(variant) as service:
            await loaded(service, partial(live, service.port, CREWS[0], "warm-up", WARM_UP), {})
            for crew in CREWS:
                runs: list[Quantities] = []
                for number in range(1 if quick else 5):
                    load = partial(live, service.port, crew, f"bulk-{crew.wanted}-{number}", tasks)
                    runs.append((await loaded(service, load, expected)).quantities(tasks))
                section.add(f"{variant}, {crew.name}", runs)
    for crew in CREWS:
        section.ratio("confirmed", f"{SQLITE}, {crew.name}", f"{POSTGRES}, {crew.name}")
    return section


def live(port: int, crew: Crew, worker_type: str, tasks: int) -> Load:
    """Create the tasks and complete them all; run this in a process of its own."""
    calls = list(_create_calls(tasks, worker_type))

    async def run() -> Load:
        async with Connections(port, CREATORS + crew.workers) as opened:
            return await measured(opened, lambda: _all_lives(opened.all, crew, worker_type, calls, tasks))

    return run_loop(run)


async def _all_lives(
    connections: Sequence[Connection], crew: Crew, worker_type: str, calls: Sequence[bytes], tasks: int
) -> None:
    remaining = tasks

    async def work(number: int, connection: Connection) -> None:
        nonlocal remaining
        claim = _claim_call(worker_type, f"worker-{number}", crew.wanted)
        while remaining > 0:
            claims = from_json(await connection.call(claim))["tasks"]
            if not claims:
                await asyncio.sleep(EMPTY_SECONDS)
                continue
            answer = from_json(await connection.call(_report_call(claims)))["reports"]
            assert all(entry["state"] == "completed" for entry in answer)
            remaining -= len(answer)

    async with asyncio.TaskGroup() as group:
        group.create_task(closed_loop(connections[:CREATORS], calls))
        for number, connection in enumerate(connections[CREATORS:]):
            group.create_task(work(number, connection))


def _create_calls(tasks: int, worker_type: str) -> Iterator[bytes]:
    made = list(definitions(tasks, worker_type))
    for start in range(0, tasks, BULK):
        bulk = [{"taskId": task_id, "task": body} for task_id, body in made[start : start + BULK]]
        yield request_bytes("POST", f"{BASE}/tasks/bulk", _json({"tasks": bulk}))


def _claim_call(worker_type: str, worker_id: str, wanted: int) -> bytes:
    queue = quote(f"{PROVISIONER}/{worker_type}", safe="")
    body = {"workerGroup": "bench", "workerId": worker_id, "tasks": wanted}
    return request_bytes("POST", f"{BASE}/claim-bulk/{queue}", _json(body))


def _report_call(claims: Sequence[dict[str, Any]]) -> bytes:
    reports = [
        {"taskId": claim["status"]["taskId"], "runId": claim["runId"], "outcome": "completed"}
        for claim in claims
    ]
    return request_bytes("POST", f"{BASE}/runs/report", _json({"reports": reports}))


def _json(body: dict[str, Any]) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()
