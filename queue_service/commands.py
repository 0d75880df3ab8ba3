"""What the command line starts: serve, api, loops, migrate, doctor. Errors name the setting to change."""

import asyncio
import gc
import os
import resource
import signal
import socket
import sys
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import Any, Final

import structlog
import uvicorn
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from sqlalchemy.engine import make_url

from events.broker import JournalUnusable, PortInUse
from queue_service.access import NoRoot, stored_root_token
from queue_service.api_processes import LISTEN_FD, ApiProcesses, inherited_listener, process_number
from queue_service.artifact_storage import ArtifactStorageUnusable
from queue_service.clock import SystemClock
from queue_service.doctor.examination import examine
from queue_service.doctor.finding import Finding, failure
from queue_service.http_protocol import HttpProtocol
from queue_service.logs import configure_logs
from queue_service.metrics import Metrics
from queue_service.metrics_server import MetricsServer
from queue_service.secret_key import NoSecretKey, key_file
from queue_service.service import ROLES, SchemaOutdated, Service
from queue_service.settings import LOOPBACK, Settings
from queue_service.store.database import StoreUnavailable, open_database
from queue_service.store.migrations import runner
from queue_service.store.single_process import DatabaseInUse
from schemas import tracing

logger = structlog.get_logger(__name__)

BACKLOG: Final = 2048
OTHER_FILES: Final = 256
"""Open files that are no HTTP connections, at most: of the database, the broker, artifacts."""
STOP_SECONDS: Final = 10
MAX_FRAME: Final = 1024 * 1024
"""Bytes of a WebSocket frame (``seed-systems.md`` WS-8)."""
PING_SECONDS: Final = 20.0
PONG_SECONDS: Final = 10.0
"""Without an answer to a ping for so long, a socket is lost (WS-7)."""
TAKES_NOTHING_SECONDS: Final = 60
GIVE_UP_SECONDS: Final = 20
"""Beside the time for attached workers; before supervisors lose patience, which is after 30 s for most."""


class CannotStart(Exception):
    """The service cannot start; the text says what to do."""


REFUSALS: Final = (
    CannotStart,
    DatabaseInUse,
    SchemaOutdated,
    ArtifactStorageUnusable,
    NoSecretKey,
    NoRoot,
)
"""Why the service does not start; their texts say what to do."""


def serve(overrides: dict[str, object]) -> int:
    """Everything in this process, and with ``processes`` N the API in N-1 further ones; until SIGTERM."""
    return _run(overrides, ROLES, announce=True)


def api(overrides: dict[str, object]) -> int:
    """The HTTP API alone; on PostgreSQL any number of such processes may run."""
    return _run(overrides, frozenset({"api"}), announce=LISTEN_FD not in os.environ)


def loops(overrides: dict[str, object]) -> int:
    """The background work and the relay alone; on PostgreSQL any number of such processes may run."""
    return _run(overrides, frozenset({"loops"}), announce=False)


def migrate(overrides: dict[str, object]) -> int:
    """Bring the database to the newest schema and print what was done."""
    settings = _settings(overrides)
    if settings is None:
        return 2

    async def run() -> tuple[str | None, str]:
        database = open_database(settings.database_url, SystemClock())
        try:
            return await runner.migrate(database)
        finally:
            await database.close()

    configure_logs("WARNING", settings.log_format)
    try:
        before, after = asyncio.run(run())
    except StoreUnavailable as error:
        return _failed(f"{error}\ncheck TASKBUS_DATABASE_URL and that the database server runs")
    print(
        f"schema revision {before or 'none'} -> {after}"
        if before != after
        else f"schema is up to date ({after})"
    )
    return 0


def doctor(overrides: dict[str, object]) -> list[Finding]:
    """What is well and what is not with everything that a service with these settings needs."""
    settings = _read_settings(overrides)
    if not isinstance(settings, Settings):
        advice = "correct it; docs/reference/settings.md lists all settings"
        return [failure("settings", text, advice) for text in settings]
    configure_logs("CRITICAL", settings.log_format)  # what is wrong is among the findings

    async def run() -> list[Finding]:
        return [finding async for finding in examine(settings)]

    return asyncio.run(run())


def root_credentials(overrides: dict[str, object]) -> tuple[str, str, str]:
    """Root URL, client id and access token of the root client; changes nothing, and needs no server to run.

    Raises CannotStart, whose text says what to do.
    """
    settings = _settings(overrides)
    if settings is None:
        raise CannotStart("the settings are wrong")
    token = settings.root_access_token.get_secret_value()
    try:
        return settings.reached_at, settings.root_client_id, token or asyncio.run(_stored_token(settings))
    except (NoRoot, NoSecretKey) as error:
        raise CannotStart(str(error)) from None
    except StoreUnavailable as error:
        raise CannotStart(f"{error}\ncheck TASKBUS_DATABASE_URL") from None


async def _stored_token(settings: Settings) -> str:
    database = open_database(settings.database_url, SystemClock())
    try:
        file = database.url.database or ""
        if database.is_sqlite and not await asyncio.to_thread(os.path.exists, file):
            raise NoRoot(f"there is no database {file}: start `taskbus serve` first, with the same settings")
        if await runner.current_revision(database) != runner.newest_revision():
            raise NoRoot("the database has another schema than this program: start `taskbus serve` first")
        return await stored_root_token(database, settings)
    finally:
        await database.close()


def _run(overrides: dict[str, object], roles: frozenset[str], *, announce: bool) -> int:
    processes = int(str(overrides.pop("processes", 1)))
    settings = _settings(overrides)
    if settings is None:
        return 2
    configure_logs(settings.log_level, settings.log_format)
    try:
        _check(settings, roles, processes)
        _trace(settings)
        listener = _listen(settings) if "api" in roles else None
        if listener is not None:
            settings = settings.model_copy(update={"port": listener.getsockname()[1]})
        metrics = _listen_for_metrics(settings)
        with asyncio.Runner(loop_factory=_loop_factory()) as runner_:
            runner_.run(_serve(settings, roles, listener, metrics, processes, announce=announce))
    except REFUSALS as error:
        return _failed(str(error))
    except StoreUnavailable as error:
        return _failed(f"{error}\ncheck TASKBUS_DATABASE_URL and that the database server runs")
    except JournalUnusable as error:
        return _failed(f"the built-in AMQP broker cannot start: {error}\nthe setting is TASKBUS_AMQP_JOURNAL")
    except PortInUse as error:
        return _failed(
            f"the built-in AMQP broker cannot start: {error}\n"
            "choose another port with TASKBUS_AMQP_PORT, or use the broker that runs there with "
            "TASKBUS_AMQP_URL"
        )
    return 0


def _settings(overrides: dict[str, object]) -> Settings | None:
    settings = _read_settings(overrides)
    if isinstance(settings, Settings):
        return settings
    for text in settings:
        print(f"taskbus: {text}", file=sys.stderr)
    return None


def _read_settings(overrides: dict[str, object]) -> Settings | list[str]:
    """The settings, or what is wrong with them."""
    try:
        values: dict[str, Any] = dict(overrides)
        return Settings(**values)
    except ValidationError as error:
        return [_violation(item) for item in error.errors(include_url=False, include_input=False)]
    except (FileNotFoundError, ValueError) as error:
        return [str(error)]


def _violation(item: ErrorDetails) -> str:
    setting, *place = (str(part) for part in item["loc"])
    name = ".".join(("TASKBUS_" + setting.upper(), *place))
    return f"{name}: {item['msg'].removeprefix('Value error, ')}"


def _check(settings: Settings, roles: frozenset[str], processes: int) -> None:
    if "api" in roles and settings.no_auth and not settings.loopback_only:
        raise CannotStart(
            f"TASKBUS_HOST is {settings.host}: without authentication the service serves this machine only. "
            "Use 127.0.0.1, or leave out --no-auth and TASKBUS_NO_AUTH."
        )
    if "loops" in roles and not settings.amqp_url and settings.amqp_host not in LOOPBACK:
        raise CannotStart(
            f"TASKBUS_AMQP_HOST is {settings.amqp_host}: the built-in broker is open to its default account "
            "and serves this machine only. Use 127.0.0.1, or a broker of your own with TASKBUS_AMQP_URL."
        )
    if settings.database_url.startswith("sqlite") and (processes > 1 or roles != ROLES):
        raise CannotStart(
            "a SQLite file serves one process: use `taskbus serve` without --processes, "
            "or set TASKBUS_DATABASE_URL to a PostgreSQL database"
        )
    if roles == {"loops"} and not settings.amqp_url:
        raise CannotStart("`taskbus loops` publishes to a broker of its own: set TASKBUS_AMQP_URL")


def _trace(settings: Settings) -> None:
    """Begin to export traces, if that is wanted."""
    if settings.traces == "off":
        return
    try:
        from events.opentelemetry import exporting
    except ModuleNotFoundError as error:
        raise CannotStart(
            f"TASKBUS_TRACES is {settings.traces}, and {error.name} is not installed: "
            "pip install 'taskbus[traces]'"
        ) from None
    tracing.use(exporting("taskbus"))


def _listen(settings: Settings) -> socket.socket:
    if (inherited := inherited_listener()) is not None:
        return inherited
    listener = _bound(settings.host, settings.port, "choose another port with --port or TASKBUS_PORT")
    if sys.platform == "linux":
        # A client that takes nothing of its reply any more would hold the connection for ever.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, TAKES_NOTHING_SECONDS * 1000)
    listener.listen(BACKLOG)
    return listener


def _listen_for_metrics(settings: Settings) -> socket.socket | None:
    if not settings.metrics_port:
        return None
    port = settings.metrics_port + process_number()
    listener = _bound(settings.metrics_host, port, "choose another port with TASKBUS_METRICS_PORT")
    listener.listen()
    return listener


def _bound(host: str, port: int, advice: str) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        reason = error.strerror if isinstance(error, OSError) else error
        raise CannotStart(f"cannot listen on {host}:{port} ({reason}): {advice}") from None
    listener.setblocking(False)
    return listener


async def _serve(
    settings: Settings,
    roles: frozenset[str],
    listener: socket.socket | None,
    metrics: socket.socket | None,
    processes: int,
    *,
    announce: bool,
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def end() -> None:
        stop.set()
        loop.call_later(GIVE_UP_SECONDS + settings.drain_seconds, _give_up)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    async with Service(settings, roles=roles) as service, AsyncExitStack() as ending:
        # What was loaded until now stays: the collector need not look through it again and again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 20, 50)
        if metrics is not None:
            telling = MetricsServer(metrics, Metrics(service.watched()), service.health)
            await ending.enter_async_context(telling)
        if listener is None:
            logger.info("background work runs")
            await stop.wait()
            return
        async with ApiProcesses(processes - 1, listener, _handed_down(settings)) as others:
            if announce:
                _announce(service, settings)
            await _serve_http(service, settings, listener, stop, others)


def _give_up() -> None:
    """End at once, as by SIGKILL: something does not answer, such as a database behind a dead link."""
    logger.error("the end took too long and is forced now; nothing is lost")
    os._exit(1)


def _handed_down(settings: Settings) -> dict[str, str]:
    """What a further API process must know beside the environment."""
    return {
        "TASKBUS_DATABASE_URL": settings.database_url,
        "TASKBUS_HOST": settings.host,
        "TASKBUS_PORT": str(settings.port),
        "TASKBUS_ROOT_URL": settings.root_url,
        "TASKBUS_NO_AUTH": str(settings.no_auth),
    }


def _connections(settings: Settings) -> int:
    """How many connections this process may have: each is an open file, of which systems give few unasked."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    if soft == resource.RLIM_INFINITY:
        return settings.max_connections
    return min(settings.max_connections, max(soft - OTHER_FILES, 1))


async def _serve_http(
    service: Service,
    settings: Settings,
    listener: socket.socket,
    stop: asyncio.Event,
    others: ApiProcesses,
) -> None:
    config = uvicorn.Config(
        service.application,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        date_header=True,
        proxy_headers=False,
        timeout_keep_alive=settings.idle_timeout,
        timeout_graceful_shutdown=STOP_SECONDS,
        ws="websockets-sansio",
        ws_max_size=MAX_FRAME,
        ws_ping_interval=PING_SECONDS,
        ws_ping_timeout=PONG_SECONDS,
        ws_per_message_deflate=False,
        http=partial(HttpProtocol, max_connections=_connections(settings)),  # type: ignore[arg-type]
    )
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    serving = asyncio.create_task(server._serve([listener]), name="http server")
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
    others.end()
    await service.wind_down()
    server.should_exit = True
    await serving
    stopping.cancel()


def _announce(service: Service, settings: Settings) -> None:
    root_url = settings.reached_at
    built_in = "" if settings.amqp_url else "  (built in; guest/guest)"
    lines = [
        f"taskbus {service.version} serves",
        f"  HTTP API   {root_url}     documentation: {root_url}/docs",
        *([f"  AMQP       {_without_password(service.amqp_url)}{built_in}"] if service.amqp_url else []),
        f"  database   {make_url(settings.database_url).render_as_string(hide_password=True)}",
        f"  access     {_access(service, settings)}",
        *_root_lines(root_url, service, settings),
        "try:",
        *([] if settings.no_auth else ['  eval "$(taskbus signin)"']),
        f"  taskbus task create --root-url {root_url} --queue demo/local -- echo hello",
    ]
    print("\n".join(lines), flush=True)
    if settings.no_auth:
        logger.warning("there is no authentication: every program on this machine may do everything")


def _access(service: Service, settings: Settings) -> str:
    client_id = settings.root_client_id
    if settings.no_auth:
        return "NO AUTHENTICATION: every program on this machine may do everything"
    if service.access.made_root:
        return f"made the client {client_id}, which may do everything; its secret is shown this once:"
    if settings.root_access_token:
        return f"root client {client_id}, with the secret of TASKBUS_ROOT_ACCESS_TOKEN"
    return f"root client {client_id}; `taskbus signin` shows its secret on this machine"


def _root_lines(root_url: str, service: Service, settings: Settings) -> list[str]:
    """Of a root client that is new, what clients read from their environment, and what encrypts it here."""
    if settings.no_auth or not service.access.made_root:
        return []
    root, file = service.access.issuer, key_file(settings)
    return [
        f"    export TASKCLUSTER_ROOT_URL={root_url}",
        f"    export TASKCLUSTER_CLIENT_ID={root.client_id}",
        f"    export TASKCLUSTER_ACCESS_TOKEN={root.access_token}",
        *(
            [f"  secret key {file}     decrypts the database's secrets: keep a copy elsewhere"]
            if file
            else []
        ),
    ]


def _without_password(url: str) -> str:
    head, at, tail = url.rpartition("@")
    return f"{head.rsplit(':', 1)[0]}:***{at}{tail}" if at else url


def _loop_factory() -> Any:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _failed(text: str) -> int:
    print(f"taskbus: {text}", file=sys.stderr)
    return 1
