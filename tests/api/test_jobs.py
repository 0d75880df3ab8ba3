"""Jobs from end to end on both databases: inserted, claimed by the worker's own loop, done, reported."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from queue_service.service import Service
from queue_service.settings import Settings
from taskbus import Credentials, InsufficientScopes, Queue, slugid
from taskbus.jobs import Job, JobOptions, Run, Taskbus, Worker, fixed
from taskbus.testing import InProcess


class Do(Job):
    what: str
    options = JobOptions(queue="tests/jobs", max_attempts=3, retry=fixed(0))


@pytest.fixture
async def bus(database_url: str) -> AsyncIterator[Taskbus]:
    settings = Settings(database_url=database_url, amqp_url="", amqp_port=0, no_auth=True)
    async with Service(settings) as service:
        yield Taskbus(Queue(transport=InProcess(service), credentials=None))


async def test_every_end_of_an_attempt_has_its_consequence(bus: Taskbus) -> None:
    log: list[tuple[str, int]] = []
    changed = asyncio.Event()
    worker = Worker(concurrency=3)

    @worker.handle(Do)
    async def do(job: Do, run: Run) -> Any:
        log.append((job.what, run.attempt))
        changed.set()
        times = log.count((job.what, run.attempt))
        match job.what:
            case "fails twice" if run.attempt < 3:
                raise ValueError(f"attempt {run.attempt}")
            case "fails always":
                raise ValueError("always")
            case "snoozes twice" if times < 3:
                run.snooze(0)
            case "cancels":
                run.cancel("not wanted")
        return {"done": job.what}

    whats = ["completes", "fails twice", "fails always", "snoozes twice", "cancels"]
    ids = {
        what: result.task_id
        for what, result in zip(whats, await bus.insert_many([Do(what=what) for what in whats]), strict=True)
    }
    running = asyncio.create_task(worker.run(bus))
    while len(log) < 11:
        changed.clear()
        await changed.wait()
    worker.stop()
    await running

    assert sorted(log) == sorted(
        [("completes", 1), ("cancels", 1)]
        + [(what, attempt) for what in ("fails twice", "fails always") for attempt in (1, 2, 3)]
        + [("snoozes twice", 1)] * 3
    )
    states = {what: (await bus.queue.status(task_id)).state for what, task_id in ids.items()}
    assert states == {
        "completes": "completed",
        "fails twice": "completed",
        "fails always": "failed",
        "snoozes twice": "completed",
        "cancels": "exception",
    }
    told = {what: await bus.queue.attempts(task_id) for what, task_id in ids.items()}
    assert told["completes"].output == {"done": "completes"}
    assert [error.error for error in told["fails twice"].errors] == [
        "ValueError: attempt 1",
        "ValueError: attempt 2",
    ]
    assert len(told["fails always"].errors) == 3
    assert "Traceback" in told["fails always"].errors[0].trace
    assert (told["snoozes twice"].attempt, told["snoozes twice"].snoozes) == (1, 2)
    assert [error.error for error in told["cancels"].errors] == ["not wanted"]


async def test_a_stopped_worker_gives_back_what_it_has_begun(bus: Taskbus) -> None:
    begun = asyncio.Event()
    first, second = Worker(soft_stop="0s", worker_id="first"), Worker(worker_id="second")

    @first.handle(Do)
    async def hang(job: Do, run: Run) -> None:
        begun.set()
        await asyncio.Event().wait()

    done = asyncio.Event()

    @second.handle(Do)
    def do(job: Do, run: Run) -> int:
        loop.call_soon_threadsafe(done.set)
        return run.attempt

    loop = asyncio.get_running_loop()
    task_id = (await bus.insert(Do(what="all"))).task_id
    running = asyncio.create_task(first.run(bus))
    await begun.wait()
    first.stop()
    await running
    assert (await bus.queue.status(task_id)).state == "pending"
    running = asyncio.create_task(second.run(bus))
    await done.wait()
    second.stop()
    await running
    told = await bus.queue.attempts(task_id)
    assert (told.attempt, told.output, told.errors) == (1, 1, ())


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_programs_need_the_scopes_of_tasks_and_no_more(database_url: str) -> None:
    root = Credentials("static/taskbus/root", slugid() + slugid())
    settings = Settings(
        database_url=database_url,
        amqp_url="",
        amqp_port=0,
        root_client_id=root.client_id,
        root_access_token=SecretStr(root.access_token),
    )
    done = asyncio.Event()
    worker = Worker(worker_id="w")

    @worker.handle(Do)
    async def do(job: Do, run: Run) -> dict[str, str]:
        done.set()
        return {"done": job.what}

    async with Service(settings) as service:

        def bus_for(*scopes: str) -> Taskbus:
            credentials = root.issue(scopes, lifetime=timedelta(hours=1))
            return Taskbus(Queue(transport=InProcess(service), credentials=credentials))

        nobody = bus_for("queue:create-task:lowest:other/queue")
        with pytest.raises(InsufficientScopes):
            await nobody.insert(Do(what="all"))
        program = bus_for(
            "queue:create-task:lowest:tests/jobs", "queue:create-task:project:none", "queue:scheduler-id:-"
        )
        task_id = (await program.insert(Do(what="all"))).task_id
        its_own = bus_for("queue:claim-work:tests/jobs", "queue:worker-id:jobs/w")
        running = asyncio.create_task(worker.run(its_own))
        await done.wait()
        worker.stop()
        await running
        assert (await program.queue.status(task_id)).state == "completed"
