"""Limits of HTTP connections that uvicorn does not have: their number, the size of a head, idle time.

What a body may be is said where it is read (``api/bodies.py``, ``api/blobs.py``).
"""

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

MAX_HEAD: Final = 64 * 1024
"""Bytes of request line and headers; as many may pass in a body without a piece of it being complete."""
MAX_HEADERS: Final = 200
_TOO_LARGE: Final = (
    STATUS_LINE[431] + b"content-type: text/plain; charset=utf-8\r\n"
    b"content-length: 31\r\nconnection: close\r\n\r\nRequest header fields too large"
)


class HeadTooLarge(Exception):
    """Request line and headers are larger than :data:`MAX_HEAD`, or more than :data:`MAX_HEADERS`."""


class LimitedProtocol(HttpToolsProtocol):
    """One connection. A client that has no request under way for ``timeout_keep_alive`` seconds is cut off.

    ``max_connections``: a connection beyond that many is closed at once.
    """

    def __init__(self, *arguments: Any, max_connections: int | None = None, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._max_connections = max_connections
        self._unfinished = 0
        """Bytes since a head, a piece of a body or the end of one was complete."""
        self._free_since = 0.0
        """When the last reply was complete."""
        self._watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self._max_connections is not None and len(self.connections) > self._max_connections:
            transport.abort()
            return
        self._free_since = self.loop.time()
        self._watch = self.loop.call_later(self.timeout_keep_alive, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._unfinished += len(data)
        super().data_received(data)
        if self._unfinished > MAX_HEAD and not self.transport.is_closing():
            self._refuse()

    def on_headers_complete(self) -> None:
        if len(self.headers) > MAX_HEADERS or (self._unfinished > MAX_HEAD and self._head_size() > MAX_HEAD):
            raise HeadTooLarge
        self._unfinished = 0
        super().on_headers_complete()
        if not (self.parser.should_upgrade() and self._should_upgrade()):  # which is asked again
            self.headers = []  # for trailers, which must not reach a request that is under way

    def handle_websocket_upgrade(self) -> None:
        if self._watch is not None:  # a WebSocket is idle as long as it answers pings
            self._watch.cancel()
        super().handle_websocket_upgrade()

    def on_body(self, body: bytes) -> None:
        self._unfinished = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._unfinished = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self._free_since = self.loop.time()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        if self._unfinished > MAX_HEAD or (self.headers is not None and len(self.headers) > MAX_HEADERS):
            self._refuse()
        elif not self.transport.is_closing():
            super().send_400_response(msg)

    def _refuse(self) -> None:
        """Say why, unless a reply is under way, and close."""
        if self.cycle is None or self.cycle.response_complete:
            self.transport.write(_TOO_LARGE)
        self.transport.close()

    def _head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def _look(self) -> None:
        """Cut the client off, or look again when it may be time to."""
        busy = self.cycle is not None and not self.cycle.response_complete
        left = self.timeout_keep_alive - (0 if busy else self.loop.time() - self._free_since)
        if left <= 0:
            self.transport.close()
        else:
            self._watch = self.loop.call_later(left, self._look)
