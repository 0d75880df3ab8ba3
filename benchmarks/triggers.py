"""Triggers: ten thousand due in the same second, how late a tick is, and what they cost when idle."""

import asyncio
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import asyncpg
from sqlalchemy.engine import make_url

from benchmarks.environment import POSTGRES, Environment, Service
from benchmarks.measuring import Quantities
from benchmarks.report import Section
from schemas.triggers import CreateTriggerRequest

METHOD = """\
Due at once: 10,000 triggers with a tick in the same second, each with a task of its own, and four processes
that fire them (the service, and three of `taskbus loops`), of which one is killed with SIGKILL half a second
after the tick. The time is from the tick to the commit of the last task, as another connection sees it; each
trigger must have fired exactly once. Lateness: one trigger with a tick in each second on the service alone,
which is idle otherwise; from the tick to the beginning of the transaction that creates the task. Idle:
processor time of all programs with 10,000 triggers that are due tomorrow, beside none; parts of one core.
The triggers are written by SQL and are equal but for their names. Whoever waits for the last task looks each
50 ms: to look all the time takes a processor."""
TARGET = "Target: all within 5 s, each exactly once; late at most 250 ms at p99; no processor time when idle"

TRIGGERS: Final = 10_000
SCHEDULERS: Final = 4
KILL_AFTER: Final = 0.5
START_SECONDS: Final = 5.0
HEAD_START: Final = 8.0
"""Seconds between the writing of the triggers and their tick."""
LOOK_SECONDS: Final = 0.05
GIVE_UP: Final = 60.0
_INSERT: Final = """
INSERT INTO triggers (group_id, trigger_id, definition, state, created, offset_ms, next_tick, due_at, listens,
    progress, fires, counted, version)
SELECT 'bench', 't-' || n, $1, 'active', $2, 0, $3, $3, 0, '{}', 0, 0, 0 FROM generate_series(1, $4::int) AS n
"""


async def run(environment: Environment, *, quick: bool) -> Section:
    section = Section("Triggers", METHOD, notes=[TARGET])
    count = TRIGGERS // 10 if quick else TRIGGERS
    runs = [await _burst(environment, count) for _ in range(1 if quick else 5)]
    section.add(f"{count:,} due at once, {SCHEDULERS} schedulers, one killed", runs)
    async with environment.service(POSTGRES) as service:
        section.add("one tick each second", [await _lateness(service, 10.0 if quick else 60.0)])
    async with environment.service(POSTGRES) as service:
        idle = {0: await _idle(service, quick=quick)}
        await _write(_url(service), TRIGGERS, time.time() + 86_400)
        idle[TRIGGERS] = await _idle(service, quick=quick)
        for triggers, quantities in idle.items():
            section.add(f"idle, {triggers:,} triggers", [quantities])
    return section


async def _burst(environment: Environment, count: int) -> Quantities:
    async with environment.service(POSTGRES) as service, AsyncExitStack() as stack:
        url = _url(service)
        settings = dict(service.programs[0].main.environ())
        others = [await stack.enter_async_context(_loops(settings)) for _ in range(SCHEDULERS - 1)]
        await asyncio.sleep(START_SECONDS)
        tick = round(time.time() + HEAD_START, 3)
        await _write(url, count, tick)
        await asyncio.sleep(tick + KILL_AFTER - time.time())
        others[0].kill()
        connection = await asyncpg.connect(url)
        try:
            fired = 0
            while fired < count and time.time() < tick + GIVE_UP:
                fired = await connection.fetchval("SELECT count(*) FROM trigger_fires")
                await asyncio.sleep(LOOK_SECONDS)
            seconds = time.time() - tick
            tasks = await connection.fetchval("SELECT count(*) FROM tasks")
            once = await connection.fetchval("SELECT count(*) FROM triggers WHERE fires = 1")
        finally:
            await connection.close()
        if not fired == tasks == once == count:
            raise RuntimeError(f"{count} triggers: {fired} firings, {tasks} tasks, {once} fired once")
        return {("all tasks created after", "s"): seconds, ("created", "tasks/s"): count / seconds}


async def _lateness(service: Service, seconds: float) -> Quantities:
    now = time.time()
    await _write(_url(service), 1, round(now) + 2, cron="* * * * * *")
    await asyncio.sleep(seconds + 3)
    connection = await asyncpg.connect(_url(service))
    try:
        rows = await connection.fetch("SELECT created - scheduled_for AS late FROM trigger_fires")
    finally:
        await connection.close()
    late = [float(row["late"]) for row in rows]
    return {
        ("ticks", "number"): float(len(late)),
        ("late p50", "ms"): statistics.median(late),
        ("late p99", "ms"): statistics.quantiles(late, n=100)[98],
    }


async def _idle(service: Service, *, quick: bool) -> Quantities:
    seconds = 5.0 if quick else 20.0
    await asyncio.sleep(5.0)
    before = service.cpu_seconds()
    await asyncio.sleep(seconds)
    after = service.cpu_seconds()
    return {(name, "CPU %"): (after[name] - before[name]) / seconds * 100 for name in before}


async def _write(url: str, count: int, tick: float, cron: str | None = None) -> None:
    """Triggers whose next tick is at this time."""
    by = {"cron": {"cron": cron}} if cron else {"interval": {"duration": "1d"}}
    task = {
        "taskQueueId": "bench/triggers",
        "payload": {"command": ["true"]},
        "metadata": {"name": "n", "description": "d", "owner": "o", "source": "https://example.com/"},
    }
    definition = CreateTriggerRequest.model_validate({**by, "task": task}).to_json().decode()
    at = round(tick * 1000)
    created = at if cron else at - 86_400_000
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(_INSERT, definition, created, at, count)
    finally:
        await connection.close()


@asynccontextmanager
async def _loops(settings: dict[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    started = await asyncio.create_subprocess_exec(sys.executable, "-m", "taskbus", "loops", env=settings)
    try:
        yield started
    finally:
        if started.returncode is None:
            started.kill()
        await started.wait()


def _url(service: Service) -> str:
    return (
        make_url(str(service.programs[0].main.environ()["TASKBUS_DATABASE_URL"]))
        .set(drivername="postgresql")
        .render_as_string(hide_password=False)
    )
