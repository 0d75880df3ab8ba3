"""The HTTP application: calls go straight to their API's pipeline, the documentation pages to FastAPI."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from events.exchanges import EXCHANGES
from queue_service.api.bodies import Room
from queue_service.api.endpoint import Api
from queue_service.api.health import Health
from queue_service.api.monitoring import ROOT, Monitoring
from queue_service.api.openapi import openapi
from queue_service.api.permit import Gate
from queue_service.api.pipeline import Pipeline, raw_path_of
from queue_service.api.reference_files import ROOTS, ReferenceFiles
from queue_service.api.references import references
from queue_service.api.streaming import as_request
from queue_service.clock import Clock
from queue_service.counting import Calls

PAGES = ("/docs", "/openapi.json")
"""Where FastAPI answers. Any other path must not build it: that takes a second of everybody's time."""


class Application:
    """The ASGI application of the service. ``handlers``: an object of each class that ``apis`` name.

    ``paths``: applications that answer whatever begins with their path, WebSockets included; those of other
    paths are for endpoints that stream. ``room``: what the bodies of requests may take together.
    """

    def __init__(
        self,
        apis: Sequence[Api],
        handlers: Iterable[object],
        clock: Clock,
        gate: Gate,
        version: str,
        *,
        health: Health | None = None,
        paths: Mapping[str, ASGIApp] | None = None,
        room: Room | None = None,
    ) -> None:
        room = room or Room()
        self._version = version
        self._apis = apis
        by_class = {type(handler): handler for handler in (*handlers, Monitoring(version, health))}
        self._pipelines = {
            api.service: Pipeline(api.base_path, api.sections, by_class, clock, gate, room) for api in apis
        }
        self._paths = _longest_first(paths or {}, self._pipelines.values())
        self._root = Pipeline("", [ROOT], by_class, clock, gate, room)
        self._references = ReferenceFiles(lambda: references(apis, EXCHANGES))

    @property
    def calls(self) -> Mapping[str, Calls]:
        """What was called so far, by service; that of the root's own endpoints is empty."""
        return {"": self._root.calls} | {name: api.calls for name, api in self._pipelines.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        application = self._application_of(scope)
        if scope["type"] == "websocket" and isinstance(application, Pipeline):
            scope, receive, send = await as_request(scope, receive, send)
        await application(scope, receive, send)

    def _application_of(self, scope: Scope) -> ASGIApp:
        if scope["type"] in ("http", "websocket"):
            path = raw_path_of(scope)
            for beginning, application in self._paths:
                if path.startswith(beginning):
                    return application
            if path.startswith("/api/"):
                api = self._pipelines.get(path.split("/", 3)[2])
                if api is not None and path.startswith(api.base_path + "/"):
                    return api
        if scope["type"] == "http":
            if path.startswith(ROOTS):
                return self._references
            if not path.startswith(PAGES):
                return self._root
        return self._pages

    @cached_property
    def _pages(self) -> ASGIApp:
        """Documentation pages; built when first asked for, as most processes never are."""
        from fastapi import FastAPI  # an eighth of the time that the whole service takes to start

        document = openapi(self._apis, self._version)
        pages = FastAPI(title="Taskbus", version=self._version, docs_url="/docs", redoc_url=None)

        def described() -> dict[str, Any]:
            return document

        pages.openapi = described  # type: ignore[method-assign]

        async def not_found(request: Request, error: Exception) -> JSONResponse:
            return JSONResponse({"error": "Not found"}, status_code=404)

        pages.add_exception_handler(404, not_found)
        pages.add_exception_handler(405, not_found)
        return pages


def _longest_first(paths: Mapping[str, ASGIApp], pipelines: Iterable[Pipeline]) -> list[tuple[str, ASGIApp]]:
    """What answers by the beginning of the path; an API goes before a path that its own lies below."""
    below: dict[str, ASGIApp] = {
        pipeline.base_path + "/": pipeline
        for pipeline in pipelines
        if any(pipeline.base_path.startswith(path) for path in paths)
    }
    return sorted({**paths, **below}.items(), key=lambda item: len(item[0]), reverse=True)
