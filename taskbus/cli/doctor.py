"""``taskbus doctor``: what is well and what is not with a service, and what to do about it."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

import typer
from rich.text import Text

from taskbus.auth import Auth
from taskbus.cli.connect import RETRIES, SIGN_IN
from taskbus.cli.console import FAILURE, RootUrl, out, run
from taskbus.cli.server import AmqpUrl, DatabaseUrl, commands
from taskbus.credentials import CLIENT_ID_VARIABLE, Credentials
from taskbus.errors import ApiError, AuthenticationFailed, ConnectionFailed, TaskbusError

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object with all findings.")]

STYLES: Final[Mapping[str, str]] = {"ok": "green", "warning": "yellow", "failure": "bold red"}

Finding = dict[str, str]


def doctor(
    database_url: DatabaseUrl = None,
    amqp_url: AmqpUrl = None,
    root_url: RootUrl = None,
    as_json: AsJson = False,
) -> None:
    """Check what a service needs, whether it runs or not, and say what to do.

    Looks at the settings, the database, its schema and clock, the broker and its exchanges, what waits and
    what was left lying, disks, the secret key, the HTTP server, and the credentials in the environment.

    Run it with the settings of the service (TASKBUS_…), on its machine. The exit status is 1 if there is a
    failure; warnings may be meant so.
    """
    server: Any = commands()
    given = {"database_url": database_url, "amqp_url": amqp_url, "root_url": root_url}
    overrides = {name: value for name, value in given.items() if value is not None}
    findings: list[Finding] = [found.to_json() for found in server.doctor(overrides)]
    findings.append(run(_credentials(root_url)))
    healthy = all(found["level"] != "failure" for found in findings)
    if as_json:
        out().print_json(data={"ok": healthy, "findings": findings})
    else:
        for found in findings:
            _show(found)
    raise typer.Exit(0 if healthy else FAILURE)


def _show(found: Finding) -> None:
    line = Text(f"{found['level']:<8}", style=STYLES[found["level"]])
    line.append(f"{found['subject']}: {found['says']}", style="default")
    out().print(line)
    if found["advice"]:
        out().print(Text(f"        → {found['advice']}", style="default"))


async def _credentials(root_url: str | None) -> Finding:
    """What the credentials in the environment are good for."""
    subject = "credentials"
    try:
        given = Credentials.from_env()
    except ValueError as error:
        return _finding("failure", subject, str(error), f"correct them, or sign in: {SIGN_IN}")
    if given is None:
        return _finding(
            "ok", subject, f"none are in the environment ({CLIENT_ID_VARIABLE}); nothing to check"
        )
    try:
        async with Auth(root_url, credentials=given, retries=RETRIES) as auth:
            scopes = await auth.current_scopes()
    except AuthenticationFailed as error:
        return _finding("failure", subject, f"{given.client_id}: {_first_line(error)}", f"sign in: {SIGN_IN}")
    except ConnectionFailed:
        return _finding(
            "warning", subject, f"those of {given.client_id} cannot be checked", "start the HTTP server"
        )
    except TaskbusError as error:
        return _finding(
            "failure",
            subject,
            f"those of {given.client_id} cannot be checked: {error}",
            "see the log of the server",
        )
    return _finding("ok", subject, f"{given.client_id} is accepted and has {len(scopes)} scopes")


def _first_line(error: ApiError) -> str:
    return error.message.strip().partition("\n")[0]


def _finding(level: str, subject: str, says: str, advice: str = "") -> Finding:
    return {"level": level, "subject": subject, "says": says, "advice": advice}
