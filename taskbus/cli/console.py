"""What every command shares: its output, its options, and errors as one line with an exit status.

Exit status 0 is success, 1 a failure of the work, 2 a wrong call, 130 an interruption.
"""

import asyncio
import json
import logging
import os
import sys
from collections.abc import Coroutine, Iterable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Final, NoReturn, TypeVar

import typer
from pydantic import ValidationError
from rich.console import Console

from schemas import tracing
from taskbus.errors import AuthenticationFailed, InsufficientScopes, TaskbusError, describe

FAILURE: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130

DEFAULT_AMQP_URL: Final = "amqp://guest:guest@127.0.0.1:5672/"
AMQP_URL_VARIABLE: Final = "TASKBUS_AMQP_URL"

TRACES_VARIABLE: Final = "TASKBUS_TRACES"
"""``otlp`` exports the traces of this program; as for the server."""

_WIDE: Final = 10_000
"""Columns when nobody looks: a pipe or a file gets whole lines."""

_T = TypeVar("_T")


def plain_app(**options: Any) -> typer.Typer:
    """A set of commands with plain help; a bug shows an ordinary traceback, without values of variables."""
    return typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False, **options)


RootUrl = Annotated[
    str | None,
    typer.Option(
        "--root-url",
        metavar="URL",
        envvar=["TASKBUS_ROOT_URL", "TASKCLUSTER_ROOT_URL"],
        help="Where the server is; http://127.0.0.1:8080 if nothing says otherwise.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one value per line.")]


def out() -> Console:
    """Where results go."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _WIDE)


def say(text: str) -> None:
    """Tell the person at the terminal something that is not a result."""
    typer.echo(text, err=True)


def print_json_lines(values: Iterable[object]) -> None:
    """JSON for programs, one value per line."""
    for value in values:
        typer.echo(json.dumps(value, ensure_ascii=False))


def fail(text: str, status: int = FAILURE) -> NoReturn:
    """End with an error on one line."""
    say("taskbus: " + " ".join(text.split()))
    raise typer.Exit(status)


@contextmanager
def wrong_input() -> Iterator[None]:
    """What is raised inside is the fault of what was typed."""
    try:
        yield
    except ValidationError as error:
        fail(describe(error), USAGE)
    except ValueError as error:
        fail(str(error), USAGE)


def run(main: Coroutine[Any, Any, _T], *expected: type[Exception]) -> _T:
    """Run the asynchronous part of a command. Our errors and the ``expected`` ones end it with one line."""
    ours: tuple[type[Exception], ...] = (TaskbusError, *expected)
    try:
        return asyncio.run(main)
    except (AuthenticationFailed, InsufficientScopes) as error:
        from taskbus.cli.connect import denied

        denied(error)
    except ours as error:
        fail(str(error))
    except BrokenPipeError:
        # Whoever read our output has seen enough. Nothing may be written at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def configure_logging(level: int) -> None:
    """Log to the standard error output, one line each.

    The AMQP libraries are left out: ``events`` tells their troubles once, and with what is done about them.
    """
    logging.basicConfig(
        level=level, format="%(asctime)s %(levelname)-7s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr
    )
    for library in ("aiormq", "aio_pika"):
        logging.getLogger(library).setLevel(logging.CRITICAL)


def export_traces(service: str) -> None:
    """Export the traces of this program, if the environment says so."""
    match os.environ.get(TRACES_VARIABLE, "off"):
        case "off":
            return
        case "otlp":
            pass
        case other:
            fail(f"{TRACES_VARIABLE}: expected off or otlp, got {other!r}", USAGE)
    try:
        from events.opentelemetry import exporting
    except ModuleNotFoundError as error:
        fail(f"{TRACES_VARIABLE}: {error.name} is not installed: pip install 'taskbus[traces]'", USAGE)
    tracing.use(exporting(service))
