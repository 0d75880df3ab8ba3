"""One pipeline for every API request: the order of checks is a contract (``queue-behaviour.md`` 1.3).

A plain ASGI application over the raw request target. FastAPI is not in the way of a call: it would decode
``%2F``, parse bodies before authentication and accept unknown query keys.
"""

import asyncio
import logging
import random
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any, Final

import structlog
from pydantic_core import to_json
from starlette.types import Receive, Scope, Send

from queue_service.api.bodies import BodyReader, ClientGone, Room, parsed
from queue_service.api.checks import check_params, checked_body, checked_query
from queue_service.api.endpoint import Answer, Call, Endpoint, Result, Section
from queue_service.api.errors import error_body, refused
from queue_service.api.permit import NOBODY, Gate
from queue_service.api.routing import BadEncoding, Match, Router
from queue_service.api.streaming import Stream, send_events, send_frames
from queue_service.auth.request import SignedRequest, host_and_port
from queue_service.blobs.store import BlobsUnavailable
from queue_service.clock import Clock
from queue_service.core.errors import (
    AuthenticationFailed,
    InsufficientScopes,
    QueueError,
)
from queue_service.counting import Calls
from queue_service.log_context import about
from queue_service.operations.batching import Overloaded
from queue_service.store.database import StoreUnavailable
from schemas import tracing
from schemas.base import Document

logger = structlog.get_logger(__name__)
_level = logging.getLogger(__name__)

MAX_ECHO: Final = 1024 * 1024
"""Bytes of the largest body that a refusal repeats."""

_JSON: Final = b"application/json"
_HEADERS: Final[list[tuple[bytes, bytes]]] = [
    (b"access-control-allow-origin", b"*"),
    (b"access-control-max-age", b"900"),
    (b"access-control-allow-methods", b"OPTIONS,GET,HEAD,POST,PUT,DELETE,TRACE,CONNECT"),
    (b"access-control-request-method", b"*"),
    (
        b"access-control-allow-headers",
        b"X-Requested-With,Content-Type,Authorization,Accept,Origin,Cache-Control",
    ),
    (b"cache-control", b"no-store no-cache must-revalidate"),
    (b"x-content-type-options", b"nosniff"),
]
NOT_FOUND: Final = b'{"error": "Not found"}'
NO_ENDPOINT: Final = ""
"""What is counted in place of an endpoint for a request that has none."""
CLIENT_GONE: Final = 499
"""The status counted for a caller that did not wait for the answer."""
MAX_TRACE_ID: Final = 200
"""Bytes of it that a log line tells."""
_LOGGED: Final = ("taskId", "runId", "taskGroupId", "taskQueueId")
"""URL parameters that log lines and spans tell."""
_TRACEPARENT: Final = tracing.HEADER.encode()


@dataclass
class _Request:
    """What is known of a request so far; an error reply shows it."""

    headers: Mapping[bytes, bytes]
    endpoint: Endpoint
    params: Mapping[str, str]
    signed: SignedRequest
    reader: BodyReader
    facts: dict[str, object]
    """For the log."""
    payload: Any = field(default_factory=dict)

    @property
    def content_type(self) -> bytes:
        return self.headers.get(b"content-type", b"").split(b";")[0].strip().lower()

    @property
    def echo(self) -> Any:
        """The body as a refusal repeats it."""
        return self.payload if len(self.signed.body) <= MAX_ECHO else {}


class Pipeline:
    """Serves the endpoints below ``base_path``; ``handlers`` holds an object of each section's class."""

    def __init__(
        self,
        base_path: str,
        sections: Iterable[Section],
        handlers: Mapping[type, object],
        clock: Clock,
        gate: Gate,
        room: Room,
    ) -> None:
        self.base_path = base_path
        self.calls = Calls()
        self._room = room
        self._handlers = {
            endpoint.name: handlers[section.handlers]
            for section in sections
            for endpoint in section.endpoints
        }
        self._router = Router(endpoint for section in sections for endpoint in section.endpoints)
        self._clock = clock
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request whose raw path begins with ``base_path``; count it, and log it at debug.

        The scope of a WebSocket is that of a GET as well (``streaming.as_request``).
        """
        began = perf_counter()
        headers: dict[bytes, bytes] = dict(scope["headers"])
        trace_id = headers.get(b"x-taskcluster-trace-id", b"") or _request_id()
        facts: dict[str, object] = {"traceId": trace_id[:MAX_TRACE_ID].decode("latin-1")}
        before = about.set(facts)
        try:
            parent = headers.get(_TRACEPARENT, b"").decode("latin-1")
            with tracing.span(scope["method"], "server", parent=parent) as span:
                name, status = await self._serve(scope, receive, send, headers, trace_id, facts)
                _describe(span, scope["method"], name, status, facts)
            seconds = perf_counter() - began
            self.calls.add(name, status, seconds)
            if _level.isEnabledFor(logging.DEBUG):
                logger.debug("call", verb=scope["method"], method=name, status=status, seconds=seconds)
        finally:
            about.reset(before)

    async def _serve(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        headers: Mapping[bytes, bytes],
        trace_id: bytes,
        facts: dict[str, object],
    ) -> tuple[str, int]:
        """Find the endpoint and answer; the endpoint's name and the status."""
        verb = scope["method"].lower()
        method = "get" if verb == "head" else verb
        try:
            match = self._router.match(raw_path_of(scope)[len(self.base_path) :], method)
        except BadEncoding:
            body = b'{"error": "the path is not percent-encoded UTF-8"}'
            await _reply(send, 400, body, trace_id)
            return NO_ENDPOINT, 400
        if match is not None and verb == "options":
            allowed = ",".join(sorted({method.upper() for method in match.methods} | _implied(match)))
            await _reply(send, 200, b"", trace_id, [(b"allow", allowed.encode())])
            return NO_ENDPOINT, 200
        endpoint = match.methods.get(method) if match else None
        upgraded = scope["type"] == "websocket"
        if match is None or endpoint is None or (upgraded and not endpoint.streams):
            await _reply(send, 404, NOT_FOUND, trace_id, head=verb == "head")
            return NO_ENDPOINT, 404
        params = match.params(endpoint)
        facts.update((name, params[name]) for name in _LOGGED if name in params)
        reader = BodyReader(self._room)
        request = _Request(headers, endpoint, params, _signed(scope, headers), reader, facts)
        try:
            answer = await self._answer(request, scope, receive)
        except ClientGone:
            return endpoint.name, CLIENT_GONE
        finally:
            reader.close()
        if isinstance(answer, Stream):
            if upgraded:
                await send_frames(answer, receive, send)
                return endpoint.name, 101
            await send_events(answer, receive, send, _headers(trace_id), head=verb == "head")
            return endpoint.name, 200
        status, reply, extra = answer
        await _reply(send, status, reply, trace_id, extra, head=verb == "head")
        return endpoint.name, status

    async def _answer(
        self, request: _Request, scope: Scope, receive: Receive
    ) -> Stream | tuple[int, bytes, list[tuple[bytes, bytes]]]:
        endpoint = request.endpoint
        extra: list[tuple[bytes, bytes]] = []
        try:
            await _read_body(request, receive)
            result = await self._admitted(request, scope, receive)
            if isinstance(result, Stream):
                return result
            if isinstance(result, Answer):
                return result.status, _body(result.body), list(result.headers)
            if result is None:
                return (200, b"{}", extra) if endpoint.says_done else (204, b"", extra)
            return 200, _body(result), extra
        except QueueError as error:
            if error.code == "AuthenticationFailed":
                extra.append((b"www-authenticate", b"hawk"))
            status, body = refused(
                error,
                method=endpoint.name,
                params=request.params,
                payload=request.echo,
                now=self._clock.now(),
            )
            return status, body, extra
        except (StoreUnavailable, BlobsUnavailable, Overloaded) as error:
            logger.warning("call not served", method=endpoint.name, reason=str(error))
            # A link that broke during the commit leaves open which of the two it was.
            message = (
                f"The service cannot do this now ({error}). It was done completely or not at all; try again."
            )
            return *self._internal(request, message, 503), [(b"retry-after", b"1")]
        except (ClientGone, asyncio.CancelledError):
            raise
        except Exception:
            incident = str(uuid.uuid4())
            logger.exception(
                "call failed", method=endpoint.name, params=dict(request.params), incident=incident
            )
            message = f"Internal Server Error, incident {incident}. The log of the service tells more."
            return *self._internal(request, message, 500), extra

    def _internal(self, request: _Request, message: str, status: int) -> tuple[int, bytes]:
        return error_body(
            "InternalServerError",
            message,
            method=request.endpoint.name,
            params=request.params,
            payload=request.echo,
            now=self._clock.now(),
            status=status,
        )

    async def _admitted(self, request: _Request, scope: Scope, receive: Receive) -> Result:
        """Check and handle; before a caller is refused, clients and roles are looked at again."""
        generation = self._gate.generation
        try:
            return await self._checked(request, scope, receive)
        except (AuthenticationFailed, InsufficientScopes):
            if not await self._gate.refresh(generation):
                raise
        return await self._checked(request, scope, receive)

    async def _checked(self, request: _Request, scope: Scope, receive: Receive) -> Result:
        """The checks in the order of the wire, then the handler."""
        endpoint = request.endpoint
        permit = NOBODY if endpoint.scopes is None else await self._gate.admit(request.signed)
        if permit.client_id:
            request.facts["clientId"] = permit.client_id
        if endpoint.scopes is not None and not endpoint.deferred:
            permit.require(endpoint.scopes, request.params)
        check_params(request.params)
        query, lists = checked_query(endpoint, scope["query_string"])
        body = checked_body(
            endpoint,
            request.payload,
            is_json=request.content_type == _JSON,
            absent=_has_no_body(request.headers),
        )
        call = Call(
            endpoint=endpoint,
            params=request.params,
            query=query,
            lists=lists,
            headers=request.headers,
            body=body,
            payload=request.payload,
            size=len(request.signed.body),
            permit=permit,
            signed=request.signed,
            disconnected=lambda: _disconnected(receive),
        )
        return await endpoint.handler(self._handlers[endpoint.name], call)


def _describe(span: tracing.Span, verb: str, name: str, status: int, facts: Mapping[str, object]) -> None:
    span.describe(name or verb, {"http.request.method": verb, "http.response.status_code": status, **facts})
    if status >= 500:
        span.fail(f"HTTP {status}")


def raw_path_of(scope: Scope) -> str:
    """The path as it stood on the request line, still percent-encoded."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    return raw.split(b"?", 1)[0].decode("latin-1")


def _signed(scope: Scope, headers: Mapping[bytes, bytes]) -> SignedRequest:
    query = scope["query_string"]
    host, port = host_and_port(headers, scope.get("scheme", "http"))
    authorization = headers.get(b"authorization")
    return SignedRequest(
        method=scope["method"],
        resource=raw_path_of(scope) + ("?" + query.decode("latin-1") if query else ""),
        host=host,
        port=port,
        authorization=None if authorization is None else authorization.decode("latin-1"),
        content_type=headers.get(b"content-type", b"").decode("latin-1"),
    )


def _body(value: Document | Mapping[str, Any]) -> bytes:
    return value.to_json() if isinstance(value, Document) else to_json(value)


def _implied(match: Match) -> set[str]:
    return {"OPTIONS", "HEAD"} if "get" in match.methods else {"OPTIONS"}


async def _read_body(request: _Request, receive: Receive) -> None:
    """Read the body when it counts: JSON is parsed, and what the signature covers is kept."""
    is_json = request.content_type == _JSON
    if not is_json and not request.signed.covers_body:
        return
    raw = await request.reader.read(receive, request.headers.get(b"content-length", b"0"))
    if raw:
        request.signed = replace(request.signed, body=raw)
    if raw and is_json:
        request.payload = parsed(raw, request.endpoint.max_values)


def _has_no_body(headers: Mapping[bytes, bytes]) -> bool:
    return headers.get(b"content-length", b"0") == b"0" and b"transfer-encoding" not in headers


def _request_id() -> bytes:
    """A fresh UUID (version 4). It tells requests apart and is no secret, so a cheap one does."""
    digits = b"%032x" % random.getrandbits(128)
    variant = b"89ab"[digits[16] & 3 : (digits[16] & 3) + 1]
    return b"%b-%b-4%b-%b%b-%b" % (
        digits[:8],
        digits[8:12],
        digits[13:16],
        variant,
        digits[17:20],
        digits[20:],
    )


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _headers(trace_id: bytes) -> list[tuple[bytes, bytes]]:
    """What every reply says of itself."""
    return [*_HEADERS, (b"x-for-trace-id", trace_id), (b"x-for-request-id", _request_id())]


async def _reply(
    send: Send,
    status: int,
    body: bytes,
    trace_id: bytes,
    extra: Iterable[tuple[bytes, bytes]] = (),
    *,
    head: bool = False,
) -> None:
    headers = [*_headers(trace_id), *extra]
    if status != 204:
        headers.append((b"content-type", b"application/json; charset=utf-8"))
        headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head else body})
