"""The first start, the ones after it, and the keys of what is secret."""

import asyncio
import logging
import os
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, cast

import pytest
import structlog
from sqlalchemy import text
from structlog.testing import capture_logs

from queue_service import commands
from queue_service.access import NEVER, NoRoot
from queue_service.api.permit import OPEN_GATE
from queue_service.secret_key import NoSecretKey, secret_of
from queue_service.service import Service
from queue_service.settings import Settings
from tests.api.asgi import Reply, request
from tests.api.manual_clock import ManualClock
from tests.api.secured_queue import SecuredQueue, Signed, ids, refused
from tests.auth.callers import Caller

ROOT_ID: Final = "static/taskbus/root"
ROOT_TOKEN: Final = "RootTokenOfTheTests-0123456789-RootTokenOf"
OTHER_TOKEN: Final = "OtherTokenOfTheTests-0123456789-OtherToken"
KEY: Final = "the secret key of these tests, long enough"
OTHER_KEY: Final = "another secret key, just as long as that one"


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting, in an empty directory."""
    for name in [name for name in os.environ if name.startswith("TASKBUS_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


class Started:
    """A service after its start, and its callers."""

    def __init__(self, service: Service, clock: ManualClock) -> None:
        self.service = service
        self.clock = clock
        self.root = self.signed(ROOT_ID, service.access.issuer.access_token)
        self.anonymous = Signed(cast(SecuredQueue, self), None)

    def signed(self, client_id: str, token: str) -> Signed:
        return Signed(cast(SecuredQueue, self), Caller(client_id, token))

    async def send(
        self, method: str, target: str, pieces: Any, *, headers: dict[str, str], service: str
    ) -> Reply:
        target = f"/api/{service}/v1{target}"
        return await request(self.service.application, method, target, headers=headers, body=pieces)

    async def client(self, client_id: str) -> Signed:
        body = {"expires": "2030-01-01T00:00:00Z", "description": "", "scopes": ["s"]}
        created = await self.root.put(f"/clients/{client_id}", body)
        return self.signed(client_id, created["accessToken"])


@asynccontextmanager
async def started(url: str, clock: ManualClock, **settings: Any) -> AsyncIterator[Started]:
    async with Service(
        Settings(database_url=url, **settings), clock=clock, roles=frozenset({"api"})
    ) as service:
        yield Started(service, clock)


def files(directory: Path) -> list[str]:
    """What lies there; not what artifacts are kept in."""
    return sorted(path.name for path in directory.iterdir() if "artifacts" not in path.name)


def mode(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


# ---- the root client ----------------------------------------------------------------------------------


async def test_the_first_start_makes_a_root_client_and_later_ones_know_it(
    database_url: str, clock: ManualClock
) -> None:
    async with started(database_url, clock) as first:
        assert first.service.access.made_root
        token = first.service.access.issuer.access_token
        assert await first.root.scopes() == ["*"]
    for _ in range(2):
        async with started(database_url, clock) as later:
            assert not later.service.access.made_root
            assert later.service.access.issuer.access_token == token
            assert await later.root.scopes() == ["*"]


async def test_a_root_client_that_was_made_is_shown_and_cannot_be_changed(
    database_url: str, clock: ManualClock
) -> None:
    async with started(database_url, clock) as service:
        found = (await service.root.get("/clients/"))["clients"]
        assert ids(found, "clientId") == [ROOT_ID]
        refused(await service.root.call("POST", "/clients/static%2Ftaskbus%2Froot/reset"), 400, "InputError")


async def test_a_root_token_of_the_settings_wins_over_the_one_that_was_made(
    database_url: str, clock: ManualClock
) -> None:
    async with started(database_url, clock, secret_key=KEY) as service:
        made = service.service.access.issuer.access_token
    async with started(database_url, clock, secret_key=KEY, root_access_token=ROOT_TOKEN) as service:
        assert not service.service.access.made_root
        assert await service.signed(ROOT_ID, ROOT_TOKEN).scopes() == ["*"]
        refused(
            await service.signed(ROOT_ID, made).call("GET", "/scopes/current"), 401, "AuthenticationFailed"
        )
        assert ids((await service.root.get("/clients/"))["clients"], "clientId") == [ROOT_ID]
    async with started(database_url, clock, secret_key=KEY) as service:
        assert service.service.access.issuer.access_token == made


@pytest.mark.parametrize("database_kind", [pytest.param("postgres", marks=pytest.mark.postgres)])
async def test_processes_that_start_first_at_once_agree(database_url: str, clock: ManualClock) -> None:
    async def begin() -> tuple[bool, str]:
        async with started(database_url, clock) as service:
            return service.service.access.made_root, service.service.access.issuer.access_token

    outcomes = await asyncio.gather(*(begin() for _ in range(4)))
    assert sorted(made for made, _ in outcomes) == [False, False, False, True]
    assert len({token for _, token in outcomes}) == 1


async def test_another_id_of_the_root_client(database_url: str, clock: ManualClock) -> None:
    async with started(database_url, clock, root_client_id="static/us/boss") as service:
        token = service.service.access.issuer.access_token
        assert service.service.access.issuer.client_id == "static/us/boss"
        assert await service.signed("static/us/boss", token).scopes() == ["*"]


# ---- what lasts ---------------------------------------------------------------------------------------


async def test_clients_and_roles_outlive_a_restart(database_url: str, clock: ManualClock) -> None:
    async with started(database_url, clock) as service:
        caller = (await service.client("kept")).caller
        await service.root.delete("/roles/anonymous")
    assert caller is not None
    async with started(database_url, clock) as service:
        assert (await service.root.get("/clients/kept"))["scopes"] == ["s"]
        refused(await service.root.by(caller).call("GET", "/clients/"), 403, "InsufficientScopes", "`kept`")
        refused(await service.anonymous.call("GET", "/scopes/current"), 403, "InsufficientScopes")


async def test_without_authentication_everybody_may_do_everything(
    database_url: str, clock: ManualClock
) -> None:
    async with started(database_url, clock, no_auth=True) as service:
        assert service.service.access.gate is OPEN_GATE
        assert await service.anonymous.scopes() == ["*"]
        assert (await service.anonymous.call("GET", "/clients/")).status == 200


# ---- static clients -----------------------------------------------------------------------------------


async def test_clients_of_the_settings(database_url: str, clock: ManualClock) -> None:
    static = [
        {"clientId": "static/ci", "accessToken": OTHER_TOKEN, "scopes": ["auth:list-roles", "assume:x"]}
    ]
    async with started(database_url, clock, static_clients=static) as service:
        caller = service.signed("static/ci", OTHER_TOKEN)
        assert (await caller.call("GET", "/roles/")).status == 200
        shown = await service.root.get("/clients/static%2Fci")
        assert (shown["scopes"], shown["expires"][:4]) == (["auth:list-roles", "assume:x"], str(NEVER.year))
        assert ids((await service.root.get("/clients/"))["clients"], "clientId") == ["static/ci", ROOT_ID]
        refused(await service.root.call("DELETE", "/clients/static%2Fci"), 400, "InputError")
    async with started(database_url, clock) as service:
        refused(await service.root.by(Caller("static/ci", OTHER_TOKEN)).call("GET", "/roles/"), 401,
                "AuthenticationFailed")  # fmt: skip


# ---- keys ---------------------------------------------------------------------------------------------


async def test_the_key_of_a_sqlite_file_lies_beside_it_for_its_owner_alone(
    tmp_path: Path, clock: ManualClock
) -> None:
    async with started(f"sqlite:///{tmp_path}/q.sqlite", clock):
        assert mode(tmp_path / "q.sqlite.key") == 0o600
    assert files(tmp_path) == ["q.sqlite", "q.sqlite.key", "q.sqlite.lock"]


@pytest.mark.parametrize("database_kind", [pytest.param("postgres", marks=pytest.mark.postgres)])
async def test_processes_on_several_machines_agree_by_the_root_token(
    database_url: str, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with started(database_url, clock, root_access_token=ROOT_TOKEN) as one:
        caller = await one.client("kept")
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        async with started(database_url, clock, root_access_token=ROOT_TOKEN) as two:
            assert caller.caller is not None
            refused(await two.root.by(caller.caller).call("GET", "/clients/"), 403, "InsufficientScopes")
    assert files(tmp_path) == ["elsewhere"]


@pytest.mark.parametrize("database_kind", [pytest.param("postgres", marks=pytest.mark.postgres)])
async def test_without_any_setting_the_key_of_postgresql_is_in_the_current_directory(
    database_url: str, clock: ManualClock, tmp_path: Path
) -> None:
    async with started(database_url, clock):
        assert mode(tmp_path / "taskbus.key") == 0o600


async def test_a_root_client_that_another_key_encrypted_stops_the_start(
    database_url: str, clock: ManualClock
) -> None:
    async with started(database_url, clock, secret_key=KEY):
        pass
    with pytest.raises(NoRoot, match=r"TASKBUS_SECRET_KEY.*TASKBUS_ROOT_ACCESS_TOKEN"):
        async with started(database_url, clock, secret_key=OTHER_KEY):
            pass
    async with started(database_url, clock, secret_key=KEY) as service:
        assert await service.root.scopes() == ["*"]


async def test_clients_that_another_key_encrypted_are_refused_until_they_are_reset(
    database_url: str, clock: ManualClock
) -> None:
    async with started(database_url, clock, secret_key=KEY, root_access_token=ROOT_TOKEN) as service:
        callers = [(await service.client(f"c{number}")).caller for number in range(3)]
    with capture_logs() as logs:
        async with started(
            database_url, clock, secret_key=OTHER_KEY, root_access_token=ROOT_TOKEN
        ) as service:
            for caller in callers:
                assert caller is not None
                reply = await service.root.by(caller).call("GET", "/scopes/current")
                refused(reply, 401, "AuthenticationFailed")
            body = {"expires": "2030-01-01T00:00:00Z", "description": "", "scopes": ["s"]}
            refused(await service.root.call("PUT", "/clients/c1", body), 409, "RequestConflict", "reset")
            reset = await service.root.post("/clients/c1/reset")
            assert "s" in await service.signed("c1", reset["accessToken"]).scopes()
    (told,) = [entry for entry in logs if entry["log_level"] == "error"]
    assert (told["clients"], told["among_them"]) == (3, "c0")
    assert "TASKBUS_SECRET_KEY" in told["event"]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda file: file.write_text("short"), "does not hold a secret key"),
        (lambda file: file.mkdir(), "TASKBUS_SECRET_KEY_FILE"),
    ],
)
def test_a_key_file_that_holds_no_key(tmp_path: Path, make: Any, words: str) -> None:
    make(tmp_path / "key")
    with pytest.raises(NoSecretKey, match=words):
        secret_of(Settings(secret_key_file=str(tmp_path / "key")))


def test_a_key_file_where_none_can_be_made(tmp_path: Path) -> None:
    with pytest.raises(NoSecretKey, match="does not exist"):
        secret_of(Settings(secret_key_file=str(tmp_path / "no" / "key")))


def test_the_setting_wins_over_the_file_and_the_file_over_the_root_token(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(OTHER_KEY + "\n")
    file.chmod(0o600)
    postgres: dict[str, Any] = {"database_url": "postgresql://localhost/x", "root_access_token": ROOT_TOKEN}
    assert secret_of(Settings(secret_key=KEY, secret_key_file=str(file), **postgres)) == KEY.encode()
    assert secret_of(Settings(secret_key_file=str(file), **postgres)) == OTHER_KEY.encode()
    assert secret_of(Settings(**postgres)) == ROOT_TOKEN.encode()


def test_a_key_file_that_others_may_read_is_complained_about(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(KEY)
    file.chmod(0o644)
    with capture_logs() as logs:
        assert secret_of(Settings(secret_key_file=str(file))) == KEY.encode()
    assert [entry["log_level"] for entry in logs] == ["warning"]


# ---- what is secret stays so --------------------------------------------------------------------------


@pytest.fixture
def everything_said() -> Iterator[list[str]]:
    """Every line of any log, at the lowest level."""
    lines: list[str] = []

    class Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    keeper, root = Keeper(), logging.getLogger()
    before, configured = root.level, structlog.get_config()
    root.addHandler(keeper)
    root.setLevel(logging.DEBUG)
    structlog.configure(
        processors=[structlog.processors.KeyValueRenderer()],
        logger_factory=lambda *names: _Lines(lines),
        cache_logger_on_first_use=False,
    )
    yield lines
    structlog.configure(**configured)
    root.setLevel(before)
    root.removeHandler(keeper)


class _Lines:
    def __init__(self, lines: list[str]) -> None:
        self._lines = lines

    def msg(self, message: str) -> None:
        self._lines.append(message)

    debug = info = warning = error = exception = critical = log = msg


async def test_no_secret_is_logged_shown_or_stored(
    database_url: str, clock: ManualClock, everything_said: list[str]
) -> None:
    said = everything_said
    static = [{"clientId": "static/ci", "accessToken": OTHER_TOKEN, "scopes": ["*"]}]
    async with started(database_url, clock, secret_key=KEY, static_clients=static) as service:
        root = service.service.access.issuer.access_token
        made = (await service.client("c")).caller
        assert made is not None
        caller = service.root.by(made)
        secrets = {root, OTHER_TOKEN, KEY, made.key}
        static_caller = service.signed("static/ci", OTHER_TOKEN)
        for reply in (
            await service.root.call("GET", "/clients/"),
            await service.root.call("GET", "/clients/c"),
            await service.root.call("POST", "/clients/c/disable"),
            await service.root.call("POST", "/clients/c/enable"),
            await service.root.call("PUT", "/clients/c", {}),
            await caller.call("GET", "/clients/"),
            await caller.call("GET", "/clients/", ts=5),
            await caller.call("GET", "/clients/", hash="x"),
            await service.root.by(Caller("c", root)).call("GET", "/scopes/current"),
            await static_caller.call("GET", "/clients/static%2Fci"),
            await static_caller.call("POST", "/clients/static%2Fci/reset"),
        ):
            said.append(reply.body.decode())
        said += map(repr, (service.service.settings, service.service.access, service.service.access.issuer))
        said.append(repr(await service.service.access.api._directory.client("c")))
        async with service.service.database.read() as connection:
            for table in ("clients", "outbox", "access_state"):
                said += map(str, (await connection.execute(text(f"SELECT * FROM {table}"))).all())
    assert len(said) > 15
    assert not [line for line in said for secret in secrets if secret in line]


# ---- the credentials again, on the same machine ------------------------------------------------------


async def credentials(url: str, **settings: object) -> tuple[str, str, str]:
    return await asyncio.to_thread(
        commands.root_credentials, {"database_url": url, "root_url": "http://here", **settings}
    )


async def test_the_root_credentials_can_be_read_beside_the_server(
    database_url: str, clock: ManualClock
) -> None:
    async with started(database_url, clock) as service:
        token = service.service.access.issuer.access_token
        assert await credentials(database_url) == ("http://here", ROOT_ID, token)
    assert await credentials(database_url) == ("http://here", ROOT_ID, token)
    assert await credentials(database_url, root_access_token=ROOT_TOKEN) == (
        "http://here",
        ROOT_ID,
        ROOT_TOKEN,
    )


async def test_there_are_no_root_credentials_before_the_first_start(
    database_url: str, tmp_path: Path
) -> None:
    with pytest.raises(commands.CannotStart, match="taskbus serve"):
        await credentials(database_url)
    with pytest.raises(commands.CannotStart, match="no database"):
        await credentials(f"sqlite:///{tmp_path}/none.sqlite")
    assert files(tmp_path) == []


async def test_root_credentials_that_another_key_encrypted(database_url: str, clock: ManualClock) -> None:
    async with started(database_url, clock, secret_key=KEY):
        pass
    with pytest.raises(commands.CannotStart, match="TASKBUS_SECRET_KEY"):
        await credentials(database_url, secret_key=OTHER_KEY)
    with pytest.raises(commands.CannotStart, match="does not exist"):
        await credentials(database_url, secret_key_file="missing.key")
