"""What an operator sees when the service cannot start: a text that names the setting, and no traceback."""

import socket
from collections.abc import Iterator

import pytest

from tests.e2e.programs import Programs

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(60)]

FAILED, WRONG_SETTING = 1, 2


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port that something else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


async def assert_refuses(taskbus: Programs, *words: str, status: int = FAILED, **settings: object) -> None:
    """It ends with this status, having said these words on at most two lines, and nothing else."""
    program = await taskbus.run("serve", **settings)
    assert await program.exit() == status, program.output
    assert program.output.startswith("taskbus: ")
    assert len(program.lines) <= 2, program.output
    assert "hush" not in program.output
    for word in words:
        assert word in program.output


async def test_http_port_taken(taskbus: Programs, taken_port: int) -> None:
    await assert_refuses(taskbus, f"127.0.0.1:{taken_port}", "TASKBUS_PORT", port=taken_port)


async def test_amqp_port_taken(taskbus: Programs, taken_port: int) -> None:
    await assert_refuses(taskbus, str(taken_port), "TASKBUS_AMQP_PORT", amqp_port=taken_port)


async def test_second_process_on_the_same_sqlite_file(taskbus: Programs, sqlite_database_url: str) -> None:
    first = await taskbus.serve(database_url=sqlite_database_url)
    holder = f"pid {first.process.pid}"
    await assert_refuses(taskbus, holder, "TASKBUS_DATABASE_URL", database_url=sqlite_database_url)


@pytest.mark.postgres
async def test_postgres_that_was_not_migrated(taskbus: Programs, empty_postgres_url: str) -> None:
    await assert_refuses(taskbus, "taskbus migrate", database_url=empty_postgres_url)


async def test_unreachable_database(taskbus: Programs) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"postgresql://taskbus:hush@127.0.0.1:{unused.getsockname()[1]}/taskbus"
        await assert_refuses(taskbus, "cannot be reached", "TASKBUS_DATABASE_URL", database_url=url)


async def test_wrong_setting(taskbus: Programs) -> None:
    url = "amqp://taskbus:hush@localhost:99999/"
    await assert_refuses(taskbus, "TASKBUS_AMQP_URL", "port", status=WRONG_SETTING, amqp_url=url)


async def test_address_that_others_can_reach_without_authentication(taskbus: Programs) -> None:
    await assert_refuses(taskbus, "TASKBUS_HOST", "TASKBUS_NO_AUTH", host="0.0.0.0", no_auth=True)
