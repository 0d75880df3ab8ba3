"""Who imports this package gets what is needed, and nothing of the server."""

import json
import subprocess
import sys

import pytest

import taskbus

SERVER = {"queue_service", "sqlalchemy", "fastapi", "uvicorn", "structlog", "asyncpg", "aiosqlite"}
AMQP = {"aio_pika", "aiormq", "pamqp"}
HTTP = {"aiohttp"}


def loaded(statement: str) -> set[str]:
    """The top-level modules a fresh interpreter has after a statement."""
    program = f"{statement}; import sys, json; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in json.loads(done.stdout)}


@pytest.mark.parametrize(
    ("statement", "unwanted"),
    [
        ("import taskbus", SERVER | AMQP | HTTP | {"pydantic"}),
        ("from taskbus import command_task", SERVER | AMQP | HTTP),
        ("from taskbus import Queue, Worker, CommandHandler", SERVER | AMQP),
        ("import taskbus.jobs", SERVER | AMQP),
        ("import taskbus.cli.app", SERVER | AMQP | HTTP),
        ("import taskbus.cli.server", SERVER | AMQP | HTTP),
        ("import taskbus.cli.task, taskbus.cli.worker", SERVER | AMQP),
        ("import taskbus.cli.listen, taskbus.cli.watch", SERVER),
    ],
)
def test_an_import_loads_no_more_than_it_needs(statement: str, unwanted: set[str]) -> None:
    assert not loaded(statement) & unwanted


def test_every_public_name_can_be_had() -> None:
    assert all(getattr(taskbus, name) is not None for name in taskbus.__all__)
    assert dir(taskbus) == sorted(taskbus.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'taskbus' has no attribute 'Qeue'"):
        _ = taskbus.Qeue  # type: ignore[attr-defined]
