"""A running queue on each database. ``database_kind`` may be parametrised to one of them."""

from collections.abc import AsyncIterator, Iterator

import pytest
import structlog

from queue_service.core.limits import Limits
from tests.api.databases import PostgresDatabase, SqliteDatabase
from tests.api.hooked import RunningHooks, running_hooks
from tests.api.jobbed import RunningJobs, running_jobs
from tests.api.manual_clock import ManualClock
from tests.api.running_queue import RunningQueue
from tests.api.secured_queue import SecuredQueue
from tests.api.triggered import RunningTriggers, running_triggers


@pytest.fixture(scope="module", autouse=True)
def terse_logs() -> Iterator[None]:
    """One line per event: structlog's default writes a page with all variables for a traceback."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(key_order=["level", "event"]),
        ]
    )
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def sqlite_database(tmp_path_factory: pytest.TempPathFactory) -> SqliteDatabase:
    return SqliteDatabase(tmp_path_factory.mktemp("api"))


@pytest.fixture(scope="session")
def postgres_database(postgres_url: str) -> Iterator[PostgresDatabase]:
    database = PostgresDatabase(postgres_url)
    yield database
    database.drop()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def database_url(request: pytest.FixtureRequest, database_kind: str) -> Iterator[str]:
    """An empty, migrated database of the test's own."""
    database: SqliteDatabase | PostgresDatabase = request.getfixturevalue(f"{database_kind}_database")
    with database.copy() as url:
        yield url


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def limits() -> Limits:
    """Parametrise to change the numbers of the rules."""
    return Limits()


@pytest.fixture
def long_poll() -> float:
    """Seconds that claimWork waits; parametrise to change."""
    return 0.05


@pytest.fixture
async def queue(
    database_url: str, clock: ManualClock, limits: Limits, long_poll: float
) -> AsyncIterator[RunningQueue]:
    running = RunningQueue(database_url, clock, limits=limits, long_poll=long_poll)
    yield running
    await running.close()


@pytest.fixture
async def second(
    queue: RunningQueue,
    database_url: str,
    database_kind: str,
    clock: ManualClock,
    limits: Limits,
    long_poll: float,
) -> AsyncIterator[RunningQueue]:
    """Another process of the same service; on SQLite, which has only one, the same."""
    if database_kind == "sqlite":
        yield queue
        return
    running = RunningQueue(database_url, clock, limits=limits, long_poll=long_poll)
    yield running
    await running.close()


@pytest.fixture
async def secured(database_url: str, clock: ManualClock, limits: Limits) -> AsyncIterator[SecuredQueue]:
    """A service that knows its callers, started for the first time."""
    running = SecuredQueue(database_url, clock, limits=limits)
    await running.begin()
    yield running
    await running.close()


@pytest.fixture
async def other_process(
    secured: SecuredQueue, database_url: str, database_kind: str, clock: ManualClock, limits: Limits
) -> AsyncIterator[SecuredQueue]:
    """Another process of the secured service; on SQLite, which has only one, the same."""
    if database_kind == "sqlite":
        yield secured
        return
    running = SecuredQueue(database_url, clock, limits=limits)
    await running.begin()
    yield running
    await running.close()


@pytest.fixture
async def hooks(queue: RunningQueue) -> AsyncIterator[RunningHooks]:
    """Hooks whose tasks may have any scopes."""
    async with running_hooks(queue, no_auth=True) as running:
        yield running


@pytest.fixture
async def restricted_hooks(queue: RunningQueue) -> AsyncIterator[RunningHooks]:
    """Hooks whose tasks have the scopes of their roles."""
    async with running_hooks(queue, no_auth=False) as running:
        yield running


@pytest.fixture
async def triggers(queue: RunningQueue) -> AsyncIterator[RunningTriggers]:
    """Triggers whose tasks may have any scopes."""
    async with running_triggers(queue) as running:
        yield running


@pytest.fixture
async def restricted_triggers(queue: RunningQueue) -> AsyncIterator[RunningTriggers]:
    """Triggers whose tasks have the scopes of their roles."""
    async with running_triggers(queue, no_auth=False) as running:
        yield running


@pytest.fixture
async def jobs(queue: RunningQueue) -> AsyncIterator[RunningJobs]:
    """Typed jobs."""
    async with running_jobs(queue) as running:
        yield running
