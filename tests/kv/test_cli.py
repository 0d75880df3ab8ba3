"""``taskbus kv`` and ``taskbus workset`` against a service in this process."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from taskbus.cli.app import app
from tests.examples.conftest import Running, service  # noqa: F401

Run = Callable[..., Awaitable[str]]


@pytest.fixture
def run(service: Running) -> Run:  # noqa: F811
    """What a command printed; it must end with this status."""

    async def run(*arguments: str, status: int = 0, input: str | None = None) -> str:
        environment = {"TASKBUS_ROOT_URL": service.root_url}
        result: Result = await asyncio.to_thread(
            CliRunner().invoke, app, list(arguments), input=input, env=environment, prog_name="taskbus"
        )
        assert result.exit_code == status, result.output
        return result.stdout if status == 0 else result.stderr

    return run


async def test_values(run: Run) -> None:
    version = await run("kv", "put", "acme:a/b", "k", '{"n": 1}', "--ttl", "1h")
    assert await run("kv", "get", "acme:a/b", "k") == '{"n": 1}\n'
    assert await run("kv", "get", "acme:a/b", "k", "--raw") == '{"n":1}\n'
    assert json.loads(await run("kv", "get", "acme:a/b", "k", "--json"))["version"] == int(version)
    assert "version 1" in await run("kv", "put", "acme:a/b", "k", "2", "--if-version", "0", status=1)
    await run("kv", "put", "acme:a/b", "text", "-", "--raw", input="as it is")
    assert await run("kv", "get", "acme:a/b", "text") == "as it is\n"
    assert [line.split()[-1] for line in (await run("kv", "list", "acme:a/b")).splitlines()[1:]] == [
        "k",
        "text",
    ]
    listed = (await run("kv", "list", "acme:a/b", "k", "--values", "--json")).splitlines()
    assert [json.loads(line)["value"] for line in listed] == [{"n": 1}]
    await run("kv", "delete", "acme:a/b", "k")
    assert "k" in await run("kv", "get", "acme:a/b", "k", status=1)


async def test_wrong_calls_say_what_was_expected(run: Run) -> None:
    for arguments, words in (
        (("kv", "get", "acme", "k"), "tenant:namespace"),
        (("kv", "put", "acme:a", "k", "{"), "not JSON"),
        (("kv", "put", "acme:a", "k", "1", "--ttl", "soon"), "duration"),
        (("workset", "counts", "acme", "s"), "tenant:namespace"),
        (("workset", "pop", "acme:a", "s", "--ack", "never"), "batch or each"),
        (("workset", "add", "acme:a", "s", "m", "--payload", "{"), "not JSON"),
    ):
        assert words in await run(*arguments, status=2)


async def test_a_command_runs_under_a_lock_and_ends_as_it_ends(run: Run) -> None:
    test = 'test "$TASKBUS_LOCK_TOKEN" -gt 0 && exit 7'
    await run("kv", "lock", "acme:locks", "release", "sh", "-c", test, status=7)
    assert json.loads(await run("kv", "put", "acme:locks", "release", "1", "--if-version", "0"))
    await run("kv", "lock", "acme:locks", "release", "true", status=1)


async def test_worksets(run: Run) -> None:
    assert await run("workset", "add", "acme:a", "s", "x", "y", "--payload", "1", "--priority", "high") == (
        "2 added, 0 present already, 0 come again\n"
    )
    assert (await run("workset", "add", "acme:a", "s", "-", input="x\nz\n")).startswith("1 added, 1 present")
    popped: list[Any] = list(
        map(
            json.loads,
            (await run("workset", "pop", "acme:a", "s", "--limit", "5", "--ack", "each")).split("\n")[:-1],
        )
    )
    assert [member["id"] for member in popped] == ["x", "y", "z"]
    lease = popped[0]["leaseId"]
    assert await run("workset", "ack", "acme:a", lease, "x") == "1 acked, 2 left\n"
    assert (await run("workset", "extend", "acme:a", lease, "--lease", "2m")).endswith("Z\n")
    assert (await run("workset", "nack", "acme:a", lease, "--delay", "1h", "--error", "no")) == (
        "2 returned, 0 dead, 0 left\n"
    )
    assert (await run("workset", "counts", "acme:a", "s")).split() == [
        "available", "0", "delayed", "2", "leased", "0", "dead", "0",
    ]  # fmt: skip
    await run("workset", "configure", "acme:a", "s", "--max-deliveries", "3")
    assert json.loads(await run("workset", "counts", "acme:a", "s", "--json"))["maxDeliveries"] == 3
    assert "nothing is available" in await run("workset", "pop", "acme:a", "s", status=1)
