"""Values and worksets: get and put beside createTask, and what a pop costs among a million members."""

import asyncio
import json
import sqlite3
import statistics
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from typing import Final

import asyncpg
from sqlalchemy.engine import make_url

from benchmarks.environment import POSTGRES, SQLITE, Environment, Service
from benchmarks.load import Connections, request_bytes, run_loop, send_all
from benchmarks.measuring import Quantities
from benchmarks.own_process import in_own_process
from benchmarks.report import Section
from benchmarks.tasks import create_calls

METHOD = """\
Rates: 64 keep-alive connections, each of which sends its next call when the last is answered; createTask with
tasks of about 1.4 KB, puts of new keys and gets of these with values of 1 KB, one after the other on the same
service. Pops: single calls on one connection that lease 1,000 of so many members, with payloads of 50 bytes
and of one priority; each lease is given back before the next, which is not measured. The members are written
by SQL; after that PostgreSQL is vacuumed and analyzed and SQLite's log moved into its file."""
TARGET = "Target: get and put at least as fast as createTask; a pop at 10⁶ at most 1.5 times that at 10³"

CONNECTIONS: Final = 64
CALLS: Final = 6000
POPS: Final = 20
SIZES: Final = (1_000, 1_000_000)
_BASE: Final = "/api/kv/v1/bench/values"
_MEMBERS: Final = """
INSERT INTO workset_members (namespace, set_name, member_id, priority, available_at, place, payload, size,
    deliveries, token, doomed)
SELECT 'bench:values', '{name}', 'https://example.com/page/' || CAST(n AS TEXT), 6, 1714564800000 + n, n,
    '{{"depth": 3, "found": "2024-05-01T12:00:00.000Z"}}', 50, 0, 0, 0 FROM {numbers}
"""


async def run(environment: Environment, *, quick: bool) -> Section:
    section = Section("Values and worksets", METHOD, notes=[TARGET])
    repeats = 1 if quick else 5
    for variant in (POSTGRES, SQLITE):
        async with environment.service(variant) as service:
            calls = CALLS // 4 if quick else CALLS
            await _rate(service, create_calls(CALLS // 10, "warm-up"))
            await _rate(service, [_put(f"warm-{number}") for number in range(CALLS // 10)])
            rates: dict[str, list[Quantities]] = {"createTask": [], "put": [], "get": []}
            for turn in range(repeats):
                keys = [f"{turn}-{number}" for number in range(calls)]
                rates["createTask"].append(await _rate(service, create_calls(calls, f"kv-{turn}")))
                rates["put"].append(await _rate(service, [_put(key) for key in keys]))
                gets = [request_bytes("GET", f"{_BASE}/keys/{key}") for key in keys]
                rates["get"].append(await _rate(service, gets))
            for call, runs in rates.items():
                section.add(f"{variant}, {call}", runs)
            for call in ("put", "get"):
                section.ratio("answered", f"{variant}, {call}", f"{variant}, createTask")
            url = str(service.programs[0].main.environ()["TASKBUS_DATABASE_URL"])
            for size in SIZES:
                await _fill(url, size)
                pops = [await in_own_process(partial(_pop, service.port, size)) for _ in range(repeats)]
                section.add(f"{variant}, pop of 1,000 from {size:,}", pops)
            section.ratio("call p50", *(f"{variant}, pop of 1,000 from {size:,}" for size in SIZES[::-1]))
    return section


def _put(key: str) -> bytes:
    body = json.dumps({"value": {"text": "x" * 1000, "key": key}}).encode()
    return request_bytes("PUT", f"{_BASE}/keys/{key}", body)


async def _rate(service: Service, calls: Sequence[bytes]) -> Quantities:
    load = await in_own_process(partial(send_all, service.port, CONNECTIONS, calls))
    await service.drained()
    return {
        ("answered", "calls/s"): len(calls) / (load.ended - load.started),
        ("call p50", "ms"): statistics.median(load.latencies) * 1000,
    }


def _pop(port: int, size: int) -> Quantities:
    """Pop again and again, each time giving back; run this in a process of its own."""

    async def run() -> Quantities:
        latencies = []
        async with Connections(port, 1) as opened:
            (connection,) = opened.all
            for _ in range(POPS + 2):
                answer = await connection.call(
                    request_bytes("POST", f"{_BASE}/sets/of-{size}/pop", b'{"limit": 1000}')
                )
                latencies.append(connection.latencies[-1])
                popped = json.loads(answer)
                if len(popped["members"]) != 1000:
                    raise ValueError(f"a pop gave {len(popped['members'])} members")
                await connection.call(
                    request_bytes("POST", f"{_BASE}/leases/{popped['leaseId']}/nack", b"{}")
                )
        return {("call p50", "ms"): statistics.median(latencies[2:]) * 1000}

    return run_loop(run)


async def _fill(database_url: str, size: int) -> None:
    """Make a set of so many members."""
    if database_url.startswith("sqlite"):
        await asyncio.to_thread(_fill_sqlite, database_url, size)
        return
    connection = await asyncpg.connect(database_url)
    try:
        series = f"generate_series(1, {size}) AS n"
        await connection.execute(_MEMBERS.format(name=f"of-{size}", numbers=series))
        await connection.execute("VACUUM (ANALYZE) workset_members")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()


def _fill_sqlite(database_url: str, size: int) -> None:
    numbers = (
        f"(WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {size}) SELECT n FROM c)"
    )
    with closing(sqlite3.connect(make_url(database_url).database or "", timeout=60)) as connection:
        with connection:
            connection.execute(_MEMBERS.format(name=f"of-{size}", numbers=numbers))
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
