"""The demo's task graph, made from this source tree: compile every file, run every test folder, report."""

import asyncio
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from schemas.ids import slugid
from schemas.queue import CreateTaskRequest
from taskbus import Queue, command_task

ROOT: Final = Path(__file__).parents[2]
PACKAGES: Final = ("schemas", "events", "queue_service", "taskbus")
SAMPLE: Final = Path("examples/sample_project")

TASK_QUEUE: Final = "demo/commands"
SCHEDULER: Final = "demo"

Graph = dict[str, CreateTaskRequest]
"""Tasks by id; every task comes after those it depends on."""


def project_graph(group_id: str, results: Path) -> Graph:
    """A task per file of our packages, one per test folder of the sample project, and a report on all.

    The test tasks, which take seconds, come in the middle, so that one is under way when a worker is killed.
    """
    compiles = [
        _task("compile", file, group_id, ["compile_and_count", file, results])
        for package in PACKAGES
        for file in _below_root((ROOT / package).rglob("*.py"))
    ]
    tests = [
        _task("test", init.parent, group_id, ["run_tests", SAMPLE, init.parent, results])
        for init in _below_root((ROOT / SAMPLE / "tests").glob("*/__init__.py"))
    ]
    middle = len(compiles) // 2
    graph = {slugid(): task for task in [*compiles[:middle], *tests, *compiles[middle:]]}
    report = _task("report", Path("everything"), group_id, ["report", results], depends_on=graph)
    return {**graph, slugid(): report}


def _below_root(files: Iterable[Path]) -> list[Path]:
    return sorted(file.relative_to(ROOT) for file in files)


def _task(
    kind: str, subject: Path, group_id: str, step: list[str | Path], depends_on: Iterable[str] = ()
) -> CreateTaskRequest:
    program, *arguments = map(str, step)
    return command_task(
        [sys.executable, "-m", f"examples.demo.{program}", *arguments],
        queue=TASK_QUEUE,
        name=f"{kind} {subject}",
        task_group_id=group_id,
        scheduler_id=SCHEDULER,
        dependencies=list(depends_on),
        # The report is wanted even if something failed.
        requires="all-resolved",
        max_run_time="60s",
        routes=[f"demo.{kind}.{subject.parts[0]}"],
        tags={"kind": kind, "subject": str(subject)},
    )


async def submit(queue: Queue, group_id: str, graph: Graph) -> None:
    """Create the tasks, many at a time but none before what it depends on; then close the group."""
    async with asyncio.TaskGroup() as independent:
        for task_id, task in graph.items():
            if not task.dependencies:
                independent.create_task(queue.create_task(task_id, task))
    for task_id, task in graph.items():
        if task.dependencies:
            await queue.create_task(task_id, task)
    await queue.seal_task_group(group_id)
