"""How commands reach the services, and what they say when they may not."""

import os
from typing import Final, NoReturn, TypeVar
from urllib.parse import urlsplit

import typer

from taskbus.cli.console import FAILURE, say, wrong_input
from taskbus.credentials import ACCESS_TOKEN_VARIABLE, CLIENT_ID_VARIABLE, Credentials
from taskbus.errors import ApiError, AuthenticationFailed
from taskbus.service import ServiceClient

RETRIES: Final = 3
"""A person waits: less patience than a program has."""

LOCAL: Final = ("127.0.0.1", "localhost", "::1")
SIGN_IN: Final = 'eval "$(taskbus signin)"'

C = TypeVar("C", bound=ServiceClient)


def connect(kind: type[C], root_url: str | None) -> C:
    """A client with the credentials of the environment; wrong ones end the command."""
    with wrong_input():
        return kind(root_url, retries=RETRIES)


def denied(error: ApiError) -> NoReturn:
    """End with what the server said about the caller's scopes or credentials, and what to do."""
    text = "\n".join(line for line in error.message.splitlines() if not line.startswith("```"))
    say(f"taskbus: {text.strip()}\n\n{_advice(error)}")
    raise typer.Exit(FAILURE)


def _advice(error: ApiError) -> str:
    here = urlsplit(error.root_url).hostname in LOCAL
    sign_in = f"On the machine of the server, this makes you its root client: {SIGN_IN}"
    who = os.environ.get(CLIENT_ID_VARIABLE)
    if not who:
        return "No credentials are in the environment. " + (
            sign_in if here else f"Set {CLIENT_ID_VARIABLE} and {ACCESS_TOKEN_VARIABLE}."
        )
    if isinstance(error, AuthenticationFailed):
        return f"The credentials of {who} in the environment are not accepted at {error.root_url}. {sign_in}"
    if _temporary():
        return f"You call as {who}, with temporary credentials: issue others with these scopes."
    return (
        f"You call as {who}. Who has these scopes can give them to you: "
        f"taskbus client update {who} --add-scope SCOPE"
    )


def _temporary() -> bool:
    try:
        credentials = Credentials.from_env()
    except ValueError:
        return False
    return credentials is not None and credentials.temporary
