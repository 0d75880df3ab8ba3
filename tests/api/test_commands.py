"""Starting the service where it cannot start: the exit status, and what the operator is told to change."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from queue_service import commands
from queue_service.service import ROLES
from queue_service.settings import Settings
from queue_service.store.single_process import SingleProcess
from tests.api.databases import PostgresDatabase

REPOSITORY: Final = Path(__file__).parents[2]

Command = Callable[[dict[str, object]], int]
Refusal = Callable[..., str]


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting but free ports, in an empty directory; logs stay as the tests have them."""
    for name in [name for name in os.environ if name.startswith("TASKBUS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TASKBUS_PORT", "0")
    monkeypatch.setenv("TASKBUS_AMQP_PORT", "0")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(commands, "configure_logs", lambda level, form: None)


@pytest.fixture
def refusal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refusal:
    """What a command says when it cannot start with these settings: a few lines, none of them a traceback."""

    def refused(command: Command, options: dict[str, object] | None = None, **settings: str) -> str:
        for name, value in settings.items():
            monkeypatch.setenv(f"TASKBUS_{name.upper()}", value)
        assert command(options or {}) in (1, 2)
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith("taskbus: ")
        assert len(said.err.splitlines()) <= 4
        return said.err

    return refused


@pytest.fixture
def taken_port() -> Iterator[str]:
    """A port of this machine that somebody else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield str(listener.getsockname()[1])


# ---- addresses ----------------------------------------------------------------------------------------


def test_a_port_that_is_taken(refusal: Refusal, taken_port: str) -> None:
    text = refusal(commands.serve, port=taken_port)
    assert f"127.0.0.1:{taken_port}" in text
    assert "TASKBUS_PORT" in text


def test_a_port_that_is_taken_ends_the_program(taken_port: str, tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "taskbus", "serve", "--port", taken_port],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith(f"taskbus: cannot listen on 127.0.0.1:{taken_port}")


def test_a_port_of_the_broker_that_is_taken(refusal: Refusal, taken_port: str) -> None:
    text = refusal(commands.serve, amqp_port=taken_port)
    assert taken_port in text
    assert "TASKBUS_AMQP_PORT" in text
    assert "TASKBUS_AMQP_URL" in text


@pytest.mark.parametrize("command", [commands.serve, commands.api])
def test_an_address_that_others_can_reach_without_authentication(
    refusal: Refusal, command: Command, tmp_path: Path
) -> None:
    text = refusal(command, host="0.0.0.0", no_auth="1")
    assert "TASKBUS_HOST is 0.0.0.0" in text
    assert "TASKBUS_NO_AUTH" in text
    assert "127.0.0.1" in text
    assert not list(tmp_path.iterdir())


def test_an_address_of_the_broker_that_others_can_reach() -> None:
    with pytest.raises(commands.CannotStart, match="TASKBUS_AMQP_HOST"):
        commands._check(Settings(amqp_host="0.0.0.0"), ROLES, 1)


# ---- settings -----------------------------------------------------------------------------------------


def test_several_wrong_settings_are_all_told(refusal: Refusal) -> None:
    text = refusal(commands.serve, port="http", claim_timeout="0", amqp_url="redis://localhost")
    assert {line.split(": ")[1] for line in text.splitlines()} == {
        "TASKBUS_PORT",
        "TASKBUS_CLAIM_TIMEOUT",
        "TASKBUS_AMQP_URL",
    }


def test_a_setting_of_several_parts_is_told_with_the_part_that_is_wrong(refusal: Refusal) -> None:
    text = refusal(
        commands.serve, static_clients='[{"clientId": "static/a", "accessToken": "hush", "scopes": []}]'
    )
    assert text.startswith("taskbus: TASKBUS_STATIC_CLIENTS.0.accessToken: expected 22 to 66")
    assert "hush" not in text


def test_a_key_file_that_holds_no_key(refusal: Refusal, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("hush")
    text = refusal(commands.serve, secret_key_file=str(tmp_path / "key"))
    assert "does not hold a secret key" in text
    assert "hush" not in text


def test_more_processes_than_sqlite_serves(refusal: Refusal) -> None:
    text = refusal(commands.serve, {"processes": 2})
    assert "SQLite" in text
    assert "TASKBUS_DATABASE_URL" in text


@pytest.mark.parametrize("command", [commands.api, commands.loops])
def test_a_part_of_the_service_on_sqlite(refusal: Refusal, command: Command) -> None:
    assert "TASKBUS_DATABASE_URL" in refusal(command)


def test_background_work_without_a_broker(refusal: Refusal) -> None:
    assert "TASKBUS_AMQP_URL" in refusal(commands.loops, database_url="postgresql://127.0.0.1/taskbus")


# ---- databases ----------------------------------------------------------------------------------------


def test_a_second_process_on_the_same_sqlite_file(refusal: Refusal, tmp_path: Path) -> None:
    file = tmp_path / "queue.sqlite"
    with SingleProcess(str(file)):
        text = refusal(commands.serve, database_url=f"sqlite:///{file}")
    assert str(file) in text
    assert str(os.getpid()) in text
    assert "TASKBUS_DATABASE_URL" in text


def test_a_sqlite_file_is_free_again_when_its_process_has_ended(tmp_path: Path) -> None:
    for _ in range(2):
        with SingleProcess(str(tmp_path / "queue.sqlite")):
            pass


@pytest.mark.parametrize("command", [commands.serve, commands.migrate])
def test_a_database_server_that_does_not_run(refusal: Refusal, command: Command) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        text = refusal(command, database_url=f"postgresql://postgres:hush@127.0.0.1:{port}/taskbus")
    assert "TASKBUS_DATABASE_URL" in text
    assert "hush" not in text


@pytest.mark.postgres
def test_a_database_that_does_not_exist(refusal: Refusal, postgres_url: str) -> None:
    url = postgres_url.rpartition("/")[0] + "/no_such_database"
    text = refusal(commands.serve, database_url=url)
    assert "no_such_database" in text
    assert "TASKBUS_DATABASE_URL" in text


def test_a_file_that_is_no_database(refusal: Refusal, tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("Some notes of somebody, longer than the header of a database.\n" * 10)
    assert "TASKBUS_DATABASE_URL" in refusal(commands.serve, database_url=f"sqlite:///{file}")


def test_a_file_in_a_directory_that_cannot_be(refusal: Refusal, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    url = f"sqlite:///{tmp_path}/file/queue.sqlite"
    assert "TASKBUS_DATABASE_URL" in refusal(commands.serve, database_url=url)


@pytest.mark.postgres
def test_a_postgresql_schema_of_another_time(
    refusal: Refusal, capsys: pytest.CaptureFixture[str], postgres_database: PostgresDatabase
) -> None:
    with postgres_database.unmigrated() as url:
        assert "taskbus migrate" in refusal(commands.serve, database_url=url)
        for outcome in ("schema revision none -> ", "schema is up to date ("):
            assert commands.migrate({}) == 0
            assert capsys.readouterr().out.startswith(outcome)
