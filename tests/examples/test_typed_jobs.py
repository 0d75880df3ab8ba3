"""The examples of typed jobs do what they say: on files, SQLite, a web API and a lock of the service."""

import asyncio
import csv
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from events import JobResolved
from events.testing import Recorder
from examples.etl import __main__ as etl_program
from examples.etl import job as etl
from examples.upkeep import job as upkeep
from examples.webapi_sync import __main__ as sync_program
from examples.webapi_sync import job as webapi_sync
from schemas.job_catalogue import TO_REGISTER
from schemas.jobs import JobResponse
from taskbus import Kv, Queue, testing
from taskbus.jobs import Taskbus, Worker
from taskbus.jobs.typed import definition_of
from tests.examples.conftest import Running

ROWS = 1200


@pytest.fixture
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "warehouse.sqlite"
    monkeypatch.setenv("TASKBUS_WAREHOUSE", str(file))
    return file


def orders(file: Path, *, price: str = "9.99") -> Path:
    """A CSV file of orders; the last one has this price."""
    with file.open("w", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(("id", "customer", "price"))
        writer.writerows((f"o-{number}", "ada lovelace", "9.99") for number in range(ROWS - 1))
        writer.writerow((f"o-{ROWS}", "Grace Hopper ", price))
    return file


def rows(file: Path, statement: str) -> list[Any]:
    with closing(sqlite3.connect(file)) as database:
        return database.execute(statement).fetchall()


def steps(job: JobResponse) -> list[str]:
    return [f"{step.name} {step.state}" for step in job.steps]


@asynccontextmanager
async def working(worker: Worker, service: Running) -> AsyncIterator[None]:
    async with Taskbus(Queue(service.root_url)) as bus:
        running = asyncio.create_task(worker.run(bus))
        yield
        worker.stop()
        await running


@pytest.mark.parametrize(
    "job_type",
    [etl.FileEtl, webapi_sync.WebapiSync, upkeep.PurgeData, upkeep.RebuildSchema, upkeep.MatviewRefresh],
)
def test_the_classes_are_what_the_catalogue_says(job_type: Any) -> None:
    made, listed = definition_of(job_type), TO_REGISTER[job_type.kind]
    assert sorted(made.params_schema["required"]) == sorted(listed.params_schema["required"])
    assert (made.steps, made.task_queue_id, made.resumable) == (
        listed.steps,
        listed.task_queue_id,
        listed.resumable,
    )


async def test_a_file_is_loaded(tmp_path: Path, warehouse: Path) -> None:
    file = orders(tmp_path / "orders.csv")
    async with testing.bus(etl.worker) as bus:
        await bus.register(etl.FileEtl)
        job = etl.FileEtl(file_id=str(file), area_id="orders", env_id="dev", tenant_id="acme")
        submitted = await bus.submit(job)
        await bus.run_until_idle()
        done = await bus.jobs.job(submitted.job_id)
    assert (done.state, done.output, done.env_id) == ("DONE", {"rows": ROWS}, "dev"), done.errors
    assert steps(done) == ["Extract DONE", "Transform DONE", "Load DONE"]
    assert rows(warehouse, "SELECT count(*), sum(cents) FROM orders") == [(ROWS, ROWS * 999)]


async def test_a_file_that_is_put_right_is_loaded_without_being_read_again(
    tmp_path: Path, warehouse: Path
) -> None:
    file = orders(tmp_path / "orders.csv", price="cheap")
    async with testing.bus(etl.worker) as bus:
        await bus.register(etl.FileEtl)
        job = etl.FileEtl(file_id=str(file), area_id="orders", env_id="dev", tenant_id="acme")
        submitted = await bus.submit(job)
        await bus.run_until_idle()
        waiting = await bus.jobs.job(submitted.job_id)
        with closing(sqlite3.connect(warehouse)) as database, database:
            database.execute("UPDATE orders_raw SET fields = replace(fields, 'cheap', '1')")
        bus.clock.advance("3s")
        await bus.run_until_idle()
        done = await bus.jobs.job(submitted.job_id)
    assert steps(waiting) == ["Extract DONE", "Transform PENDING", "Load PENDING"]
    assert waiting.errors is not None
    assert waiting.errors[0].error == f"ValueError: line {ROWS + 1}: 'cheap' is no price"
    assert done.output == {"rows": ROWS}
    assert rows(warehouse, f"SELECT customer, cents FROM orders WHERE id = 'o-{ROWS}'") == [
        ("Grace Hopper", 100)
    ]


async def test_the_program_follows_its_job(
    service: Running, tmp_path: Path, warehouse: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASKBUS_ROOT_URL", service.root_url)
    worker = Worker()
    worker.handle(etl.FileEtl)(etl.load)
    async with working(worker, service):
        told = await etl_program.main(str(orders(tmp_path / "orders.csv")))
    assert told == f"DONE {{'rows': {ROWS}}}"


async def test_a_web_api_is_copied_and_the_lock_is_free_again(
    service: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASKBUS_ROOT_URL", service.root_url)
    file, worker = tmp_path / "stream.sqlite", Worker()
    worker.handle(webapi_sync.WebapiSync)(webapi_sync.sync)
    async with working(worker, service):
        told = await sync_program.main(str(file))
    assert told == "DONE {'rows': 35} Fetch DONE, Transform DONE, Load DONE, Release Lock DONE"
    assert rows(file, "SELECT count(*), min(name) FROM stream") == [(35, "customer 1")]
    assert await holder(service) is None


async def test_a_web_api_that_breaks_leaves_no_lock_behind(
    service: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASKBUS_ROOT_URL", service.root_url)
    worker = Worker()
    worker.handle(webapi_sync.WebapiSync)(webapi_sync.sync)
    async with TestServer(web.Application()) as broken, Taskbus(Queue(service.root_url)) as bus:
        await bus.register(webapi_sync.WebapiSync)
        job = webapi_sync.WebapiSync(
            stream_id="customers",
            connection_id="crm",
            env_id="dev",
            tenant_id="acme",
            ingestion_gateway=str(broken.make_url(""))[:-1],
            firestore_gateway=str(tmp_path / "stream.sqlite"),
        )
        async with Recorder(service.amqp_url) as recorder, working(worker, service):
            submitted = await bus.submit(job, max_attempts=1)
            await recorder.wait_for(JobResolved, job_id=submitted.job_id)
        done = await bus.jobs.job(submitted.job_id)
    assert (done.state, [step.state for step in done.steps]) == (
        "ERROR",
        ["ERROR", "PENDING", "PENDING", "DONE"],
    )
    assert await holder(service) is None


async def test_a_warehouse_is_kept_in_order(warehouse: Path) -> None:
    with closing(sqlite3.connect(warehouse)) as database, database:
        database.execute("CREATE TABLE crm (id, name)")
        database.executemany("INSERT INTO crm VALUES (?, ?)", [(1, "ada"), (2, "grace"), (3, "ada")])
    whose = {"env_id": "dev", "tenant_id": "acme"}
    view = upkeep.MatviewRefresh(
        **whose, view_id="crm", sql_gateway=str(warehouse), locks_collection="views", lock_id="crm"
    )
    rebuild, purge = (kind(**whose, stream_id="crm") for kind in (upkeep.RebuildSchema, upkeep.PurgeData))
    outputs = []
    async with testing.bus(upkeep.worker) as bus:
        await bus.register(upkeep.RebuildSchema, upkeep.MatviewRefresh, upkeep.PurgeData)
        for job in (rebuild, view, purge):
            first = await bus.submit(job)
            second = await bus.submit(job)
            assert (second.job_id == first.job_id) is (job is not view)  # the others are unique
            await bus.run_until_idle()
            outputs.append((await bus.jobs.job(first.job_id)).output)
            if job is view:
                assert rows(warehouse, "SELECT * FROM crm_view ORDER BY name") == [("ada", 2), ("grace", 1)]
    assert outputs == [{"copied": 3}, {"rows": 2}, {"purged": 3}]
    assert rows(warehouse, "SELECT sql FROM sqlite_master WHERE name = 'crm'")[0][0].endswith(
        "(id INTEGER PRIMARY KEY, name TEXT NOT NULL)"
    )


async def holder(service: Running) -> Any:
    """Who holds the lock of the stream."""
    async with Kv(service.root_url) as kv:
        return await kv.kv(webapi_sync.LOCKS).get("customers")
