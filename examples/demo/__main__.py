"""The demo, from top to bottom: start everything, submit the graph, kill a worker, wait, check.

python -m examples.demo [--keep]
"""

import argparse
import asyncio
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from events import Listener, TaskCompleted, TaskRunning
from examples.demo.check import check_record, check_takeover
from examples.demo.choice import Choice
from examples.demo.graph import SCHEDULER, TASK_QUEUE, Graph, project_graph, submit
from examples.demo.parts import (
    ListenerProcess,
    Service,
    start_listener,
    start_service,
    start_worker,
    worker_client,
)
from examples.demo.processes import Child, Children, DemoFailed
from examples.demo.record import read_records
from examples.demo.report import REPORT
from examples.demo.summary import figures
from schemas.ids import slugid
from schemas.messages import TaskCompletedMessage, TaskRunningMessage
from taskbus import Queue

WORKERS: Final = ("worker-1", "worker-2")
CONNECTIONS: Final = 16
"""Tasks that are created at a time."""
LIMIT_SECONDS: Final = 120
"""When to give up; usually the demo takes a tenth of it."""
SHOWN_PROBLEMS: Final = 20
FAILURE: Final = 1
INTERRUPTED: Final = 130


@dataclass(frozen=True)
class Stage:
    """Everything that runs."""

    children: Children
    service: Service
    workers: dict[str, Child]
    listener: ListenerProcess


async def demo(directory: Path, keep: bool) -> list[str]:
    """Play the demo; the problems found, none if all is well. Ctrl-C and SIGTERM cancel it.

    Raises DemoFailed when something does not even start.
    """
    playing = asyncio.current_task()
    assert playing is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, playing.cancel)
    record, results = directory / "record.jsonl", directory / "results"
    results.mkdir()
    group_id = slugid()
    graph = project_graph(group_id, results)
    async with Children(directory) as children:
        began = time.monotonic()
        stage = await set_stage(children, directory, graph, record)
        setup = time.monotonic() - began

        submitted = datetime.now(UTC)
        killed, problems = "", []
        try:
            killed = await play(stage, group_id, graph)
        except DemoFailed as failure:
            problems.append(str(failure))
        await children.stop(stage.listener.child)

        records = read_records(record)
        problems += check_record(records, {task_id: task.dependencies for task_id, task in graph.items()})
        problems += check_takeover(records, killed) if killed else []
        conclude(results, {"set-up": f"{setup:.1f} s"} | figures(records, submitted), problems)
        if keep and not problems:
            await keep_running(stage, group_id, record)
    return problems


async def set_stage(children: Children, directory: Path, graph: Graph, record: Path) -> Stage:
    """Start everything."""
    service = await start_service(children, directory)
    credentials = await worker_client(service)
    workers = {
        worker_id: await start_worker(children, service, worker_id, credentials) for worker_id in WORKERS
    }
    kinds = Counter(task.tags["kind"] for task in graph.values())
    print(f"service   {service.root_url}, events on {service.amqp_url}")
    print(f"workers   {', '.join(map(str, workers.values()))}, as the client {credentials.client_id}")
    print(f"tasks     {', '.join(f'{count} {kind}' for kind, count in kinds.items())}\n", flush=True)
    # Last: from now on the screen is the listener's.
    return Stage(children, service, workers, await start_listener(children, service, record))


async def play(stage: Stage, group_id: str, graph: Graph) -> str:
    """Submit the graph, kill a worker in the middle, wait for the end; the id of the worker that was killed.

    Raises DemoFailed when something that should run does not, or it takes too long.
    """
    children, service, listener = stage.children, stage.service, stage.listener
    choice = Choice(len(graph))
    heard = asyncio.Condition()
    async with (
        Queue(service.root_url, credentials=service.root, connections=CONNECTIONS) as queue,
        Listener(service.amqp_url, name="demo") as events,
    ):

        @events.on(TaskRunning(scheduler_id=SCHEDULER), TaskCompleted(scheduler_id=SCHEDULER))
        async def hear(event: TaskRunningMessage | TaskCompletedMessage) -> None:
            async with heard:
                choice.hear(event)
                heard.notify_all()

        async def victim() -> str:
            async with heard:
                worker_id = await heard.wait_for(lambda: choice.victim)
            assert worker_id is not None
            return worker_id

        await events.ready()
        await children.during(submit(queue, group_id, graph), LIMIT_SECONDS, "all tasks to be created")
        killed = await children.during(victim(), LIMIT_SECONDS, "a good moment to kill a worker")
        listener.note(f"kills {killed} (SIGKILL), which runs a test at this moment")
        await children.kill(stage.workers[killed])
    await children.during(listener.says("resolved"), LIMIT_SECONDS, "the task group to be resolved")
    return killed


def conclude(results: Path, figures: dict[str, str], problems: list[str]) -> None:
    """Tell what came of it."""
    report = results / REPORT
    print("\n" + (report.read_text(encoding="utf-8") if report.exists() else "no report was made\n"))
    for name, value in figures.items():
        print(f"{name:22}{value}")
    if problems:
        print(f"\nThe demo FAILED. Problems: {len(problems)}")
        print("\n".join(f"- {problem}" for problem in problems[:SHOWN_PROBLEMS]))
    else:
        print(
            "\nEvery task completed, every change was announced, in order; what the killed worker held was "
            "taken over by the other."
        )


async def keep_running(stage: Stage, group_id: str, record: Path) -> None:
    """Leave the service and the other worker running until Ctrl-C."""
    print(
        f"""
The service and a worker go on until Ctrl-C; the listener's record is {record}. In another terminal, try:

  . {Path(sys.prefix) / "bin" / "activate"}
  export TASKBUS_ROOT_URL={stage.service.root_url} TASKBUS_AMQP_URL={stage.service.amqp_url}
  export {" ".join(f"{name}={value}" for name, value in stage.service.root.to_env().items())}
  taskbus task list --group {group_id}
  taskbus queue workers {TASK_QUEUE}
  taskbus listen all --queue 'demo/*' &
  taskbus task create --queue {TASK_QUEUE} --wait -- echo hello""",
        flush=True,
    )
    with suppress(asyncio.CancelledError):
        await stage.children.during(asyncio.Event().wait(), None, "nothing")


def main() -> int:
    parser = argparse.ArgumentParser(prog="examples.demo", description="Play the demo of Taskbus.")
    parser.add_argument("--keep", action="store_true", help="leave the service running at the end")
    keep = parser.parse_args().keep
    directory = Path(tempfile.mkdtemp(prefix="taskbus-demo-"))
    status = FAILURE
    try:
        status = FAILURE if asyncio.run(demo(directory, keep)) else 0
    except DemoFailed as failure:
        print(f"The demo FAILED: {failure}")
    except asyncio.CancelledError:
        print("\nThe demo was interrupted; everything it started has ended.")
        status = INTERRUPTED
    if status == FAILURE:
        print(f"Logs and record: {directory}")
    else:
        shutil.rmtree(directory)
    return status


if __name__ == "__main__":
    sys.exit(main())
