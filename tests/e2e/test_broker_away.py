"""The broker is away, is cut off or falls silent: the API goes on, events wait, and arrive in order."""

import asyncio
import json
from typing import Any

import pytest

from schemas.ids import slugid
from schemas.task import TaskStatus
from taskbus import Queue, task_definition
from tests.e2e.history import copies, expected_of, problems
from tests.e2e.load import Load
from tests.e2e.observer import Observer
from tests.e2e.programs import ROOT, Programs
from tests.e2e.promise import assert_kept
from tests.events.proxy import Proxy

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(60)]

AWAY = "the broker is away; events wait in the outbox, in order"
BACK = "relay connected to the broker"


async def test_away_at_the_start_the_api_answers_and_events_wait_for_their_turn(
    taskbus: Programs,
    observer: Observer,
    quick: dict[str, Any],
    sqlite_database_url: str,
    rabbitmq_url: str,
    name: str,
) -> None:
    async with Proxy(rabbitmq_url) as broker:
        await broker.refuse()
        server = await taskbus.serve(**quick, database_url=sqlite_database_url, amqp_url=broker.url)
        dependencies, statuses = await long_and_short_life_before_a_third(server.root_url, name)
        warning = json.loads(await server.line(AWAY, since=len(server.lines)))
        expected = sum(len(expected_of(status)) for status in statuses)
        assert int(warning["waiting"]) >= expected, "it did not say how many wait"
        assert observer.heard == []

        await broker.accept()
        await server.line(BACK)
        await observer.until(lambda: not problems(observer.heard, statuses, dependencies))
        assert problems(observer.heard, statuses, dependencies) == []
        assert copies(observer.heard) == 0


async def long_and_short_life_before_a_third(
    root_url: str, scheduler_id: str
) -> tuple[dict[str, tuple[str, ...]], list[TaskStatus]]:
    """A task ends in its fourth run, then another in its first; both let a third one go.

    All in one group. What each waits for, and where each stands in the end.
    """
    long, short, third = slugid(), slugid(), slugid()
    group = slugid()
    dependencies = {long: (), short: (), third: (long, short)}
    async with Queue(root_url, credentials=ROOT, retries=0) as queue:

        async def claim(task_id: str) -> int:
            (claim,) = await queue.claim_work(f"{task_id}/work", worker_group="g", worker_id="w")
            return claim.run_id

        for task_id, required in dependencies.items():
            definition = task_definition(
                {},
                queue=f"{task_id}/work",
                scheduler_id=scheduler_id,
                task_group_id=group,
                dependencies=required,
            )
            await queue.create_task(task_id, definition)
        for _ in range(3):
            await queue.report_exception(long, await claim(long), "worker-shutdown")
        for task_id in dependencies:
            await queue.report_completed(task_id, await claim(task_id))
        return dependencies, list((await queue.statuses(dependencies)).values())


@pytest.mark.postgres
@pytest.mark.parametrize(("trouble", "moments"), [("cut", (30, 100)), ("silent", (30,))])
async def test_lost_under_load_nothing_is_lost_and_the_order_is_kept(
    taskbus: Programs,
    observer: Observer,
    quick: dict[str, Any],
    postgres_database_url: str,
    rabbitmq_url: str,
    name: str,
    trouble: str,
    moments: tuple[int, ...],
) -> None:
    async with Proxy(rabbitmq_url) as broker:
        amqp_url = broker.url + "?heartbeat=1"
        settings = {**quick, "database_url": postgres_database_url, "amqp_url": amqp_url}
        server = await taskbus.serve(**settings, no_auth=True)
        async with Load(server.root_url, name, tasks=60) as load:
            working = asyncio.create_task(load.run())
            for enough in moments:
                assert await observer.has_heard(enough)
                said = len(server.lines)
                if trouble == "cut":
                    await broker.cut()
                else:
                    broker.swallow()
                    await server.line(AWAY, since=said)
                    broker.flow()
                await server.line(BACK, since=said)
            await assert_kept(load, observer, working)
            assert (load.unanswered, load.refusals) == (0, [])
