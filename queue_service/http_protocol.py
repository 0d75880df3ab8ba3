"""uvicorn's HTTP protocol with a short way out for a whole reply.

uvicorn writes head and body apart: two system calls, each of which may wake the client. A reply that comes as
one head and one body is written at once, checked as uvicorn would; any other goes uvicorn's way.
"""

from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import (
    HEADER_RE,
    HEADER_VALUE_RE,
    STATUS_LINE,
    RequestResponseCycle,
)

from queue_service.http_limits import LimitedProtocol

_WITHOUT_BODY: Final = frozenset({204, 304})


class HttpProtocol(LimitedProtocol):
    """One connection."""

    def on_headers_complete(self) -> None:
        before = self.cycle
        super().on_headers_complete()
        if self.cycle is not before and self.scope["method"] != "HEAD":
            self.cycle.send = _WholeReply(self.cycle).send  # type: ignore[method-assign]


class _WholeReply:
    """Holds the head of a reply back until the body comes."""

    __slots__ = ("_cycle", "_head")

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle
        self._head: Any = None

    async def send(self, message: Any) -> None:
        """What the application calls, as ``send`` of ASGI."""
        cycle = self._cycle
        if message["type"] == "http.response.start" and not cycle.response_started:
            self._head = message
            return
        head, self._head = self._head, None
        if head is None:
            await RequestResponseCycle.send(cycle, message)
        elif not self._write(head, message):
            await RequestResponseCycle.send(cycle, head)
            await RequestResponseCycle.send(cycle, message)

    def _write(self, head: Any, message: Any) -> bool:
        """Write both in one piece; False when this is not a plain reply with a body of the right length."""
        cycle, body = self._cycle, message.get("body", b"")
        headers = cycle.default_headers + head["headers"]
        names = [name for name, _ in headers]
        if (
            message.get("more_body", False)
            or head["status"] in _WITHOUT_BODY
            or (b"content-length", b"%d" % len(body)) not in headers
            or not cycle.keep_alive
            or b"connection" in names
            or cycle.disconnected
            or cycle.flow.write_paused
            or HEADER_RE.search(b"".join(names))
            or HEADER_VALUE_RE.search(b"".join([value for _, value in headers]))
        ):
            return False
        lines = b"".join([b"%b: %b\r\n" % header for header in headers])
        cycle.transport.write(b"%b%b\r\n%b" % (STATUS_LINE[head["status"]], lines, body))
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        cycle.message_event.set()
        cycle.on_response()
        return True
