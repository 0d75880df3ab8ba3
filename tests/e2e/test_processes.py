"""Several processes on one PostgreSQL: they wake each other, take over from each other, and end together."""

import asyncio
import signal
import time
from statistics import median
from typing import Any, Final

import pytest

from schemas.ids import slugid
from taskbus import Queue, task_definition
from tests.e2e.history import copies, problems
from tests.e2e.load import Load
from tests.e2e.observer import Observer
from tests.e2e.programs import ROOT, START_SECONDS, Programs
from tests.e2e.promise import assert_kept
from tests.events.proxy import Proxy

pytestmark = [pytest.mark.e2e, pytest.mark.postgres, pytest.mark.timeout(60)]

PUBLISHES: Final = "this process publishes the outbox now"


@pytest.fixture
def settings(quick: dict[str, Any], postgres_database_url: str, rabbitmq_url: str) -> dict[str, Any]:
    """Of processes side by side on one database, each at a port of its own."""
    return {
        **quick,
        "port": 0,
        "claim_timeout": 60,
        "database_url": postgres_database_url,
        "amqp_url": rabbitmq_url,
    }


async def test_what_happens_in_one_process_is_at_once_known_in_the_others(
    taskbus: Programs, observer: Observer, settings: dict[str, Any], name: str
) -> None:
    patient = {**settings, "long_poll": 20}
    one, other, _ = await asyncio.gather(
        taskbus.api(**patient), taskbus.api(**patient), taskbus.loops(**settings)
    )
    queue_id, delays = f"{name}/work", []
    dependencies: dict[str, tuple[str, ...]] = {}
    async with (
        Queue(one.root_url, credentials=ROOT) as here,
        Queue(other.root_url, credentials=ROOT) as there,
    ):

        async def create(*dependencies_: str) -> str:
            dependencies[task_id := slugid()] = dependencies_
            definition = task_definition({}, queue=queue_id, scheduler_id=name, dependencies=dependencies_)
            await here.create_task(task_id, definition)
            return task_id

        for _ in range(3):
            claiming = asyncio.create_task(there.claim_work(queue_id, worker_group="g", worker_id="w"))
            await asyncio.sleep(0.2)  # it waits now, and looks by itself only after a second
            created_at = time.monotonic()
            first = await create()
            (claim,) = await claiming
            delays.append(time.monotonic() - created_at)
            assert claim.status.task_id == first

            second = await create(first)
            claiming = asyncio.create_task(here.claim_work(queue_id, worker_group="g", worker_id="w"))
            await asyncio.sleep(0.2)
            ended_at = time.monotonic()
            await there.report_completed(first, 0)
            (claim,) = await claiming
            delays.append(time.monotonic() - ended_at)
            assert claim.status.task_id == second
            await there.report_completed(second, 0)
        statuses = list((await here.statuses(dependencies)).values())
    await observer.until(lambda: not problems(observer.heard, statuses, dependencies))
    assert problems(observer.heard, statuses, dependencies) == []
    assert median(delays) < 0.4, delays


async def test_of_two_loops_one_publishes_and_the_other_takes_over(
    taskbus: Programs, observer: Observer, settings: dict[str, Any], name: str
) -> None:
    lease = 3.0
    settings |= {"relay_lease": lease, "no_auth": True}
    api, first = await asyncio.gather(taskbus.api(**settings), taskbus.loops(**settings))
    await first.line(PUBLISHES)
    second = await taskbus.loops(**settings)
    async with Load(api.root_url, name, tasks=60) as load:
        working = asyncio.create_task(load.run())
        assert await observer.has_heard(120)
        assert copies(observer.heard) == 0
        assert PUBLISHES not in second.output

        await first.kill()
        await second.line(PUBLISHES, timeout=lease + 2)
        await assert_kept(load, observer, working)
        assert (load.unanswered, load.refusals) == (0, [])


async def test_a_process_that_was_cut_off_hears_the_others_again(
    taskbus: Programs, settings: dict[str, Any], postgres_database_url: str
) -> None:
    async with Proxy(postgres_database_url) as database:
        idle = await taskbus.api(**{**settings, "database_url": database.url})
        await database.connected(3)  # two that looked at schema and clients, and one that listens
        await database.cut()
        await idle.line("notifications between processes are interrupted")
        await database.connected(4)


async def test_a_killed_api_process_is_replaced_and_all_end_together(
    taskbus: Programs, settings: dict[str, Any]
) -> None:
    server = await taskbus.serve("--processes", "2", **settings)
    (killed,) = await server.children(1)
    killed.kill()
    await server.line("an API process ended; another one is started")
    (replacement,) = await server.children(1)
    server.process.send_signal(signal.SIGTERM)
    assert await server.exit() == 0
    assert await replacement.ended(1)


async def test_a_killed_server_takes_its_api_processes_along(
    taskbus: Programs, settings: dict[str, Any]
) -> None:
    server = await taskbus.serve("--processes", "2", **settings)
    (child,) = await server.children(1)
    await server.kill()
    assert await child.ended(START_SECONDS), "it holds the port"
