"""``taskbus trigger`` and its client against a service in this process."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from taskbus.auth import Auth
from taskbus.cli.app import app
from taskbus.triggers import Triggers
from tests.api.triggered import TASK
from tests.examples.conftest import Running, service  # noqa: F401

Run = Callable[..., Awaitable[str]]
DEFINITION = {"cron": {"cron": "0 3 * * *"}, "task": {**TASK, "schedulerId": "-"}}


@pytest.fixture
async def allowed(service: Running) -> None:  # noqa: F811
    """The tasks of triggers may be created."""
    scopes = ("queue:create-task:*", "queue:scheduler-id:*")
    async with Auth(service.root_url) as auth:
        await auth.create_role("trigger-id:*", scopes=scopes)


@pytest.fixture
def run(service: Running) -> Run:  # noqa: F811
    """What a command printed; it must end with this status."""

    async def run(*arguments: str, status: int = 0, input: str | None = None) -> str:
        environment = {"TASKBUS_ROOT_URL": service.root_url}
        result: Result = await asyncio.to_thread(
            CliRunner().invoke, app, ["trigger", *arguments], input=input, env=environment
        )
        assert result.exit_code == status, result.output
        return result.stdout if status == 0 else result.stderr

    return run


@pytest.mark.usefixtures("allowed")
async def test_the_life_of_a_trigger(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "nightly.json"
    file.write_text(json.dumps(DEFINITION))
    assert await run("create", "reports/nightly", str(file)) == "reports/nightly\n"
    assert await run("create", "reports/nightly", "-", input=json.dumps(DEFINITION)) == "reports/nightly\n"
    other = json.dumps({**DEFINITION, "misfire": "all"})
    assert "another definition" in await run("create", "reports/nightly", "-", input=other, status=1)
    task_id = (await run("fire", "reports/nightly")).splitlines()[-1]  # the service logs in this process
    shown, fire = (await run("show", "reports/nightly", "--json")).splitlines()
    assert (json.loads(shown)["state"], json.loads(fire)["taskId"]) == ("active", task_id)
    assert await run("pause", "reports/nightly") == "paused\n"
    assert await run("resume", "reports/nightly") == "active\n"
    assert (await run("list", "reports")).splitlines()[1].split()[:3] == ["reports/nightly", "active", "0"]
    assert await run("list", "others", "--json") == ""
    await run("delete", "reports/nightly")
    assert "no trigger" in await run("show", "reports/nightly", status=1)


async def test_a_file_is_applied_again_and_again(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "triggers.json"
    for misfire in ("one", "all"):
        file.write_text(json.dumps([{"name": "a/b", "misfire": misfire, **DEFINITION}]))
        assert await run("apply", str(file)) == "a/b\n"
        assert json.loads(await run("show", "a/b", "--json"))["misfire"] == misfire
    file.write_text(json.dumps([{"name": "a/b", "mis-fire": "one", **DEFINITION}]))
    assert "trigger 1: mis-fire" in await run("apply", str(file), status=2)


async def test_wrong_calls_say_what_was_expected(run: Run) -> None:
    for arguments, words in (
        (("show", "nightly"), "<group>/<id>"),
        (("fire", "a/b", "{"), "not JSON"),
        (("create", "a/b", "/nowhere.json"), "No such file"),
    ):
        assert words in await run(*arguments, status=2)


@pytest.mark.usefixtures("allowed")
async def test_the_client_has_a_method_for_each_call(service: Running) -> None:  # noqa: F811
    async with Triggers(service.root_url) as triggers:
        created = await triggers.create_trigger("a", "b", DEFINITION)
        assert [one async for one in triggers.list_triggers(page_size=1)] == [created]
        assert (await triggers.pause_trigger("a", "b")).state == "paused"
        assert (await triggers.resume_trigger("a", "b")).state == "active"
        task_id = await triggers.fire_trigger("a", "b")
        assert [fire.task_id for fire in await triggers.list_trigger_fires("a", "b")] == [task_id]
        assert (await triggers.apply_trigger("a", "b", DEFINITION)).fires == 1
        assert [await triggers.delete_trigger("a", "b") for _ in range(2)] == [True, False]
