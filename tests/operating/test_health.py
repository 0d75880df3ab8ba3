"""The heartbeat tells the truth: ready with the database and its schema, with the broker or without."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from queue_service.api import health as health_module
from queue_service.api.health import Health
from queue_service.clock import SystemClock
from queue_service.loops import loop as loop_module
from queue_service.loops.loop import Loop
from queue_service.store.database import Database, StoreUnavailable
from queue_service.store.migrations import runner
from tests.api.asgi import request
from tests.operating.conftest import Started, forgotten, heartbeat

AWAY = "amqp://guest:guest@127.0.0.1:1/"


async def test_a_service_with_all_it_needs_is_ready_and_says_nothing(
    started: Started, database_url: str
) -> None:
    service = await started(database_url=database_url)
    reply = await heartbeat(service)
    assert (reply.status, reply.json()) == (200, {})


async def test_without_the_broker_it_is_ready_and_says_so(started: Started, sqlite_database_url: str) -> None:
    service = await started(database_url=sqlite_database_url, amqp_url=AWAY)
    reply = await heartbeat(service)
    assert (reply.status, reply.json()) == (200, {})
    condition = await service.health.look()
    assert (condition.ready, condition.facts["broker"]) == (True, "away; events wait in the outbox")


async def test_a_process_that_only_answers_calls_tells_nothing_of_the_broker(
    started: Started, sqlite_database_url: str
) -> None:
    service = await started(database_url=sqlite_database_url, roles=frozenset({"api"}))
    assert (await heartbeat(service)).json() == {}


async def test_without_the_database_it_is_not_ready(
    started: Started, sqlite_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = await started(database_url=sqlite_database_url)

    def reading() -> Any:
        raise OSError("Connect call failed ('10.1.2.3', 5432)")

    monkeypatch.setattr(service.database.driver, "reading", reading)
    reply = await heartbeat(service)
    assert (reply.status, reply.json()["ready"]) == (503, False)
    assert reply.json()["database"] == "cannot be used; the log tells why"
    assert b"10.1.2.3" not in reply.body

    monkeypatch.undo()
    await forgotten(service)
    assert (await heartbeat(service)).status == 200


async def test_a_database_that_does_not_answer_is_not_waited_for(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def revision(connection: object) -> str:
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    monkeypatch.setattr(health_module, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(health_module.vitals, "revision", revision)
    condition = await Health(database, background=(), broker=None, answers_calls=True).look()
    assert not condition.ready
    assert condition.facts["database"] == "does not answer within 0.01 s"


@pytest.mark.parametrize(
    ("stored", "ready", "says"),
    [
        (None, False, "run `taskbus migrate`"),
        ("0001", False, "run `taskbus migrate`"),
        ("m9999_of_a_newer_program", True, "newer than this program"),
    ],
)
async def test_another_schema_is_told(database: Database, stored: str | None, ready: bool, says: str) -> None:
    newest = runner.newest_revision()
    await _set_revision(database, stored)
    try:
        condition = await Health(database, background=(), broker=None, answers_calls=True).look()
    finally:
        await _set_revision(database, newest)
    assert condition.ready is ready
    assert says in condition.facts["schema"]


async def test_a_database_without_any_schema_is_told(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    statement = text("SELECT version_num FROM no_such_table")
    monkeypatch.setattr(health_module.vitals, "REVISION", statement)
    condition = await Health(database, background=(), broker=None, answers_calls=True).look()
    assert not condition.ready
    assert condition.facts["schema"] == "none: run `taskbus migrate`"


async def test_many_who_ask_cost_one_look(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0
    revision = health_module.vitals.revision

    async def counted(connection: Any) -> str | None:
        nonlocal looks
        looks += 1
        return await revision(connection)

    monkeypatch.setattr(health_module.vitals, "revision", counted)
    monkeypatch.setattr(health_module, "FRESH_SECONDS", 3600)
    health = Health(database, background=(), broker=None, answers_calls=True)
    conditions = await asyncio.gather(*(health.look() for _ in range(50)))
    assert all(condition.ready for condition in conditions)
    assert looks == 1


# ---- background work ----------------------------------------------------------------------------------


class Stuck:
    name = "deadlines"
    trouble = "stuck: its pass has not ended for 130 s"


async def test_stuck_background_work_is_told_and_calls_are_still_answered(database: Database) -> None:
    condition = await Health(database, background=[Stuck()], broker=None, answers_calls=True).look()
    assert condition.ready
    assert condition.facts["background"] == {"deadlines": Stuck.trouble}


async def test_a_process_of_background_work_alone_is_not_ready_when_that_is_stuck(
    database: Database,
) -> None:
    assert not (await Health(database, background=[Stuck()], broker=None, answers_calls=False).look()).ready


async def _loop_in(passing: asyncio.Future[int]) -> Loop:
    """A loop whose pass waits for this."""

    async def run_once() -> int:
        return await passing

    loop = Loop("work", SystemClock(), run_once, batch=1, idle=timedelta(hours=1))
    loop.start()
    await asyncio.sleep(0)
    return loop


async def test_a_pass_that_does_not_end_is_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    passing: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    loop = await _loop_in(passing)
    assert loop.trouble is None
    monkeypatch.setattr(loop_module, "STUCK_SECONDS", -1.0)
    assert loop.trouble is not None
    assert loop.trouble.startswith("stuck")
    passing.set_result(0)
    await loop.stop()


async def test_a_loop_that_does_not_run_is_trouble() -> None:
    loop = Loop("work", SystemClock(), lambda: asyncio.sleep(0, 0), batch=1, idle=timedelta(hours=1))
    assert loop.trouble == "does not run"


async def test_a_loop_that_fails_again_and_again_is_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_module, "FIRST_PAUSE", 0.0)
    failures = [StoreUnavailable("gone")] * 3
    failed = asyncio.Event()

    async def run_once() -> int:
        if failures:
            raise failures.pop()
        failed.set()
        await asyncio.get_running_loop().create_future()
        return 0

    loop = Loop("work", SystemClock(), run_once, batch=1, idle=timedelta(hours=1))
    loop.start()
    await failed.wait()
    assert loop.trouble == "failed 3 times in a row; the log tells why"
    assert loop._task is not None
    loop._task.cancel()


# ---- the other endpoints ------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/__lbheartbeat__", "/api/queue/v1/__lbheartbeat__", "/api/queue/v1/ping"])
async def test_a_process_without_its_database_is_alive(
    started: Started, sqlite_database_url: str, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    service = await started(database_url=sqlite_database_url)

    def reading() -> Any:
        raise OSError("gone")

    monkeypatch.setattr(service.database.driver, "reading", reading)
    assert (await request(service.application, "GET", path)).status == 200


async def _set_revision(database: Database, revision: str | None) -> None:
    async with database.engine.begin() as connection:
        await connection.execute(text("DELETE FROM alembic_version"))
        if revision is not None:
            await connection.execute(
                text("INSERT INTO alembic_version (version_num) VALUES (:it)"), {"it": revision}
            )
