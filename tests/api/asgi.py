"""Calls an ASGI application as a server would, and leaves every byte as the test wrote it.

httpx is not used here: it re-encodes broken percent-escapes before its transport sees them, and it can
neither send a body in chosen pieces nor hang up while the application waits.
"""

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from starlette.types import ASGIApp, Message


class NoReply(Exception):
    """The application ended without an answer."""


@dataclass(frozen=True)
class Reply:
    """What the application answered."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def json(self) -> Any:
        """The body as JSON values. Raises ValueError for what only Python takes for JSON."""
        return json.loads(self.body, parse_constant=_refuse)

    def header(self, name: str) -> str | None:
        """The value of a header that occurs once; None when it is absent."""
        values = [value for key, value in self.headers if key == name]
        assert len(values) <= 1, f"{name} occurs {len(values)} times"
        return values[0] if values else None

    @property
    def code(self) -> str:
        """The error code of a refusal."""
        return str(self.json()["code"])

    @property
    def message(self) -> str:
        """The text of a refusal."""
        return str(self.json()["message"])


class Line:
    """The client's end of a connection."""

    def __init__(self) -> None:
        self._cut = asyncio.Event()

    def hang_up(self) -> None:
        """Close the connection; the application learns it when it next listens."""
        self._cut.set()

    async def until_cut(self) -> None:
        await self._cut.wait()


async def request(
    application: ASGIApp,
    method: str,
    target: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: Iterable[bytes | None] = (),
    line: Line | None = None,
) -> Reply:
    """Send one request; ``target`` is the raw path and query, ``body`` arrives piece by piece.

    In place of a piece, None loses the connection there. Raises NoReply.
    """
    path, _, query = target.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode("latin-1"),
        "query_string": query.encode("latin-1"),
        "root_path": "",
        "headers": [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in (headers or {}).items()
        ],
        "client": ("127.0.0.1", 51000),
        "server": ("127.0.0.1", 8080),
    }
    line = line or Line()
    pieces = list(body) or [b""]
    sent: list[Message] = []

    async def receive() -> Message:
        if pieces:
            piece = pieces.pop(0)
            if piece is None:
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": piece, "more_body": bool(pieces)}
        await line.until_cut()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await application(scope, receive, send)
    if not sent:
        raise NoReply
    start, *parts = sent
    assert [part["type"] for part in sent] == ["http.response.start", *["http.response.body"] * len(parts)]
    return Reply(
        status=start["status"],
        headers=tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in start["headers"]),
        body=b"".join(part.get("body", b"") for part in parts),
    )


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
