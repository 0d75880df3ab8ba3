"""The WebSocket of attached workers: handshake, authorization, frames in and out (A.2)."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import structlog
from pydantic_core import to_json
from starlette.types import Receive, Scope, Send

from queue_service.api.permit import Gate, Permit
from queue_service.api.pipeline import raw_path_of
from queue_service.auth.request import SignedRequest, host_and_port
from queue_service.clock import Clock
from queue_service.core.errors import AuthenticationFailed, InsufficientScopes
from queue_service.features.worker_socket import protocol
from queue_service.features.worker_socket.connection import V1, V2, Connection
from queue_service.features.worker_socket.gateway import Gateway
from queue_service.features.worker_socket.protocol import (
    Ask,
    BadFrame,
    Drain,
    Progress,
    Registration,
    Report,
    Result,
)
from queue_service.store.database import StoreUnavailable

logger = structlog.get_logger(__name__)

AUTHORIZATION_SECONDS: Final = 10.0
GONE: Final = 0
"""The worker is not there any more to be told."""
NORMAL: Final = 1000
UNSUPPORTED: Final = 1003
UNREADABLE: Final = 1007
BAD_REGISTRATION: Final = 4400
UNAUTHORIZED: Final = 4401
FORBIDDEN: Final = 4403
UNAVAILABLE: Final = 1013
MAX_REASON: Final = 120
"""Bytes of the reason of a close frame."""


class Closed(Exception):
    """The socket ends, with this code and reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class WorkerSocket:
    """The ASGI application of the socket. ``open``: nobody needs credentials."""

    def __init__(
        self, gateway: Gateway, gate: Gate, clock: Clock, new_id: Callable[[], str], *, open: bool
    ) -> None:
        self._gateway = gateway
        self._gate = gate
        self._clock = clock
        self._new_id = new_id
        self._open = open

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await _answer(send, 426, b'{"error": "this is a WebSocket: send an upgrade request"}', http=True)
            return
        await receive()  # the connect
        headers: Mapping[bytes, bytes] = dict(scope["headers"])
        offered = scope.get("subprotocols") or []
        spoken = V2 if V2 in offered else V1
        if offered and spoken not in offered:
            await _answer(send, 400, b'{"error": "this server speaks work.v1 and work.v2"}')
            return
        permit = None
        if b"authorization" in headers or b"bewit=" in scope["query_string"]:
            try:
                permit = await self._gate.admit(_signed(scope, headers))
            except AuthenticationFailed as error:
                await _answer(send, 401, to_json({"code": error.code, "message": error.message}))
                return
        elif self._open:
            permit = await self._gate.admit(_signed(scope, headers))
        accept: dict[str, Any] = {"type": "websocket.accept"}
        await send({**accept, "subprotocol": spoken} if offered else accept)
        await _Session(self, scope, headers, receive, send, spoken).run(permit)

    # ---- for sessions ---------------------------------------------------------------------------------

    @property
    def gateway(self) -> Gateway:
        return self._gateway

    def connection(self, spoken: str, close: Callable[[int, str], None]) -> Connection:
        return Connection(self._new_id(), spoken, self._clock.now(), close)

    async def admit_token(self, scope: Scope, headers: Mapping[bytes, bytes], token: str) -> Permit:
        """The permit of who has a signed URL of this socket; its bewit is the token."""
        request = _signed({**scope, "query_string": f"bewit={token}".encode()}, headers)
        return await self._gate.admit(request)


class _Session:
    """One socket from its acceptance to its end."""

    def __init__(
        self,
        socket: WorkerSocket,
        scope: Scope,
        headers: Mapping[bytes, bytes],
        receive: Receive,
        send: Send,
        spoken: str,
    ) -> None:
        self._socket = socket
        self._gateway = socket.gateway
        self._scope = scope
        self._headers = headers
        self._receive = receive
        self._send = send
        self._spoken = spoken
        self._closing: asyncio.Future[Closed] = asyncio.get_running_loop().create_future()
        self._connection = socket.connection(spoken, self._close)

    async def run(self, permit: Permit | None) -> None:
        """Serve the socket until either side ends it; what the worker had goes back."""
        closed = Closed(NORMAL, "closed")
        try:
            await self._serve(permit)
        except Closed as ended:
            closed = ended
        except StoreUnavailable:
            closed = Closed(UNAVAILABLE, "the database is away; come again")
        except OSError as error:
            closed = Closed(GONE, str(error))
        finally:
            await asyncio.shield(self._gateway.detach(self._connection, str(closed)[:200]))
        await self._end(closed)

    async def _serve(self, permit: Permit | None) -> None:
        """Raises Closed in the end."""
        permit = permit or await self._authorized()
        await self._register(permit)
        frames: list[asyncio.Future[Any]] = [
            asyncio.create_task(self._read(permit), name="socket in"),
            asyncio.create_task(self._write(), name="socket out"),
        ]
        try:
            await asyncio.wait([*frames, self._closing], return_when=asyncio.FIRST_COMPLETED)
            if self._closing.done():
                raise self._closing.result()
            for ended in frames:
                if ended.done():
                    ended.result()
        finally:
            for one in frames:
                one.cancel()
            await asyncio.gather(*frames, return_exceptions=True)

    def _close(self, code: int, reason: str) -> None:
        if not self._closing.done():
            self._closing.set_result(Closed(code, reason))

    async def _end(self, closed: Closed) -> None:
        if closed.code == GONE:
            return
        reason = str(closed).encode()[:MAX_REASON].decode(errors="ignore")
        with suppress(OSError, RuntimeError):
            await self._send({"type": "websocket.close", "code": closed.code, "reason": reason})

    # ---- the beginning --------------------------------------------------------------------------------

    async def _authorized(self) -> Permit:
        try:
            async with asyncio.timeout(AUTHORIZATION_SECONDS):
                text = await self._text()
            token = protocol.token_of(text)
        except (TimeoutError, ValueError):
            token = None
        if token is None:
            raise Closed(UNAUTHORIZED, "authorize first: a header, or a frame of the kind authorization")
        try:
            return await self._socket.admit_token(self._scope, self._headers, token)
        except AuthenticationFailed as error:
            raise Closed(UNAUTHORIZED, error.message) from None

    async def _register(self, permit: Permit) -> None:
        """Attach with the descriptions of the URL, or of the first frame, which goes before it (WS-6)."""
        if self._spoken == V1:
            try:
                described = protocol.from_query(self._scope["query_string"])
            except BadFrame as error:
                raise Closed(BAD_REGISTRATION, str(error)) from None
            if described is not None:
                await self._attach(described, permit)
                return
        while not self._connection.described:
            try:
                frame = protocol.read(await self._text(), self._spoken)
            except (BadFrame, ValueError) as error:
                raise Closed(BAD_REGISTRATION, str(error)) from None
            if isinstance(frame, Registration):
                await self._attach(frame, permit)
            elif frame is not None:
                raise Closed(BAD_REGISTRATION, "say first what you take: register")

    async def _attach(self, frame: Registration, permit: Permit) -> None:
        try:
            for one in frame.tasks:
                permit.require(f"work:attach:{one.name}", {})
        except InsufficientScopes as error:
            raise Closed(FORBIDDEN, error.message) from None
        self._connection.describe(frame.tasks, frame.capacity)
        await self._gateway.attach(self._connection)
        self._registered()

    def _registered(self) -> None:
        if self._spoken == V2:
            tasks = [one.to_wire() for one in self._connection.described]
            self._connection.send(
                {"kind": "registered", "worker_id": self._connection.worker_id, "tasks": tasks}
            )

    # ---- frames ---------------------------------------------------------------------------------------

    async def _text(self) -> str:
        """The next text frame. Raises Closed when there is none any more."""
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            raise Closed(GONE, f"the worker closed ({message.get('code', 1006)})")
        text = message.get("text")
        if not isinstance(text, str):
            raise Closed(UNSUPPORTED, "frames are text")
        return text

    async def _write(self) -> None:
        while True:
            frame = await self._connection.frames.get()
            await self._send({"type": "websocket.send", "text": to_json(frame).decode()})

    async def _read(self, permit: Permit) -> None:
        while True:
            text = await self._text()
            try:
                frame = protocol.read(text, self._spoken)
                if frame is not None:
                    await self._take(frame, permit)
            except BadFrame as error:
                self._refuse(error)
            except (ValueError, RecursionError):
                raise Closed(UNREADABLE, "a frame is JSON") from None

    async def _take(self, frame: protocol.Frame, permit: Permit) -> None:
        connection, gateway = self._connection, self._gateway
        if isinstance(frame, Registration):
            await self._redescribe(frame, permit)
        elif isinstance(frame, Drain):
            connection.draining = True
            await gateway.redescribe(connection)
        else:
            item = gateway.item_of(connection, frame.task_id, frame.run_id)
            if item is None:
                self._tell_stale(frame)
            elif isinstance(frame, Progress):
                item.progress = frame.facts
                gateway.reports.progress(connection, item, frame)
            elif isinstance(frame, Report):
                await gateway.reports.take(connection, item, frame)
            elif isinstance(frame, Ask):
                if frame.kind == "extend":
                    await gateway.extend(connection, item, frame.seconds)
                else:
                    gateway.snooze(connection, item, frame.seconds)
            elif isinstance(frame, Result):
                if frame.error is None:
                    gateway.done(connection, item, frame.data)
                else:
                    gateway.failed(connection, item, frame.error)

    def _tell_stale(self, frame: protocol.Frame) -> None:
        """What the worker asks or tells is about an item that it does not have."""
        if isinstance(frame, Ask):
            facts = {"task_id": frame.task_id, "run_id": frame.run_id, "reason": "not-running"}
            self._connection.send({"kind": "cancel", **facts})
        elif isinstance(frame, Report):
            raise BadFrame("RequestConflict", "this worker does not have the item", frame.task_id, frame.id)

    async def _redescribe(self, frame: Registration, permit: Permit) -> None:
        if self._spoken == V1:
            raise BadFrame("InvalidFrame", "the registration is sent once")
        try:
            for one in frame.tasks:
                permit.require(f"work:attach:{one.name}", {})
        except InsufficientScopes as error:
            raise BadFrame("InsufficientScopes", error.message) from None
        self._connection.describe(frame.tasks, frame.capacity)
        await self._gateway.redescribe(self._connection)
        self._registered()

    def _refuse(self, error: BadFrame) -> None:
        if self._spoken == V2:
            self._connection.send(error.to_frame())
        else:
            logger.info("a worker's frame is not understood", reason=str(error))


async def _answer(send: Send, status: int, body: bytes, *, http: bool = False) -> None:
    """Refuse the handshake, or a request that is none."""
    kind = "http.response" if http else "websocket.http.response"
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == 426:
        headers += [(b"upgrade", b"websocket"), (b"connection", b"upgrade")]
    await send({"type": f"{kind}.start", "status": status, "headers": headers})
    await send({"type": f"{kind}.body", "body": body})


def _signed(scope: Scope, headers: Mapping[bytes, bytes]) -> SignedRequest:
    query = scope["query_string"]
    host, port = host_and_port(headers, "https" if scope["scheme"] in ("wss", "https") else "http")
    authorization = headers.get(b"authorization")
    return SignedRequest(
        method="GET",
        resource=raw_path_of(scope) + ("?" + query.decode("latin-1") if query else ""),
        host=host,
        port=port,
        authorization=None if authorization is None else authorization.decode("latin-1"),
    )
