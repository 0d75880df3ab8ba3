"""Server-Sent Events of the server, read on across lost connections without a gap.

Rules: ``seed-systems.md`` B.7. The server keeps what a reader may have missed; ``Last-Event-ID`` asks for it.
"""

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlencode

import aiohttp
from pydantic_core import from_json

from taskbus.errors import ApiError, ConnectionFailed, InvalidResponse, error_from_response
from taskbus.transport import Sign, Transport, backoff

logger = logging.getLogger(__name__)

SILENT_SECONDS: Final = 40.0
"""The server says something every 15 s; without anything for so long the connection is lost."""
FIRST_DELAY: Final = 0.5
FIRST_ATTEMPTS: Final = 3
"""How often a server is tried again that was never reached."""
MAX_EVENT: Final = 16 * 1024 * 1024
"""Bytes of one event."""
_NO_CONTENT: Final = 204


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event; ``id`` is where to resume after it."""

    id: str
    kind: str
    data: Any


class EventStream:
    """The events below one URL. It connects again whenever the connection is lost, and goes on where it was.

    ``query`` may have a key several times. ``last_id`` is where to begin; afterwards it is the id of the last
    event that was given out.
    """

    def __init__(
        self,
        transport: Transport,
        path: Sequence[str],
        query: Sequence[tuple[str, str]] = (),
        *,
        sign: Sign | None = None,
        last_id: str | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        url = transport.url(path)
        self._url = f"{url}?{urlencode(query, quote_via=quote, safe='')}" if query else url
        self._transport = transport
        self._sign = sign
        self._sleep = sleep
        self._jitter = jitter
        self.last_id = last_id

    async def events(self) -> AsyncGenerator[ServerEvent, None]:
        """The events until the server says that there will be no more (204).

        Raises ApiError when it refuses, and ConnectionFailed or ApiError when it cannot be reached in
        the beginning; later, lost connections and errors of the server are tried again for ever.
        """
        failures, connected = 0, False
        while True:
            try:
                async with aclosing(self._connection()) as connection:
                    async for event in connection:
                        if event is None:
                            failures, connected = 0, True
                            continue
                        self.last_id = event.id
                        yield event
                if self._over:
                    return
            except ApiError as error:
                if error.status < 500 or (not connected and failures >= FIRST_ATTEMPTS):
                    raise
                reason = str(error)
            except ConnectionFailed as error:
                if not connected and failures >= FIRST_ATTEMPTS:
                    raise
                reason = error.reason
            else:
                reason = "the server has ended it"
            delay = backoff(failures, self._jitter, first=FIRST_DELAY)
            failures += 1
            logger.debug("the stream is interrupted, again in %.1f s: %s", delay, reason)
            await self._sleep(delay)

    async def _connection(self) -> AsyncGenerator[ServerEvent | None, None]:
        """The events of one connection; None when it stands."""
        self._over = False
        headers = {"Accept": "text/event-stream"}
        if self.last_id is not None:
            headers["Last-Event-ID"] = self.last_id
        if self._sign is not None:
            headers["Authorization"] = self._sign("GET", self._url, None)
        async with self._transport.exchange(
            "GET", self._url, headers=headers, answer_seconds=SILENT_SECONDS
        ) as response:
            if response.status == _NO_CONTENT:
                self._over = True
                return
            if response.status != 200:
                content = await response.read()
                raise error_from_response(response.status, content, self._transport.root_url)
            if response.content_type != "text/event-stream":
                raise InvalidResponse(self._transport.root_url, f"it sent {response.content_type}")
            yield None
            async for block in _blocks(response.content):
                fields = dict(_field(line) for line in block.split(b"\n"))
                if b"data" in fields:
                    yield self._event(fields)

    def _event(self, fields: dict[bytes, bytes]) -> ServerEvent:
        try:
            data = from_json(fields[b"data"])
        except ValueError as error:
            raise InvalidResponse(self._transport.root_url, f"an event is not JSON: {error}") from error
        kind = fields.get(b"event", b"message").decode()
        return ServerEvent(fields.get(b"id", b"").decode(), kind, data)


def _field(line: bytes) -> tuple[bytes, bytes]:
    name, _, value = line.partition(b":")
    return name, value.removeprefix(b" ")


async def _blocks(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """What stands between two empty lines. The server writes an event's data as one line."""
    text = b""
    async for piece in content.iter_any():
        text += piece
        *blocks, text = text.split(b"\n\n")
        for block in blocks:
            yield block
        if len(text) > MAX_EVENT:
            raise aiohttp.ClientPayloadError(f"an event is larger than {MAX_EVENT} bytes")
