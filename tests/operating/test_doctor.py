"""The doctor finds what is wrong, calls it what it is, and says what to do."""

import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from pydantic import SecretStr
from sqlalchemy import text
from typer.testing import CliRunner

from events.broker import Broker
from events.exchanges import EXCHANGES
from queue_service import commands
from queue_service.clock import SystemClock
from queue_service.doctor import examination, machine, network
from queue_service.doctor.database import clocks
from queue_service.doctor.examination import examine
from queue_service.doctor.finding import Finding, duration, size
from queue_service.operations.tasks import create
from queue_service.settings import Settings
from queue_service.store.database import Tx, open_database
from queue_service.store.migrations import runner
from taskbus.cli.app import app
from tests.operating.conftest import TOKEN, Started
from tests.operations.queue import creation
from tests.servers.processes import free_port

NOBODY = "amqp://guest:guest@127.0.0.1:1/"
NO_SERVER = "http://127.0.0.1:1"


async def found(**settings: Any) -> dict[str, Finding]:
    """The findings by subject; the first of each."""
    wanted = {"root_access_token": SecretStr(TOKEN), "amqp_url": NOBODY, "root_url": NO_SERVER, **settings}
    findings = [finding async for finding in examine(Settings(**wanted))]
    return {finding.subject: finding for finding in reversed(findings)}


def level(findings: dict[str, Finding], subject: str) -> str:
    return findings[subject].level


# ---- everything is well -------------------------------------------------------------------------------


async def test_a_service_that_runs_is_found_well(started: Started, database_url: str) -> None:
    port = free_port()
    await started(database_url=database_url, amqp_port=port)
    async with answering({"ready": True, "background": "ok"}) as url:
        findings = await found(database_url=database_url, amqp_url="", amqp_port=port, root_url=url)
    assert {finding.level for finding in findings.values()} == {"ok"}, findings


async def test_before_the_first_start_nothing_is_broken_yet(tmp_path: Path) -> None:
    findings = await found(amqp_url="", amqp_port=1)
    assert {finding.level for finding in findings.values()} == {"ok", "warning"}
    assert level(findings, "database") == "warning"
    assert list(tmp_path.iterdir()) == []  # noqa: ASYNC240
    assert all(finding.advice for finding in findings.values() if finding.level != "ok")


# ---- the database -------------------------------------------------------------------------------------


async def test_a_database_that_is_away_is_a_failure() -> None:
    findings = await found(database_url="postgresql://taskbus:secret@127.0.0.1:1/taskbus")
    assert level(findings, "database") == "failure"
    assert "TASKBUS_DATABASE_URL" in findings["database"].advice
    assert "secret" not in str(findings["database"])
    assert "schema" not in findings


@pytest.mark.parametrize(
    ("revision", "on_sqlite", "on_postgres"),
    [("0001", "warning", "failure"), ("9999", "warning", "warning"), (None, "warning", "failure")],
)
async def test_another_schema_is_found(
    database_url: str, revision: str | None, on_sqlite: str, on_postgres: str
) -> None:
    async with stored(database_url, "DELETE FROM alembic_version"):
        pass
    if revision is not None:
        async with stored(database_url, f"INSERT INTO alembic_version VALUES ('{revision}')"):
            pass
    try:
        findings = await found(database_url=database_url)
    finally:
        newest = runner.newest_revision()
        async with stored(
            database_url,
            "DELETE FROM alembic_version",
            f"INSERT INTO alembic_version VALUES ('{newest}')",
        ):
            pass
    wanted = on_sqlite if database_url.startswith("sqlite") else on_postgres
    assert level(findings, "schema") == wanted
    assert "outbox" not in findings


@pytest.mark.parametrize(("seconds", "level"), [(0, "ok"), (4, "ok"), (6, "warning"), (61, "failure")])
def test_clocks_that_differ_are_found(seconds: float, level: str) -> None:
    assert clocks("clock", timedelta(seconds=seconds)).level == level


async def test_events_that_wait_too_long_are_a_failure(database_url: str) -> None:
    ago = datetime.now(UTC) - timedelta(minutes=6)
    await committed(database_url, ago)
    findings = await found(database_url=database_url)
    assert level(findings, "outbox") == "failure"
    assert findings["outbox"].says.startswith("2 events wait")


async def test_events_that_wait_for_a_moment_are_no_failure(database_url: str) -> None:
    await committed(database_url, datetime.now(UTC))
    assert level(await found(database_url=database_url), "outbox") == "ok"


async def test_expired_claims_that_nobody_works_off_are_a_failure(database_url: str) -> None:
    task_id = await committed(database_url, datetime.now(UTC))
    ended = int((datetime.now(UTC) - timedelta(minutes=2)).timestamp() * 1000)
    claimed = (
        f"UPDATE tasks SET state = 'running', queue_order = NULL, taken_until = {ended} "
        f"WHERE task_id = '{task_id}'"
    )
    async with stored(database_url, claimed):
        findings = await found(database_url=database_url)
    assert level(findings, "background work") == "failure"
    assert findings["background work"].says.startswith("1 expired claims and 0 deadlines")


async def test_deadlines_that_nobody_works_off_are_a_failure(database_url: str) -> None:
    await committed(database_url, datetime.now(UTC))
    passed = int((datetime.now(UTC) - timedelta(minutes=5)).timestamp() * 1000)
    async with stored(database_url, f"UPDATE tasks SET deadline = {passed}"):
        findings = await found(database_url=database_url)
    assert findings["background work"].says.startswith("0 expired claims and 1 deadlines")


async def test_a_task_queue_that_nobody_works_on_is_named(database_url: str) -> None:
    await committed(database_url, datetime.now(UTC) - timedelta(hours=3))
    findings = await found(database_url=database_url)
    assert level(findings, "task queue prov/type") == "warning"
    assert findings["task queue prov/type"].says == "1 tasks are pending, the oldest for 3 h"


async def test_another_secret_key_is_a_failure(started: Started, sqlite_database_url: str) -> None:
    first = await started(database_url=sqlite_database_url, root_access_token=SecretStr(""))
    assert first.access.made_root
    findings = await found(database_url=sqlite_database_url, secret_key=SecretStr("x" * 40))
    assert level(findings, "secrets of clients") == "failure"


# ---- the machine --------------------------------------------------------------------------------------


async def test_a_key_that_others_may_read_is_found(tmp_path: Path) -> None:
    file = tmp_path / "the.key"
    file.write_text("x" * 40)
    file.chmod(0o644)
    settings = Settings(secret_key_file=str(file))
    assert machine.key(settings).level == "warning"
    assert machine.key(settings).advice == f"chmod 600 {file}"
    file.chmod(0o600)
    assert machine.key(settings).level == "ok"


@pytest.mark.parametrize(
    ("free", "level"),
    [(10 * 1024**3, "ok"), (500 * 1024**2, "warning"), (50 * 1024**2, "failure")],
)
def test_a_disk_with_little_room_is_found(monkeypatch: pytest.MonkeyPatch, free: int, level: str) -> None:
    usage = shutil.disk_usage(".")._replace(free=free)
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda path: usage)
    findings = list(machine.disks(Settings()))
    assert {finding.level for finding in findings} == {level}
    assert [finding.subject for finding in findings] == [
        "disk of the database",
        "disk of the broker's journal",
        "disk of the artifacts",
    ]


def test_disks_of_others_are_not_looked_at() -> None:
    settings = Settings(
        database_url="postgresql://db/taskbus", amqp_url="amqp://rabbit/", artifacts_s3_bucket="bucket"
    )
    assert list(machine.disks(settings)) == []


# ---- the network --------------------------------------------------------------------------------------


async def test_a_broker_that_is_away_is_a_failure() -> None:
    findings = await found(amqp_url="amqp://taskbus:secret@127.0.0.1:1/")
    assert level(findings, "broker") == "failure"
    assert "secret" not in str(findings["broker"])


async def test_exchanges_that_are_missing_are_found() -> None:
    broker = Broker("127.0.0.1", 0)
    await broker.start()
    try:
        findings = await found(amqp_url=broker.url)
    finally:
        await broker.stop()
    assert level(findings, "broker") == "ok"
    assert level(findings, "exchanges") == "warning"
    assert findings["exchanges"].says.startswith(f"{len(EXCHANGES)} of {len(EXCHANGES)} are not declared")


@pytest.mark.parametrize(
    ("status", "facts", "level", "says"),
    [
        (200, {"ready": True, "background": "ok"}, "ok", "ready"),
        (200, {}, "ok", "ready"),
        (503, {"ready": False, "database": "cannot be used"}, "failure", "database: cannot be used"),
        (404, {"error": "Not found"}, "failure", "answers 404"),
        (200, {"ready": True, "background": {"deadlines": "does not run"}}, "failure", "deadlines"),
    ],
)
async def test_what_the_server_says_of_itself_is_told(
    status: int, facts: dict[str, Any], level: str, says: str
) -> None:
    async with answering(facts, status=status) as url:
        first = await anext(network.server(Settings(root_url=url)))
    assert first.level == level
    assert says in first.says


async def test_the_clock_of_the_server_is_compared() -> None:
    async with answering({}, date=datetime.now(UTC) - timedelta(seconds=90)) as url:
        _, clock = [finding async for finding in network.server(Settings(root_url=url))]
    assert clock.level == "failure"


# ---- all of it ----------------------------------------------------------------------------------------


async def test_a_check_that_breaks_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(settings: Settings) -> Finding:
        raise LookupError("what nobody foresaw")

    monkeypatch.setattr(examination.machine, "key", broken)
    findings = await found()
    assert level(findings, "secret key") == "failure"
    assert "broker" in findings


def test_wrong_settings_are_all_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKBUS_PORT", "http")
    monkeypatch.setenv("TASKBUS_DATABASE_URL", "mysql://db")
    findings = commands.doctor({})
    assert [finding.level for finding in findings] == ["failure", "failure"]
    assert {finding.says.partition(":")[0] for finding in findings} == {
        "TASKBUS_PORT",
        "TASKBUS_DATABASE_URL",
    }


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody answers anywhere, and logs stay as the tests have them."""
    monkeypatch.setattr(commands, "configure_logs", lambda level, form: None)
    for name, value in {"AMQP_PORT": "1", "PORT": "1", "ROOT_URL": NO_SERVER}.items():
        monkeypatch.setenv(f"TASKBUS_{name}", value)


@pytest.mark.usefixtures("quiet")
def test_the_command_ends_with_0_when_there_are_only_warnings() -> None:
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 0, result.output
    assert "warning database: there is no file taskbus.sqlite yet" in result.stdout
    assert "→ start `taskbus serve`" in result.stdout


@pytest.mark.usefixtures("quiet")
def test_the_command_ends_with_1_when_there_is_a_failure() -> None:
    result = CliRunner().invoke(app, ["doctor", "--json", "--amqp-url", NOBODY])
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert told["ok"] is False
    assert "failure" in [finding["level"] for finding in told["findings"] if finding["subject"] == "broker"]


@pytest.mark.usefixtures("quiet")
def test_credentials_that_cannot_be_checked_are_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKCLUSTER_CLIENT_ID", "project/one")
    monkeypatch.setenv("TASKCLUSTER_ACCESS_TOKEN", TOKEN)
    result = CliRunner().invoke(app, ["doctor", "--json"])
    (credentials,) = [
        finding for finding in json.loads(result.stdout)["findings"] if finding["subject"] == "credentials"
    ]
    assert credentials["level"] == "warning"
    assert TOKEN not in result.output


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (172800, "2 days")]
)
def test_durations_are_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"), [(5, "5 bytes"), (1536, "1.5 KiB"), (3 * 1024**3, "3.0 GiB"), (2**50, "1024.0 TiB")]
)
def test_sizes_are_for_people(number: float, text: str) -> None:
    assert size(number) == text


# ---- parts --------------------------------------------------------------------------------------------


async def committed(url: str, at: datetime) -> str:
    """Create a task as if it had been then; its id."""
    database = open_database(url, SystemClock())
    task_id = "fN1SbArXTPSVFNUvaOlinQ"
    try:

        async def script(tx: Tx) -> None:
            tx.now = at
            tx.next_queue_order = lambda: int(at.timestamp() * 1_000_000)  # type: ignore[method-assign]
            members = {name: at + timedelta(days=day) for name, day in (("deadline", 1), ("expires", 2))}
            wanted = creation(task_id, **{name: when.isoformat() for name, when in members.items()})
            (outcome,) = await create(tx, [wanted], group_expiry_margin=timedelta())
            assert not isinstance(outcome, Exception)

        await database.write(script)
    finally:
        await database.close()
    return task_id


@asynccontextmanager
async def stored(url: str, *statements: str) -> AsyncIterator[None]:
    """After these changes, past our own code."""
    database = open_database(url, SystemClock())
    try:
        async with database.engine.begin() as connection:
            for statement in statements:
                await connection.execute(text(statement))
        yield
    finally:
        await database.close()


@asynccontextmanager
async def answering(
    facts: dict[str, Any], *, status: int = 200, date: datetime | None = None
) -> AsyncIterator[str]:
    """The URL of a server whose heartbeat answers so."""

    async def heartbeat(request: web.Request) -> web.Response:
        headers = {"date": format_datetime(date or datetime.now(UTC), usegmt=True)}
        return web.json_response(facts, status=status, headers=headers)

    server = web.Application()
    server.router.add_get("/api/queue/v1/__heartbeat__", heartbeat)
    running = web.AppRunner(server)
    await running.setup()
    site = web.TCPSite(running, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{running.addresses[0][1]}"
    finally:
        await running.cleanup()
