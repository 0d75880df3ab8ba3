"""A copy of the database, made while the service runs, goes on: docs/upgrading-and-backup.md."""

import asyncio
import glob
import os
import shutil
import sqlite3
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from queue_service.loops.outbox_relay import OutboxRelay
from queue_service.store.database import Database
from tests.api.manual_clock import ManualClock
from tests.api.running_queue import RunningQueue
from tests.loops.scripted_publisher import ScriptedPublisher
from tests.store.databases import administer, migrate, new_name, of_server, opened
from tests.store.manual_clock import ManualClock as StillClock

SKIP = 1_000_000_000
SKIP_IDS = {
    "sqlite": f"UPDATE sqlite_sequence SET seq = seq + {SKIP} WHERE name = 'outbox'",
    "postgresql": "SELECT setval(pg_get_serial_sequence('outbox', 'id'),"
    f" nextval(pg_get_serial_sequence('outbox', 'id')) + {SKIP})",
}
"""As the page says, so that no message of the new life has the id of one that was told in the old one."""


@asynccontextmanager
async def running(url: str) -> AsyncIterator[RunningQueue]:
    queue = RunningQueue(url, ManualClock())
    yield queue
    await queue.close()


async def told(database: Database) -> list[tuple[int, str]]:
    """Publishes the outbox; message-ids and routing keys in the order in which they left."""
    publisher = ScriptedPublisher()
    relay = OutboxRelay(database, publisher, "relay", idle=timedelta(hours=1))  # type: ignore[arg-type]
    if not database.is_sqlite:
        assert await relay._hold_lease()
    while await relay.run_once():
        pass
    await relay.stop()
    return [(int(message.message_id or 0), message.routing_key) for message in publisher.sent]


async def leave(queue: RunningQueue) -> dict[str, str]:
    """A task in each state that somebody waits for."""
    pending = await queue.create("build")
    waits = await queue.create("test", dependencies=[pending])
    return {"pending": pending, "waits": waits, "held": await queue.claimed("decision")}


async def goes_on(url: str, tasks: dict[str, str], lost: str) -> None:
    """A service on the restored database: claims hold, tasks end, dependents follow, events are told."""
    async with opened(url, StillClock()) as database:
        async with database.engine.begin() as connection:
            await connection.execute(text(SKIP_IDS[connection.dialect.name]))
        async with running(url) as queue:
            assert (await queue.call("GET", f"/task/{lost}/status")).status == 404
            await queue.post(f"/task/{tasks['held']}/runs/0/completed")
            (claim,) = await queue.claim("build")
            assert claim["status"]["taskId"] == tasks["pending"]
            await queue.post(f"/task/{tasks['pending']}/runs/0/completed")
            await queue.settle()
            (claim,) = await queue.claim("test")
            assert claim["status"]["taskId"] == tasks["waits"]
            await queue.create("build", task_id=lost)
        events = await told(database)
        async with database.engine.begin() as connection:
            (left,) = (await connection.execute(text("SELECT count(*) FROM outbox"))).one()
        assert left == 0
    old = [number for number, _ in events if number < SKIP]
    assert sorted(old) == [1, 2, 3, 4, 5, 6]  # what waited in the copy, under the ids it had
    assert all(number > SKIP for number, key in events if lost in key)


# ---- SQLite -------------------------------------------------------------------------------------------


async def test_a_copy_of_sqlite_made_while_the_service_writes_goes_on(tmp_path: Path) -> None:
    source, target = tmp_path / "taskbus.sqlite", tmp_path / "copy.sqlite"
    await migrate(f"sqlite:///{source}")
    async with running(f"sqlite:///{source}") as queue:
        tasks = await leave(queue)

        def copy() -> None:
            with closing(sqlite3.connect(source)) as connection:
                connection.execute("VACUUM INTO ?", (str(target),))

        with closing(sqlite3.connect(source)) as before:
            before.execute("BEGIN")
            before.execute("SELECT 1 FROM tasks").fetchone()  # somebody reads, too
            copying = asyncio.create_task(asyncio.to_thread(copy))
            during = [await queue.create("build") for _ in range(3)]
            await copying
        lost = await queue.create("build")
    with closing(sqlite3.connect(target)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        for task_id in during:  # whole or not at all
            counts = [
                connection.execute(f"SELECT count(*) FROM {table} WHERE {column} LIKE ?", (found,)).fetchone()
                for table, column, found in (
                    ("tasks", "task_id", task_id),
                    ("task_definitions", "task_id", task_id),
                    ("outbox", "order_keys", f'["{task_id}"%'),
                )
            ]
            assert counts in ([(0,), (0,), (0,)], [(1,), (1,), (2,)])
            for table in ("tasks", "task_definitions"):
                connection.execute(f"DELETE FROM {table} WHERE task_id = ?", (task_id,))
            connection.execute("DELETE FROM outbox WHERE order_keys LIKE ?", (f'["{task_id}"%',))
        connection.commit()
    await goes_on(f"sqlite:///{target}", tasks, lost)


# ---- PostgreSQL ---------------------------------------------------------------------------------------


def program(name: str) -> str:
    folders = [*sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True), *os.get_exec_path()]
    found = shutil.which(name, path=os.pathsep.join(folders))
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


async def run(*command: str, **options: Any) -> None:
    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, timeout=120, check=False, **options
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.postgres
async def test_a_dump_of_postgres_goes_on(postgres_url: str, tmp_path: Path) -> None:
    dump, restore = program("pg_dump"), program("pg_restore")
    source, target = new_name(), new_name()
    await administer(postgres_url, f"CREATE DATABASE {source}")
    await migrate(of_server(postgres_url, source))
    async with running(of_server(postgres_url, source)) as queue:
        tasks = await leave(queue)
        file = str(tmp_path / "taskbus.dump")
        await run(dump, "--format=custom", f"--file={file}", of_server(postgres_url, source))
        lost = await queue.create("build")
    await administer(postgres_url, f"CREATE DATABASE {target}")
    url = of_server(postgres_url, target)
    await run(restore, "--no-owner", "--exit-on-error", f"--dbname={url}", file)
    await goes_on(url, tasks, lost)
    for name in (source, target):
        await administer(postgres_url, f"DROP DATABASE {name} WITH (FORCE)")
