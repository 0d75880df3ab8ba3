"""``taskbus task list`` and ``delete``: tasks of a group, those named, and those that fit a filter."""

import asyncio
import json
from typing import Annotated, Any, get_args

import typer

from schemas.search import DeleteTasksRequest, SearchTasksRequest
from schemas.task import PRIORITIES, TaskDefinition, TaskState, TaskStatus
from taskbus.cli import show
from taskbus.cli.connect import connect
from taskbus.cli.console import USAGE, AsJson, RootUrl, fail, out, run, wrong_input
from taskbus.client import Queue

Tasks = list[tuple[TaskStatus, TaskDefinition]]

Ids = Annotated[list[str] | None, typer.Argument(metavar="TASK_ID", help="One or more task ids.")]
States = Annotated[
    list[str] | None, typer.Option("--state", metavar="STATE", help=f"{', '.join(get_args(TaskState))}.")
]
Queues = Annotated[
    list[str] | None, typer.Option("--queue", metavar="PROVISIONER/TYPE", help="Of these task queues.")
]
Kinds = Annotated[
    list[str] | None, typer.Option("--kind", metavar="KIND", help="Of this kind in the payload.")
]
Priorities = Annotated[
    list[str] | None, typer.Option("--priority", metavar="LEVEL", help=f"{', '.join(PRIORITIES)}.")
]
Tags = Annotated[
    list[str] | None, typer.Option("--tag", metavar="NAME=VALUE", help="With all of these tags.")
]


def list_tasks(
    task_id: Ids = None,
    group: Annotated[str | None, typer.Option(metavar="GROUP_ID", help="All tasks of this group.")] = None,
    state: States = None,
    queue: Queues = None,
    kind: Kinds = None,
    priority: Priorities = None,
    tag: Tags = None,
    newest: Annotated[
        bool, typer.Option("--newest", help="Those first that got into their state last; else by id.")
    ] = False,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="Tasks that fit, at most.")] = 100,
    as_json: AsJson = False,
    root_url: RootUrl = None,
) -> None:
    """List tasks: those of a group, those named, or those for which all that is asked for holds.

    Example: taskbus task list --state failed --queue demo/local --newest
    """
    with wrong_input():
        asked = _filter(state, queue, kind, priority, tag)
    if (group is not None) + bool(task_id) + bool(asked) != 1:
        fail("expected either --group GROUP_ID or task ids, or a filter such as --state STATE", USAGE)
    client = connect(Queue, root_url)
    if asked:
        order: dict[str, Any] = {"order": "time", "descending": True} if newest else {}
        with wrong_input():
            request = SearchTasksRequest.model_validate({**asked, **order})
        found = run(_search(client, request, limit))
    else:
        found = run(_list(client, group, task_id or []))
    _print(found, as_json)
    missing = set(task_id or []) - {status.task_id for status, _ in found}
    if missing:
        fail(f"not found: {', '.join(sorted(missing))}")


def delete(
    task_id: Ids = None,
    state: States = None,
    queue: Queues = None,
    kind: Kinds = None,
    priority: Priorities = None,
    tag: Tags = None,
    every: Annotated[bool, typer.Option("--all", help="Every task that does not run.")] = False,
    as_json: AsJson = False,
    root_url: RootUrl = None,
) -> None:
    """Delete tasks with runs and artifacts: those named, or those for which all that is asked for holds.

    A task that has not ended is cancelled first; one that runs is left alone.
    """
    with wrong_input():
        asked = _filter(state, queue, kind, priority, tag)
        if bool(task_id) + bool(asked) + every != 1:
            raise ValueError("expected either task ids, a filter such as --state STATE, or --all")
        request = None if task_id else DeleteTasksRequest.model_validate(asked or {"all": True})
    client = connect(Queue, root_url)
    run(_delete(client, task_id or [], request, as_json))


def _filter(
    states: list[str] | None,
    queues: list[str] | None,
    kinds: list[str] | None,
    priorities: list[str] | None,
    tags: list[str] | None,
) -> dict[str, Any]:
    """The members of a filter that were asked for."""
    members = {
        "states": states,
        "taskQueueIds": queues,
        "kinds": kinds,
        "priorities": priorities,
        "tagsAll": dict(_tag(each) for each in tags or ()),
    }
    return {name: value for name, value in members.items() if value}


def _tag(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ValueError(f"--tag: expected NAME=VALUE, got {text!r}")
    return name, value


def _print(found: Tasks, as_json: bool) -> None:
    if as_json:
        for status, task in found:
            typer.echo(json.dumps({"status": status.to_wire(), "task": task.to_wire()}))
    else:
        out().print(show.task_table(found))


async def _search(client: Queue, asked: SearchTasksRequest, limit: int) -> Tasks:
    async with client:
        found: Tasks = []
        async for entry in client.search_tasks(asked, page_size=min(limit, 1000)):
            found.append((entry.status, entry.task))
            if len(found) == limit:
                break
        return found


async def _list(client: Queue, group: str | None, task_ids: list[str]) -> Tasks:
    async with client:
        if group is not None:
            return [(entry.status, entry.task) async for entry in client.list_task_group(group)]
        statuses, tasks = await asyncio.gather(client.statuses(task_ids), client.tasks(task_ids))
        return [
            (statuses[task_id], tasks[task_id])
            for task_id in task_ids
            if task_id in statuses and task_id in tasks
        ]


async def _delete(
    client: Queue, task_ids: list[str], asked: DeleteTasksRequest | None, as_json: bool
) -> None:
    async with client:
        for task_id in task_ids:
            status = await client.delete_task(task_id)
            typer.echo(status.to_json() if as_json else f"{task_id} deleted, it was {status.state}")
        if asked is not None:
            done = await client.delete_tasks(asked)
            skipped = f", {done.skipped} left alone as they run" if done.skipped else ""
            typer.echo(done.to_json() if as_json else f"{done.deleted} deleted{skipped}")
