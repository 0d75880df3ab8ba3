"""The commands that start the server. It is an optional part: nothing of it is imported before they run."""

from types import ModuleType
from typing import Annotated, Any

import typer

from taskbus.cli.console import FAILURE, fail

Host = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="Address the HTTP API listens on; TASKBUS_HOST.")
]
Port = Annotated[int | None, typer.Option(metavar="PORT", help="Port of the HTTP API; TASKBUS_PORT.")]
DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME; TASKBUS_DATABASE_URL.",
    ),
]
AmqpUrl = Annotated[
    str | None,
    typer.Option(
        metavar="URL", help="AMQP broker; without one the built-in broker starts. TASKBUS_AMQP_URL."
    ),
]
Processes = Annotated[
    int | None,
    typer.Option(
        min=1, metavar="N", help="Processes that answer HTTP calls; more than one needs PostgreSQL."
    ),
]

NoAuth = Annotated[
    bool,
    typer.Option("--no-auth", help="Let everybody on this machine do everything; for trying things only."),
]

_OURS = ("queue_service", "events", "schemas", "taskbus")


def serve(
    host: Host = None,
    port: Port = None,
    database_url: DatabaseUrl = None,
    amqp_url: AmqpUrl = None,
    processes: Processes = None,
    no_auth: NoAuth = False,
) -> None:
    """Serve everything on this machine.

    The HTTP API, the background work, and an AMQP broker if none is given, until SIGTERM or Ctrl-C. Callers
    need credentials; 'taskbus signin' prints those of the root client.
    """
    _start(
        "serve",
        host=host,
        port=port,
        database_url=database_url,
        amqp_url=amqp_url,
        processes=processes,
        no_auth=no_auth or None,
    )


def api(
    host: Host = None,
    port: Port = None,
    database_url: DatabaseUrl = None,
    processes: Processes = None,
    no_auth: NoAuth = False,
) -> None:
    """Serve the HTTP API alone.

    Any number of them may run beside 'taskbus loops' on one PostgreSQL database.
    """
    _start(
        "api",
        host=host,
        port=port,
        database_url=database_url,
        processes=processes,
        no_auth=no_auth or None,
    )


def loops(database_url: DatabaseUrl = None, amqp_url: AmqpUrl = None) -> None:
    """Run the background work alone.

    That is expired claims, deadlines, and publishing events. Any number may run on one PostgreSQL database.
    """
    _start("loops", database_url=database_url, amqp_url=amqp_url)


def migrate(database_url: DatabaseUrl = None) -> None:
    """Bring the database to the newest schema."""
    _start("migrate", database_url=database_url)


def _start(command: str, **options: object) -> None:
    given: dict[str, object] = {name: value for name, value in options.items() if value is not None}
    start: Any = getattr(commands(), command)
    raise typer.Exit(start(given))


def commands() -> ModuleType:
    """The server's entry points. Ends the command when the server is not installed."""
    try:
        from queue_service import commands
    except ModuleNotFoundError as missing:
        if missing.name is not None and missing.name.partition(".")[0] in _OURS:
            raise
        fail("the server is not installed: pip install 'taskbus[server]'", FAILURE)
    return commands
