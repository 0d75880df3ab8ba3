"""Jobs that the clock and messages insert: ``@bus.periodic`` and ``@bus.on_event``."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from events import TaskCompleted
from taskbus.auth import Auth
from taskbus.client import Queue
from taskbus.jobs import Job, JobOptions, Run, Taskbus, Worker
from tests.examples.conftest import Running, service  # noqa: F401

QUEUE = "reports/daily"


@pytest.fixture
async def bus(service: Running) -> AsyncIterator[Taskbus]:  # noqa: F811
    """A bus whose triggers may insert jobs."""
    async with Auth(service.root_url) as auth:
        await auth.create_role("trigger-id:*", scopes=("queue:create-task:*", "queue:scheduler-id:*"))
    async with Taskbus(Queue(service.root_url)) as opened:
        yield opened


class Load(Job):
    table: str
    options = JobOptions(queue="etl/load")


async def test_the_clock_inserts_jobs_by_a_trigger_of_the_service(bus: Taskbus) -> None:
    @bus.periodic(
        cron="0 3 * * *",
        tz="Europe/Berlin",
        window={"size": "1d", "start": {"tracked": "daily"}},
        retries=2,
        args={"since": "${window.from}"},
    )
    class DailyReport(Job, kind="report.daily"):
        since: str
        title: str = "Daily"
        options = JobOptions(queue=QUEUE, deadline="2h", max_attempts=3, priority="high")

    await bus.apply_triggers()
    await bus.apply_triggers()
    found = await bus.triggers.trigger("jobs", "report_daily")
    assert found.cron is not None
    assert (found.cron.cron, found.cron.timezone, found.retry.retries) == (("0 3 * * *",), "Europe/Berlin", 2)
    assert found.task["payload"] == {"kind": "report.daily", "args": {"since": "${window.from}"}}
    assert (found.task["deadline"], found.task["priority"]) == ({"$fromNow": "7200 seconds"}, "high")


async def test_a_fired_job_is_worked_on_like_any_other(bus: Taskbus) -> None:
    @bus.periodic(every="1h", args={"by": "${firedBy}"}, name="reports/hourly")
    class Hourly(Job):
        by: str
        options = JobOptions(queue=QUEUE)

    worker = Worker()
    seen: list[str] = []

    @worker.handle(Hourly)
    async def work(job: Hourly, run: Run) -> None:
        seen.append(job.by)
        worker.stop()

    await bus.apply_triggers()
    await bus.triggers.fire_trigger("reports", "hourly")
    async with asyncio.timeout(60):
        await worker.run(bus)
    assert seen == ["manual"]


async def test_the_end_of_a_job_starts_another(bus: Taskbus) -> None:
    @bus.on_event(
        TaskCompleted(task_queue_id="etl/load"),
        limit=1,
        args={"of": "${trigger.message.status.taskId}"},
    )
    class Report(Job):
        of: str
        options = JobOptions(queue=QUEUE)

    worker = Worker()
    reported: list[str] = []

    @worker.handle(Load)
    async def load(job: Load, run: Run) -> None:
        pass

    @worker.handle(Report)
    async def report(job: Report, run: Run) -> None:
        reported.append(job.of)
        worker.stop()

    await bus.apply_triggers()
    working = asyncio.create_task(worker.run(bus))
    async with asyncio.timeout(60):
        while not reported:
            loaded = await bus.insert(Load(table="customers"))  # until the trigger listens
            await asyncio.wait([working], timeout=1)
        await working
    assert len(reported) == 1
    assert (await bus.triggers.trigger("jobs", "Report")).state == "exhausted"
    assert len(loaded.task_id) == len(reported[0])


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "exactly one of cron and every"),
        ({"cron": "0 3 * * *", "every": "1h"}, "exactly one of cron and every"),
        ({"every": "1h"}, "args: Load needs 'table'"),
        ({"every": "1h", "args": {"table": "a", "tabel": "b"}}, "args: Load has no argument 'tabel'"),
        ({"every": "1h", "args": {"table": "a"}, "name": "nightly"}, "name: expected <group>/<id>"),
        ({"every": "1ms", "args": {"table": "a"}}, "at least 1 second"),
        ({"cron": "0 3 * * *", "window": {"sizes": "1d"}, "args": {"table": "a"}}, "window.sizes"),
    ],
)
def test_what_cannot_be_a_trigger_is_refused_where_it_is_written(given: dict[str, Any], told: str) -> None:
    bus = Taskbus(Queue("http://localhost:1"))
    with pytest.raises(ValueError, match=told):
        bus.periodic(**given)(Load)


def test_an_event_needs_a_binding() -> None:
    with pytest.raises(ValueError, match="at least one binding"):
        Taskbus(Queue("http://localhost:1")).on_event(args={"table": "a"})(Load)
