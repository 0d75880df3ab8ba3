"""One HTTP exchange with streamed bodies: clients that went away are noticed, those that stall given up."""

import asyncio
from contextlib import suppress
from typing import Final

from starlette.types import Receive, Scope, Send

from queue_service.api.bodies import ClientGone
from queue_service.api.pipeline import raw_path_of

LINGER_SECONDS: Final = 5.0
LINGER_BYTES: Final = 64 * 1024 * 1024

Headers = list[tuple[bytes, bytes]]


class Stalled(Exception):
    """The client sent nothing, or took nothing, for too long."""


class Transfer:
    """A request and its reply. ``idle``: seconds that may pass without a byte."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, idle: float) -> None:
        self.method: str = scope["method"]
        self.path = raw_path_of(scope)
        self.query: str = scope["query_string"].decode("latin-1")
        self.started = False
        """Whether a reply is under way."""
        self._headers: dict[bytes, bytes] = dict(scope["headers"])
        self._receive = receive
        self._send = send
        self._idle = idle
        self._unread = True

    def header(self, name: bytes) -> str:
        """The value of a request header, empty when it is absent."""
        return self._headers.get(name, b"").decode("latin-1")

    async def receive(self) -> bytes | None:
        """The next bytes of the request; None at its end. Raises ClientGone, Stalled."""
        if not self._unread:
            return None
        try:
            async with asyncio.timeout(self._idle):
                message = await self._receive()
        except TimeoutError:
            raise Stalled from None
        if message["type"] == "http.disconnect":
            raise ClientGone
        self._unread = message.get("more_body", False)
        chunk: bytes = message.get("body", b"")
        return chunk

    async def reply(self, status: int, headers: Headers, body: bytes = b"") -> None:
        """Answer as a whole."""
        await self.start(status, [*headers, (b"content-length", b"%d" % len(body))])
        await self._send({"type": "http.response.body", "body": b"" if self.method == "HEAD" else body})

    async def refuse(self, status: int, headers: Headers, body: bytes) -> None:
        """Answer before the request was read, and close the connection.

        The answer goes out at once, and the rest of the request is read for a while and thrown away: a
        connection closed under a client that still sends would lose it the answer.
        """
        if not self._unread or self.method != "PUT":
            await self.reply(status, headers, body)
            return
        await self.start(
            status, [*headers, (b"content-length", b"%d" % len(body)), (b"connection", b"close")]
        )
        await self._send({"type": "http.response.body", "body": body, "more_body": True})
        with suppress(ClientGone, Stalled, TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                left = LINGER_BYTES
                while left > 0 and (chunk := await self.receive()) is not None:
                    left -= len(chunk)
        await self._send({"type": "http.response.body"})

    async def start(self, status: int, headers: Headers) -> None:
        """Begin the reply. The headers tell its length."""
        self.started = True
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def send(self, chunk: bytes) -> None:
        """The next bytes of the reply. Raises Stalled when those before are not taken."""
        try:
            async with asyncio.timeout(self._idle):
                await self._send({"type": "http.response.body", "body": chunk, "more_body": True})
        except TimeoutError:
            raise Stalled from None

    async def end(self) -> None:
        """The reply is complete."""
        await self._send({"type": "http.response.body"})

    async def gone(self) -> None:
        """Wait until the client closes the connection; only when its request does not matter any more."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
