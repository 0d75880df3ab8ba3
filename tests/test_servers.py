"""The servers that other tests run on: found in order, refused with reasons, gone with their owner."""

import os
import pwd
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn
from urllib.parse import urlsplit

import asyncpg
import pytest

import tests.conftest as session
import tests.servers as servers
from tests.servers.probes import NotUsable, probe_postgres, probe_rabbitmq
from tests.servers.processes import Programs, Workspace, free_port, workspace
from tests.servers.programs import packaged_postgres, system_postgres

REPOSITORY = Path(__file__).parent.parent


def refuse(reason: str) -> NoReturn:
    raise NotUsable(reason)


@contextmanager
def serving(url: str) -> Iterator[str]:
    yield url


@pytest.fixture
def server_program() -> Iterator[subprocess.Popen[str]]:
    """``python -m tests.servers postgres --fsync``, which has to start a server of its own for that."""
    if not (_works(system_postgres) or _works(packaged_postgres)):
        pytest.skip("no PostgreSQL programs on this machine")
    environment = {name: value for name, value in os.environ.items() if name != servers.POSTGRES_VARIABLE}
    command = [sys.executable, "-m", "tests.servers", "postgres", "--fsync"]
    with subprocess.Popen(
        command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True
    ) as program:
        yield program
        program.kill()


def _works(find: object) -> bool:
    try:
        return callable(find) and bool(find())
    except NotUsable:
        return False


async def test_the_postgres_user_may_create_databases(postgres_url: str) -> None:
    connection = await asyncpg.connect(postgres_url)
    try:
        assert await connection.fetchval("SELECT rolcreatedb FROM pg_roles WHERE rolname = current_user")
    finally:
        await connection.close()


def test_the_broker_is_a_rabbitmq(rabbitmq_url: str) -> None:
    probe_rabbitmq(rabbitmq_url)


async def test_a_probe_works_while_an_event_loop_runs(postgres_url: str) -> None:
    probe_postgres(postgres_url, fsync=False)


def test_the_first_way_that_works_is_taken_and_the_next_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOME_URL", raising=False)
    ways = [
        ("broken", lambda: refuse("no")),
        ("good", lambda: serving("url://good")),
        ("last", lambda: pytest.fail("tried")),
    ]
    with servers._first_that_works("Service", "SOME_URL", refuse, ways) as url:
        assert url == "url://good"


def test_the_environment_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_URL", "url://given")
    ways = [("other", lambda: pytest.fail("tried"))]
    with servers._first_that_works("Service", "SOME_URL", lambda url: None, ways) as url:
        assert url == "url://given"


def test_a_dead_server_in_the_environment_is_an_error_and_not_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(servers.AMQP_VARIABLE, f"amqp://guest:guest@127.0.0.1:{free_port()}/")
    with pytest.raises(
        ValueError, match=r"TASKBUS_TEST_AMQP_URL names a RabbitMQ that is not usable: .*refused"
    ):
        servers.rabbitmq().__enter__()


def test_what_was_tried_is_told_with_each_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOME_URL", raising=False)
    ways = [("here", lambda: refuse("nothing listens")), ("there", lambda: refuse("no engine"))]
    with pytest.raises(servers.Unavailable) as missing:
        servers._first_that_works("Service", "SOME_URL", refuse, ways).__enter__()
    assert str(missing.value).splitlines() == [
        "no Service for the tests: set SOME_URL to the URL of one. Tried:",
        "  - SOME_URL: not set",
        "  - here: nothing listens",
        "  - there: no engine",
    ]


@pytest.mark.parametrize(
    ("required", "outcome"), [(False, pytest.skip.Exception), (True, pytest.fail.Exception)]
)
def test_a_missing_service_skips_or_where_it_is_required_fails(
    monkeypatch: pytest.MonkeyPatch, required: bool, outcome: type[BaseException]
) -> None:
    nothing = servers.Unavailable("Service", "SOME_URL", [])
    services = SimpleNamespace(get=lambda name: nothing)
    request: Any = SimpleNamespace(config=SimpleNamespace(stash={session.SERVICES: services}))
    monkeypatch.setattr(session, "REQUIRED", required)
    with pytest.raises(outcome, match="set SOME_URL"):
        session._url(request, "postgres")


def test_programs_that_the_account_may_not_reach_are_copied_with_what_they_need(tmp_path: Path) -> None:
    site, place = tmp_path / "site", tmp_path / "place"
    for folder in (site / "pg" / "bin", site / "libs", site / "other", place):
        folder.mkdir(parents=True)
    site.chmod(0o700)
    programs = Programs(site / "pg" / "bin", root=site, parts=("pg", "libs"))
    reached = Workspace(place, pwd.getpwuid(os.geteuid())).reachable(programs)
    assert reached == place / "programs" / "pg" / "bin"
    assert reached.is_dir()
    assert {part.name for part in (place / "programs").iterdir()} == {"pg", "libs"}


def test_what_a_killed_run_left_behind_is_removed_and_what_is_in_use_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    abandoned = tmp_path / "taskbus-test-abandoned"
    abandoned.mkdir()
    (abandoned / "owner.lock").touch()
    with workspace("nobody") as first, workspace("nobody") as second:
        assert set(tmp_path.iterdir()) == {first.path, second.path}


def test_a_program_that_fails_to_start_tells_its_last_words() -> None:
    with workspace("nobody") as place:
        script = ["sh", "-c", "echo out of memory; exit 3"]
        with place.serving(script, stop=signal.SIGTERM) as process:
            process.wait()
            with pytest.raises(NotUsable, match="it ended with 3: out of memory"):
                place.await_answer(process, lambda: None)


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_started_server_ends_with_its_owner(
    server_program: subprocess.Popen[str], sent: signal.Signals
) -> None:
    assert server_program.stdout is not None
    variable, _, url = server_program.stdout.readline().strip().partition("=")
    assert variable == servers.POSTGRES_VARIABLE
    probe_postgres(url, fsync=True)
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port)) as connection:
        server_program.send_signal(sent)
        while connection.recv(1024):  # it may say why; the end of the stream means that it has gone
            pass
    assert server_program.wait() == (-signal.SIGKILL if sent == signal.SIGKILL else 0)
