"""The first start of a real service: its secret is shown once, and every process and later start knows it."""

import re
from datetime import UTC, datetime
from typing import Any, Final

import pytest

from taskbus import Auth, Credentials
from tests.e2e.programs import Programs, Server

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(60)]

UNSET: Final[dict[str, Any]] = {"root_access_token": ""}
NEVER: Final = datetime(3000, 1, 1, tzinfo=UTC)


def shown(server: Server) -> Credentials:
    """The credentials that the service has printed."""
    found = dict(re.findall(r"export (\w+)=(\S+)", server.output))
    assert found["TASKCLUSTER_ROOT_URL"] == server.root_url
    return Credentials(found["TASKCLUSTER_CLIENT_ID"], found["TASKCLUSTER_ACCESS_TOKEN"])


async def test_the_secret_of_the_root_client_is_shown_once(taskbus: Programs) -> None:
    first = await taskbus.serve(**UNSET)
    root = shown(first)
    assert first.output.count(root.access_token) == 1
    assert (taskbus.folder / "taskbus.sqlite.key").stat().st_mode & 0o077 == 0
    async with Auth(first.root_url, credentials=root) as auth:
        assert await auth.current_scopes() == ("*",)
    first.terminate()
    assert await first.exit() == 0
    second = await taskbus.serve(**UNSET)
    assert root.access_token not in second.output
    assert "taskbus signin" in second.output
    async with Auth(second.root_url, credentials=root) as auth:
        assert await auth.current_scopes() == ("*",)


@pytest.mark.postgres
async def test_all_processes_of_a_service_know_the_root_client(
    taskbus: Programs, postgres_database_url: str
) -> None:
    server = await taskbus.serve("--processes", "3", database_url=postgres_database_url, **UNSET)
    root = shown(server)
    for _ in range(12):  # connections of their own, which the processes share among them
        async with Auth(server.root_url, credentials=root, retries=0) as auth:
            made = await auth.create_client("e2e/one", expires=NEVER)
            own = Credentials(made.client_id, made.access_token)
        async with Auth(server.root_url, credentials=own, retries=0) as auth:
            await auth.current_scopes()
        async with Auth(server.root_url, credentials=root, retries=0) as auth:
            await auth.delete_client("e2e/one")


async def test_without_authentication_the_service_says_so_aloud(taskbus: Programs) -> None:
    server = await taskbus.serve("--no-auth", **UNSET)
    assert "NO AUTHENTICATION" in server.output
    assert "TASKCLUSTER_ACCESS_TOKEN" not in server.output
    async with Auth(server.root_url, credentials=None) as auth:
        assert await auth.current_scopes() == ("*",)
