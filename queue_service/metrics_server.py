"""The port of this process for monitoring: ``/metrics`` and the heartbeats, apart from the API.

It knows no credentials, so it listens on loopback unless told otherwise, and tells no secrets.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Final

import structlog
import uvicorn
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from pydantic_core import to_json
from starlette.types import Receive, Scope, Send

from queue_service.api.health import Health
from queue_service.http_limits import LimitedProtocol
from queue_service.metrics import Metrics

logger = structlog.get_logger(__name__)

MAX_CONNECTIONS: Final = 20
IDLE_SECONDS: Final = 75
STOP_SECONDS: Final = 1
JSON: Final = "application/json; charset=utf-8"

Answer = tuple[int, str, bytes]
"""Status, type and bytes of a reply."""


class MetricsServer:
    """Serves them on a listening socket: ``async with MetricsServer(listener, metrics, health): …``."""

    def __init__(self, listener: socket.socket, metrics: Metrics, health: Health) -> None:
        self._listener = listener
        self._metrics = metrics
        self._health = health
        self._answers: dict[str, Callable[[], Awaitable[Answer]]] = {
            "/metrics": self._tell,
            "/__heartbeat__": self._heartbeat,
            "/__lbheartbeat__": self._alive,
        }
        config = uvicorn.Config(
            self.application,
            interface="asgi3",
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_keep_alive=IDLE_SECONDS,
            timeout_graceful_shutdown=STOP_SECONDS,
            ws="none",
            http=partial(LimitedProtocol, max_connections=MAX_CONNECTIONS),  # type: ignore[arg-type]
        )
        self._server = uvicorn.Server(config)
        self._serving: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "MetricsServer":
        self._serving = asyncio.create_task(self._server._serve([self._listener]), name="metrics server")
        host, port = self._listener.getsockname()[:2]
        logger.info("metrics are told", url=f"http://{f'[{host}]' if ':' in host else host}:{port}/metrics")
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.should_exit = True
        if self._serving is not None:
            with suppress(asyncio.CancelledError):
                await self._serving

    async def application(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        find = self._answers.get(scope["path"])
        if find is None:
            status, kind, body = 404, JSON, b'{"error": "Not found"}'
        elif scope["method"] not in ("GET", "HEAD"):
            status, kind, body = 405, JSON, b'{"error": "Only GET"}'
        else:
            status, kind, body = await find()
        headers = [
            (b"content-type", kind.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    async def _tell(self) -> Answer:
        return 200, CONTENT_TYPE_PLAIN_0_0_4, await self._metrics.text()

    async def _heartbeat(self) -> Answer:
        condition = await self._health.look()
        return 200 if condition.ready else 503, JSON, to_json(condition.facts)

    async def _alive(self) -> Answer:
        return 200, JSON, b"{}"
