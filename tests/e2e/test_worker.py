"""``taskbus worker`` running shell commands: killed, stopped while busy, stopped while idle."""

import asyncio
import signal
from collections.abc import AsyncIterator
from typing import Final

import pytest

from events import TaskCompleted, TaskException, TaskPending
from events.testing import Recorder
from schemas.ids import slugid
from taskbus import Queue, command_task
from tests.e2e.programs import Program, Programs, Server, Watched

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(60)]

QUEUE: Final = "e2e/shell"
SLOW_ONCE: Final = '[ "$RUN_ID" = 0 ] || exit 0; sleep 600 & echo "processes $$ $!"; wait'
"""A shell with a child of its own that come to no end, but only in the first run."""


@pytest.fixture
async def server(taskbus: Programs) -> Server:
    """A service on SQLite, with the broker built in, whose claims expire soon."""
    return await taskbus.serve(claim_timeout=2)


@pytest.fixture
async def queue(server: Server) -> AsyncIterator[Queue]:
    async with Queue(server.root_url) as queue:
        yield queue


@pytest.fixture
async def recorder(server: Server) -> AsyncIterator[Recorder]:
    async with Recorder(server.amqp_url) as recorder:
        yield recorder


async def processes_of(worker: Program) -> list[Watched]:
    """Those of the command that has just told their ids."""
    line = await worker.line("| processes ")
    return [Watched(int(pid)) for pid in line.split("| processes ")[1].split()]


async def assert_gone(processes: list[Watched]) -> None:
    for process in processes:
        assert await process.ended(timeout=5), f"process {process.pid} outlived its worker"


async def test_of_a_killed_worker_nothing_remains_and_another_one_retries(
    taskbus: Programs, server: Server, queue: Queue, recorder: Recorder
) -> None:
    task_id = slugid()
    await queue.create_task(task_id, command_task(SLOW_ONCE, queue=QUEUE))
    killed = await taskbus.worker(server.root_url, QUEUE, "--worker-id", "killed")
    commands = await processes_of(killed)
    await taskbus.worker(server.root_url, QUEUE, "--worker-id", "other")

    await killed.kill()
    await assert_gone(commands)
    expired = await recorder.wait_for(TaskException, task_id=task_id, run_id=0)
    assert expired.status.runs[0].reason_resolved == "claim-expired"
    done = await recorder.wait_for(TaskCompleted, task_id=task_id, run_id=1)
    assert done.worker_id == "other"


async def test_a_worker_that_is_stopped_gives_its_runs_back_at_once(
    taskbus: Programs, server: Server, queue: Queue, recorder: Recorder
) -> None:
    task_id = slugid()
    await queue.create_task(task_id, command_task(SLOW_ONCE, queue=QUEUE))
    worker = await taskbus.worker(server.root_url, QUEUE, "--drain", "0.2s")
    commands = await processes_of(worker)

    worker.process.send_signal(signal.SIGTERM)
    assert await worker.exit() == 0
    await assert_gone(commands)
    given_back = await recorder.wait_for(TaskException, task_id=task_id, run_id=0)
    assert given_back.status.runs[0].reason_resolved == "worker-shutdown"
    await recorder.wait_for(TaskPending, task_id=task_id, run_id=1)


async def test_a_worker_that_waits_for_work_stops_at_once(taskbus: Programs) -> None:
    asked, hung_up = asyncio.Event(), asyncio.Event()

    async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert b"/claim-work/" in await reader.readline()
        asked.set()
        await reader.read(-1)
        hung_up.set()
        writer.close()

    async with await asyncio.start_server(never_answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        worker = await taskbus.worker(f"http://127.0.0.1:{port}", QUEUE)
        await asked.wait()
        worker.process.send_signal(signal.SIGTERM)
        assert await worker.exit(timeout=2) == 0
        await hung_up.wait()
