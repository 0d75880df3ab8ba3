"""The short examples do what they say, against a service in this process."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from events import Listener, TaskCompleted, TaskDefined, TaskException, TaskFailed
from events.testing import Recorder
from examples import first_task, monitor, python_worker, scheduler
from taskbus import ClaimedRun, Queue, Worker, command_task, slugid, task_definition
from tests.examples.conftest import Running

EXAMPLES = Path(first_task.__file__).parent
LINES = 40


@asynccontextmanager
async def going_on(work: Awaitable[None]) -> AsyncIterator[None]:
    """Something that runs until the end of the block. What it raises, the block raises."""
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def worker(service: Running, task_queue_id: str = "demo/local") -> AsyncIterator[None]:
    """A worker for whose tasks there is nothing to do."""

    async def nothing(run: ClaimedRun) -> None:
        pass

    async with Queue(service.root_url) as queue:
        made = Worker(queue, task_queue_id, nothing, worker_group="test", worker_id="worker")
        async with going_on(made.run()):
            yield


def test_every_example_fits_on_a_screen() -> None:
    lengths = {file.name: len(file.read_text().splitlines()) for file in EXAMPLES.glob("*.py")}
    assert all(length <= LINES for length in lengths.values()), lengths


async def test_first_task_is_told_of_its_completion(service: Running) -> None:
    async with worker(service):
        assert await first_task.main(service.root_url, service.amqp_url) == "completed"


async def test_python_worker_counts_lines_and_stops_at_sigterm(
    service: Running, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, task_id = tmp_path / "three", slugid()
    file.write_text("1\n2\n3\n")
    working = asyncio.create_task(python_worker.main(service.root_url))
    async with Queue(service.root_url) as queue, Recorder(service.amqp_url) as recorder:
        await queue.create_task(task_id, task_definition({"file": str(file)}, queue="demo/python"))
        await recorder.wait_for(TaskCompleted, task_id=task_id)
    signal.raise_signal(signal.SIGTERM)
    await working
    assert f"{task_id}: 3 lines in {file}" in capsys.readouterr().out.splitlines()


async def test_python_worker_refuses_what_it_cannot_do(service: Running) -> None:
    async with (
        going_on(python_worker.main(service.root_url)),
        Queue(service.root_url) as queue,
        Recorder(service.amqp_url) as recorder,
    ):
        missing, malformed = slugid(), slugid()
        await queue.create_task(missing, task_definition({"file": "/nowhere"}, queue="demo/python"))
        await queue.create_task(malformed, task_definition({"fiel": "README.md"}, queue="demo/python"))
        await recorder.wait_for(TaskFailed, task_id=missing)
        event = await recorder.wait_for(TaskException, task_id=malformed)
        assert event.status.runs[0].reason_resolved == "malformed-payload"


async def test_scheduler_tests_a_build_when_it_is_completed(service: Running) -> None:
    async with (
        worker(service),
        Queue(service.root_url) as queue,
        Recorder(service.amqp_url) as recorder,
        Listener(service.amqp_url) as listener,
    ):
        scheduler.schedule_tests(listener, queue)
        await listener.ready()
        build_id = slugid()
        build = command_task(["make"], queue="demo/local", routes=["examples.build"])
        await queue.create_task(build_id, build)
        await recorder.wait_for(TaskCompleted, task_id=scheduler.id_of_test(build_id))


async def test_scheduler_tests_a_build_once_though_its_message_comes_twice(service: Running) -> None:
    async with (
        worker(service),
        Queue(service.root_url) as queue,
        Recorder(service.amqp_url) as recorder,
        Listener(service.amqp_url) as listener,
    ):
        scheduler.schedule_tests(listener, queue)
        await listener.ready()
        build_id, last_id = slugid(), slugid()
        await queue.create_task(
            build_id, command_task(["make"], queue="demo/local", routes=["examples.build"])
        )
        await recorder.wait_for(TaskCompleted, task_id=scheduler.id_of_test(build_id))
        await queue.report_completed(build_id, 0)  # a repeat, which repeats the message
        await queue.create_task(
            last_id, command_task(["make"], queue="demo/local", routes=["examples.build"])
        )
        await recorder.wait_for(TaskCompleted, task_id=scheduler.id_of_test(last_id))
        assert len(recorder.of(TaskCompleted, task_id=build_id)) == 2
        assert len(recorder.of(TaskDefined, task_id=scheduler.id_of_test(build_id))) == 1


async def test_monitor_shows_every_event_of_tasks_with_a_route(service: Running) -> None:
    lines: asyncio.Queue[str] = asyncio.Queue()
    async with (
        Queue(service.root_url) as queue,
        Listener(service.amqp_url) as listener,
    ):
        monitor.monitor(listener, "examples.#", lines.put_nowait)
        await listener.ready()
        other_id, task_id = slugid(), slugid()
        await queue.create_task(other_id, command_task(["true"], queue="demo/local", routes=["other"]))
        await queue.create_task(task_id, command_task(["true"], queue="demo/local", routes=["examples.x.y"]))
        async with worker(service):
            shown = [(await lines.get()).split() for _ in range(4)]
    assert shown == [
        ["task-defined", task_id, "unscheduled", "route.examples.x.y"],
        ["task-pending", task_id, "pending", "route.examples.x.y"],
        ["task-running", task_id, "running", "route.examples.x.y"],
        ["task-completed", task_id, "completed", "route.examples.x.y"],
    ]
