"""``taskbus work`` and what ``taskbus worker --attach`` says to wrong options and runs for an item."""

import asyncio
import json
from typing import Any

import pytest

from taskbus.attached_command import ItemCommand
from taskbus.attached_connection import AttachedItem
from taskbus.attached_reports import ItemReports
from taskbus.errors import TaskFailed
from tests.taskbus import samples
from tests.taskbus.cli.conftest import Run
from tests.taskbus.recording_server import Answer, refusal, server_in_thread
from tests.taskbus.samples import TASK_ID

TIME = "2024-05-01T12:00:00.000Z"
DONE = {"status": {**samples.status(), "state": "completed"}, "output": {"ok": True}}
IN_FLIGHT = {
    "task": {"task_id": TASK_ID, "task_name": "tag", "data": {}, "attrs": {}},
    "worker": "w1",
    "retry_counter": 5,
    "deadline": TIME,
    "progress": {"percent": 50},
}
HELD = {"items": [{"taskId": TASK_ID, "name": "tag", "attrs": {"cloud": "aws"}, "heldUntil": TIME}]}
WORKERS = {
    "workers": [
        {
            "workerGroup": "g",
            "workerId": "w1",
            "protocol": "work.v2",
            "capacity": 10,
            "inFlight": 1,
            "draining": False,
            "attached": TIME,
            "tasks": [{"name": "tag", "filter": {"cloud": ["aws", "gcp"]}}],
        }
    ]
}


def test_an_item_is_created_and_its_id_printed(run: Run) -> None:
    with server_in_thread(Answer(body={"status": samples.status()})) as server:
        options = ("--attr", "cloud=aws", "--timeout", "1h", "--retries", "0", "--task-id", TASK_ID)
        result = run("work", "create", "tag", '{"id": 7}', *options, "--root-url", server.url)
    assert result.stdout == f"{TASK_ID}\n"
    (seen,) = server.seen
    assert (seen.method, seen.target) == ("POST", "/api/work/v1/tasks")
    members = {"taskId": TASK_ID, "name": "tag", "data": {"id": 7}, "attrs": {"cloud": "aws"}}
    assert seen.json == {**members, "timeout": "1h", "retries": 0}


def test_who_waits_gets_the_answer(run: Run) -> None:
    with server_in_thread(Answer(body=DONE)) as server:
        result = run("work", "create", "tag", "--wait", "30", "--root-url", server.url)
    assert json.loads(result.stdout) == {"ok": True}
    assert server.seen[0].target == "/api/work/v1/tasks?wait=30"


def test_that_no_worker_came_is_told_at_once(run: Run) -> None:
    with server_in_thread(refusal(504, "NoWorker", "no worker for task: tag")) as server:
        result = run("work", "create", "tag", "--wait", "30", "--root-url", server.url)
    assert (result.exit_code, len(server.seen)) == (1, 1)
    assert "no worker for task: tag" in result.stderr


@pytest.mark.parametrize(
    ("command", "body", "row"),
    [
        ("list", [IN_FLIGHT], [TASK_ID, "tag", "w1", TIME, "percent=50"]),
        ("held", HELD, [TASK_ID, "tag", TIME, "cloud=aws"]),
        ("workers", WORKERS, ["w1", "work.v2", "1/10", TIME, "tag", "cloud=aws,gcp"]),
    ],
)
def test_what_there_is_is_listed(run: Run, command: str, body: Any, row: list[str]) -> None:
    with server_in_thread(Answer(body=body)) as server:
        shown = run("work", command, "--root-url", server.url)
        as_json = run("work", command, "--json", "--root-url", server.url)
    assert shown.stdout.splitlines()[1].split() == row
    assert server.seen[0].target == f"/api/work/v1/{command}"
    assert isinstance(json.loads(as_json.stdout), dict)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--attach", "http://h", "--task", "tag"), "COMMAND"),
        (("--attach", "http://h", "--", "true"), "--task"),
        (("--attach", "http://h", "--task", "tag", "--filter", "cloud", "--", "true"), "--filter"),
        (("--attach", "http://h", "--task", "1st", "--", "true"), "name"),
        (("--attach", "http://h", "--task", "tag", "--queue", "a/b", "--", "true"), "--attach"),
        (("--queue", "a/b", "--", "true"), "--attach"),
    ],
)
def test_options_that_do_not_go_together_are_told(run: Run, arguments: tuple[str, ...], error: str) -> None:
    result = run("worker", *arguments)
    assert result.exit_code == 2
    assert error in result.stderr


def item(data: object) -> AttachedItem:
    frame = {"task_id": TASK_ID, "run_id": 2, "task_name": "tag", "data": data, "attrs": {}, "deadline": TIME}
    return AttachedItem(frame, lambda key, kind, facts: None, untyped(frame))


def untyped(frame: dict[str, Any]) -> ItemReports:
    """Those of an item that is no typed job, of which nothing is reported."""

    async def refuse(*_: object) -> Any:
        raise AssertionError("nothing is to be reported")

    return ItemReports(frame, refuse, refuse, asyncio.get_running_loop())


async def ran(script: str, data: object = None) -> Any:
    with ItemCommand(["sh", "-c", script]) as command:
        return await command(item(data))


@pytest.mark.parametrize(
    ("script", "answer"),
    [
        ("cat", None),
        ('echo "$TASKBUS_TASK_ID $TASKBUS_RUN_ID"', f"{TASK_ID} 2"),
        ("echo '[1, 2]'; echo noise >&2", [1, 2]),
        ("true", None),
        ("sleep 600 & echo '\"left\"'", "left"),
    ],
    ids=["input", "environment", "JSON", "nothing", "left running"],
)
async def test_a_command_answers_with_its_output(script: str, answer: object) -> None:
    given = {"id": 7}
    found = await ran(script, given)
    if script == "cat":
        assert (found["task_id"], found["data"], found["deadline"]) == (TASK_ID, given, TIME)
    else:
        assert found == answer


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ("echo out; echo why >&2; exit 3", "the command exited with status 3\nwhy"),
        ("kill -9 $$", "the command ended by signal 9"),
        ("head -c 300000 /dev/zero", "the command wrote 300000 bytes"),
        ("exec no-such-program", "the command exited with status 127"),
    ],
)
async def test_a_command_that_fails_says_why(script: str, error: str) -> None:
    with pytest.raises(TaskFailed) as failed:
        await ran(script)
    assert str(failed.value).startswith(error)


async def test_a_command_whose_item_is_cancelled_is_ended() -> None:
    running = asyncio.create_task(ran("sleep 600"))
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
