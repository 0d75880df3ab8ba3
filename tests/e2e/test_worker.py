"""``taskbus worker`` running shell commands: killed, stopped while busy, stopped while idle."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest

from events import TaskCompleted, TaskException, TaskPending
from events.testing import Recorder
from schemas.ids import slugid
from taskbus import Auth, Credentials, InsufficientScopes, Queue, command_task
from tests.e2e.programs import ROOT, Program, Programs, Server, Watched

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
    async with Queue(server.root_url, credentials=ROOT) as queue:
        yield queue


@pytest.fixture
async def recorder(server: Server) -> AsyncIterator[Recorder]:
    async with Recorder(server.amqp_url) as recorder:
        yield recorder


@pytest.fixture
async def own(server: Server) -> Credentials:
    """Of a client that may work on this queue and nothing else."""
    async with Auth(server.root_url, credentials=ROOT) as auth:
        made = await auth.create_client(
            "e2e/worker",
            scopes=[f"queue:claim-work:{QUEUE}", "queue:worker-id:local/*"],
            expires=datetime.now(UTC) + timedelta(hours=1),
        )
    return Credentials(made.client_id, made.access_token)


async def processes_of(worker: Program) -> list[Watched]:
    """Those of the command that has just told their ids."""
    line = await worker.line("| processes ")
    return [Watched(int(pid)) for pid in line.split("| processes ")[1].split()]


async def assert_gone(processes: list[Watched]) -> None:
    for process in processes:
        assert await process.ended(timeout=5), f"process {process.pid} outlived its worker"


async def test_of_a_killed_worker_nothing_remains_and_another_one_retries(
    taskbus: Programs, server: Server, queue: Queue, recorder: Recorder, own: Credentials
) -> None:
    task_id = slugid()
    await queue.create_task(task_id, command_task(SLOW_ONCE, queue=QUEUE))
    killed = await taskbus.worker(server.root_url, QUEUE, "--worker-id", "killed", credentials=own)
    commands = await processes_of(killed)
    await taskbus.worker(server.root_url, QUEUE, "--worker-id", "other", credentials=own)

    await killed.kill()
    await assert_gone(commands)
    expired = await recorder.wait_for(TaskException, task_id=task_id, run_id=0)
    assert expired.status.runs[0].reason_resolved == "claim-expired"
    done = await recorder.wait_for(TaskCompleted, task_id=task_id, run_id=1)
    assert done.worker_id == "other"


async def test_a_worker_that_is_stopped_gives_its_runs_back_at_once(
    taskbus: Programs, server: Server, queue: Queue, recorder: Recorder, own: Credentials
) -> None:
    task_id = slugid()
    await queue.create_task(task_id, command_task(SLOW_ONCE, queue=QUEUE))
    worker = await taskbus.worker(server.root_url, QUEUE, "--drain", "0.2s", credentials=own)
    commands = await processes_of(worker)

    worker.process.send_signal(signal.SIGTERM)
    assert await worker.exit() == 0
    await assert_gone(commands)
    given_back = await recorder.wait_for(TaskException, task_id=task_id, run_id=0)
    assert given_back.status.runs[0].reason_resolved == "worker-shutdown"
    await recorder.wait_for(TaskPending, task_id=task_id, run_id=1)


async def test_a_run_leaves_its_log_and_files_behind(
    taskbus: Programs, server: Server, queue: Queue, recorder: Recorder, own: Credentials, tmp_path: Path
) -> None:
    (folders := tmp_path / "tasks").mkdir()
    await taskbus.worker(server.root_url, QUEUE, "--task-folders", str(folders), credentials=own)
    task_id = slugid()
    command = "echo hello; mkdir out; echo 1 > out/1.txt; echo x > private"
    kept = {"public/out": "out/", "private/x": "private"}
    await queue.create_task(task_id, command_task(command, queue=QUEUE, artifacts=kept))
    await recorder.wait_for(TaskCompleted, task_id=task_id)

    anyone = queue.using(None)
    names = [artifact.name async for artifact in anyone.list_latest_artifacts(task_id)]
    logs = ["public/logs/live.log", "public/logs/live_backing.log"]
    assert names == ["private/x", *logs, "public/out/1.txt"]
    for name, content in ((logs[0], b"hello\n"), (logs[1], b"hello\n"), ("public/out/1.txt", b"1\n")):
        async with anyone.download_artifact(task_id, name) as chunks:
            assert b"".join([chunk async for chunk in chunks]) == content, name
    with pytest.raises(InsufficientScopes):
        await anyone.get_latest_artifact(task_id, "private/x")
    assert os.listdir(folders) == []


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
