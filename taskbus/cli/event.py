"""``taskbus event …``: tell something to everybody who listens."""

import logging
from typing import Annotated, Literal

import typer

from schemas.events import UserMessageResponse
from taskbus.cli.connect import connect
from taskbus.cli.console import AsJson, RootUrl, configure_logging, plain_app, run, wrong_input
from taskbus.cli.documents import json_value
from taskbus.event_stream import Events

event = plain_app(name="event", help="Send user messages; `taskbus listen` shows them.", no_args_is_help=True)


@event.callback()
def prepare() -> None:
    """What a command cannot do it says in its error; the log of its parts would only repeat it."""
    configure_logging(logging.CRITICAL)


@event.command()
def send(
    payload: Annotated[
        str, typer.Argument(metavar="JSON", help='What to tell, such as \'{"text": "disk is full"}\'.')
    ],
    tag: Annotated[str | None, typer.Option(metavar="WORD", help="A word that listeners filter by.")] = None,
    alert: Annotated[bool, typer.Option("--alert", help="Somebody should look at it.")] = False,
    message_id: Annotated[str | None, typer.Option(metavar="ID", help="A new one if left out.")] = None,
    as_json: AsJson = False,
    root_url: RootUrl = None,
) -> None:
    """Send a message to everybody who listens to user-message, and print its id.

    Example: taskbus event send '{"text": "42 rows have no customer"}' --tag nightly-import --alert
    """
    level: Literal["info", "alert"] = "alert" if alert else "info"
    with wrong_input():
        value = json_value("JSON", payload)
    client = connect(Events, root_url)

    async def ask() -> UserMessageResponse:
        async with client:
            with wrong_input():
                return await client.send(value, level=level, tag=tag, message_id=message_id)

    sent = run(ask())
    typer.echo(sent.to_json() if as_json else sent.message_id)
