"""The HTTP application: calls go straight to their pipeline, the documentation pages to FastAPI."""

from functools import cached_property
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from queue_service.api.endpoints import BASE_PATH, QUEUE_ENDPOINTS
from queue_service.api.openapi import openapi
from queue_service.api.permit import Permit
from queue_service.api.pipeline import Pipeline, raw_path_of
from queue_service.api.queue import QueueApi
from queue_service.clock import Clock

ROOT_ENDPOINTS = [
    endpoint for endpoint in QUEUE_ENDPOINTS if endpoint.name in ("heartbeat", "lbheartbeat", "version")
]
"""Endpoints that exist at the server root as well (``queue-behaviour.md`` 1.1)."""
PAGES = ("/docs", "/openapi.json")
"""Where FastAPI answers. Any other path must not build it: that takes a second of everybody's time."""


class Application:
    """The ASGI application of the service."""

    def __init__(self, api: QueueApi, clock: Clock, permit: Permit, version: str) -> None:
        self._version = version
        self._queue = Pipeline(BASE_PATH, QUEUE_ENDPOINTS, api, clock, permit)
        self._root = Pipeline("", ROOT_ENDPOINTS, api, clock, permit)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._application_of(scope)(scope, receive, send)

    def _application_of(self, scope: Scope) -> ASGIApp:
        if scope["type"] == "http":
            path = raw_path_of(scope)
            if path.startswith(BASE_PATH + "/"):
                return self._queue
            if not path.startswith(PAGES):
                return self._root
        return self._pages

    @cached_property
    def _pages(self) -> ASGIApp:
        """Documentation pages; built when first asked for, as most processes never are."""
        from fastapi import FastAPI  # an eighth of the time that the whole service takes to start

        document = openapi(QUEUE_ENDPOINTS, BASE_PATH, self._version)
        pages = FastAPI(title="Taskbus", version=self._version, docs_url="/docs", redoc_url=None)

        def described() -> dict[str, Any]:
            return document

        pages.openapi = described  # type: ignore[method-assign]

        async def not_found(request: Request, error: Exception) -> JSONResponse:
            return JSONResponse({"error": "Not found"}, status_code=404)

        pages.add_exception_handler(404, not_found)
        pages.add_exception_handler(405, not_found)
        return pages
