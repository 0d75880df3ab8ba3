"""``taskbus task create --bulk``: many tasks from a file with a definition on each line."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import typer
from pydantic import ValidationError

from schemas.bulk import MAX_BULK, CreatedTask, TaskToCreate
from schemas.ids import slugid
from schemas.times import format_time
from taskbus.cli.connect import connect
from taskbus.cli.console import run, wrong_input
from taskbus.client import Queue
from taskbus.errors import describe
from taskbus.tasks import parse_duration


def create_all(text: str, deadline: str, as_json: bool, root_url: str | None) -> None:
    """Create the tasks of these lines, 1,000 in a transaction, and print what became of each."""
    with wrong_input():
        tasks = list(_tasks(text, datetime.now(UTC), parse_duration(deadline)))
        if not tasks:
            raise ValueError("--bulk: expected a definition as JSON on each line, got none")
    client = connect(Queue, root_url)
    run(_create(client, tasks, as_json))


async def _create(client: Queue, tasks: list[TaskToCreate], as_json: bool) -> None:
    async with client:
        for start in range(0, len(tasks), MAX_BULK):
            for made in await client.create_tasks(tasks[start : start + MAX_BULK]):
                typer.echo(made.to_json() if as_json else _line(made))


def _line(made: CreatedTask) -> str:
    if made.unique_skipped_as_duplicate:
        return f"{made.task_id} exists, the task is a duplicate of it"
    return made.task_id if made.created else f"{made.task_id} existed already"


def _tasks(text: str, now: datetime, deadline: timedelta) -> Iterator[TaskToCreate]:
    """A task for each line that is not empty: a definition, or ``{"taskId": …, "task": definition}``."""
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"--bulk: line {number} is not JSON: {error}") from None
        item: Any = (
            value if isinstance(value, dict) and "task" in value else {"taskId": slugid(), "task": value}
        )
        if not isinstance(item["task"], dict):
            raise ValueError(f"--bulk: line {number} is no JSON object that defines a task")
        times = {"created": format_time(now), "deadline": format_time(now + deadline)}
        try:
            yield TaskToCreate.model_validate({**item, "task": {**times, **item["task"]}})
        except ValidationError as error:
            raise ValueError(f"--bulk: line {number}: {describe(error)}") from None
