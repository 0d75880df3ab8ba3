"""``taskbus listen``: the events of the bus as they happen."""

import asyncio
import json
import logging
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any, Final

import typer

from events.bindings import BINDINGS, AnyBinding, Binding, TaskBinding, bind
from events.errors import EventsError
from events.listener import Listener
from events.messages import Delivery
from schemas.base import Wire
from taskbus.cli import show
from taskbus.cli.connect import connect
from taskbus.cli.console import (
    AMQP_URL_VARIABLE,
    DEFAULT_AMQP_URL,
    AsJson,
    RootUrl,
    configure_logging,
    out,
    run,
    say,
    wrong_input,
)
from taskbus.errors import EventsMissed
from taskbus.event_stream import Events

ALL: Final = "all"
READY_SECONDS: Final = 10.0

Write = Callable[[Any, Delivery], None]


def listen(
    exchange: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="EXCHANGE",
            help=f"Any of {', '.join(BINDINGS)}; the full name of another exchange; or {ALL}.",
            show_default=False,
        ),
    ] = None,
    queue: Annotated[
        str | None,
        typer.Option(metavar="PROVISIONER/TYPE", help="Tasks of this queue; each half may be *."),
    ] = None,
    task_id: Annotated[str | None, typer.Option(metavar="TASK_ID", help="This task.")] = None,
    group: Annotated[str | None, typer.Option(metavar="GROUP_ID", help="Tasks of this group.")] = None,
    scheduler: Annotated[str | None, typer.Option(metavar="ID", help="What this scheduler manages.")] = None,
    route: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ROUTE", help="Tasks with such a route; * is one word, # any number; repeatable."
        ),
    ] = None,
    amqp_url: Annotated[
        str, typer.Option(metavar="URL", envvar=AMQP_URL_VARIABLE, help="The AMQP broker.")
    ] = DEFAULT_AMQP_URL,
    http: Annotated[
        bool,
        typer.Option(
            "--http",
            help="From the server in place of the broker, which needs an account; resumes by itself.",
        ),
    ] = False,
    as_json: AsJson = False,
    root_url: RootUrl = None,
) -> None:
    """Show events as they happen, until Ctrl-C.

    Example: taskbus listen task-completed task-failed --queue 'prov/*'
    """
    configure_logging(logging.CRITICAL)
    filters = {
        "task_queue_id": queue,
        "task_id": task_id,
        "task_group_id": group,
        "scheduler_id": scheduler,
    }
    given = {word: value for word, value in filters.items() if value is not None}
    with wrong_input():
        asked = bindings(exchange or [ALL], given, route or [])
    write = print_json if as_json else print_line
    if http:
        run(show_stream(connect(Events, root_url), asked, write))
        return
    with wrong_input():
        listener = Listener(amqp_url, name="taskbus listen")
    run(show_events(listener, asked, write, _listening), EventsError)


def _listening() -> None:
    logging.getLogger().setLevel(logging.WARNING)  # until now, an error of ours would tell it better
    if sys.stderr.isatty():
        say("listening; Ctrl-C ends")


def bindings(names: Sequence[str], filters: dict[str, str], routes: Sequence[str]) -> list[Binding[Any]]:
    """What to bind to.

    ``all`` are the exchanges whose messages the filters can apply to. Raises ValueError for a name that is no
    exchange, and for a filter that an exchange named does not have.
    """
    if routes and filters:
        raise ValueError("--route cannot be combined with other filters: a message matches by either")
    asked: list[Binding[Any]] = []
    for name in names:
        if name == ALL:
            for kind in BINDINGS.values():
                if _applies(kind, filters, routes):
                    asked += _of_kind(kind, filters, routes)
        elif name in BINDINGS:
            kind = BINDINGS[name]
            if not _applies(kind, filters, routes):
                wrong = "--route" if routes else ", ".join(sorted(set(filters) - _words(kind)))
                raise ValueError(f"{name} is not about single tasks and cannot be filtered by {wrong}")
            asked += _of_kind(kind, filters, routes)
        elif "/" in name:
            if filters or routes:
                raise ValueError(f"{name} is not an exchange of the queue and cannot be filtered")
            asked.append(bind(name))
        else:
            raise ValueError(f"no exchange {name!r}: expected {ALL}, {', '.join(BINDINGS)}, or a full name")
    return asked


def _words(kind: AnyBinding) -> set[str]:
    return set(kind.__dataclass_fields__)


def _applies(kind: AnyBinding, filters: dict[str, str], routes: Sequence[str]) -> bool:
    return set(filters) <= _words(kind) and (not routes or issubclass(kind, TaskBinding))


def _of_kind(kind: AnyBinding, filters: dict[str, str], routes: Sequence[str]) -> list[Binding[Any]]:
    if routes and issubclass(kind, TaskBinding):
        return [kind.route(route) for route in routes]
    return [kind(**filters)]


async def show_events(
    listener: Listener, asked: Sequence[Binding[Any]], write: Write, listening: Callable[[], None]
) -> None:
    """Write every event that ``asked`` brings, for ever. ``listening`` is called once none is missed.

    Raises BrokerUnavailable when the broker cannot be reached at first; later losses are only logged. Raises
    what ``write`` raises.
    """
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def hear(event: Any, delivery: Delivery) -> None:
        try:
            write(event, delivery)
        except Exception as error:
            if not failed.done():
                failed.set_exception(error)

    listener.on(*asked, prefetch=1000, auto_ack=True)(hear)
    async with listener:
        await listener.ready(READY_SECONDS)
        listening()
        await failed


async def show_stream(client: Events, asked: Sequence[Binding[Any]], write: Write) -> None:
    """Write every event that ``asked`` brings, for ever, from the server's stream.

    Raises ApiError, and ConnectionFailed when the server cannot be reached at first.
    """
    last_id: str | None = None
    async with client:
        while True:
            try:
                async for found in client.listen(*asked, last_id=last_id):
                    last_id = found.id
                    facts = Delivery(found.exchange, found.routing_key, found.cc, found.message_id, False)
                    write(found.event, facts)
            except EventsMissed as error:
                say(f"taskbus: {error}")
                last_id = error.last_id


def print_line(event: Any, delivery: Delivery) -> None:
    """One event for people."""
    line = show.event_line(datetime.now().astimezone(), delivery.exchange, delivery.routing_key, event)
    out().print(line, soft_wrap=True)


def print_json(event: Any, delivery: Delivery) -> None:
    """One event for programs; flushed, so that a pipe has it at once."""
    entry = {
        "exchange": delivery.exchange,
        "routingKey": delivery.routing_key,
        "cc": list(delivery.cc),
        "message": event.to_wire() if isinstance(event, Wire) else event,
    }
    print(json.dumps(entry, ensure_ascii=False), flush=True)
