"""Serves references and schemas as files: to everybody, with a tag to ask again by."""

import hashlib
import json
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Final

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from queue_service.api.pipeline import NOT_FOUND, raw_path_of

ROOTS: Final = ("/references/", "/schemas/")
"""Where the files are."""
_FRESH: Final = "public, max-age=300"
_COMMON: Final = {
    "access-control-allow-origin": "*",
    "access-control-allow-methods": "OPTIONS,GET,HEAD",
    "access-control-allow-headers": "If-None-Match",
    "access-control-max-age": "900",
    "x-content-type-options": "nosniff",
}


class ReferenceFiles:
    """An ASGI application; ``generate`` gives the files by path, and is called for the first request."""

    def __init__(self, generate: Callable[[], Mapping[str, Any]]) -> None:
        self._generate = generate

    @cached_property
    def _files(self) -> dict[str, tuple[bytes, str]]:
        """The bytes of each file and their tag."""
        texts = {
            path: (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()
            for path, document in self._generate().items()
        }
        return {path: (text, f'"{hashlib.sha256(text).hexdigest()[:32]}"') for path, text in texts.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._response(scope)(scope, receive, send)

    def _response(self, scope: Scope) -> Response:
        file = self._files.get(raw_path_of(scope))
        if file is None or scope["method"] not in ("GET", "HEAD", "OPTIONS"):
            return Response(NOT_FOUND, 404, _COMMON, "application/json")
        if scope["method"] == "OPTIONS":
            return Response(b"", 200, {**_COMMON, "allow": "GET,HEAD,OPTIONS"})
        text, tag = file
        headers = {**_COMMON, "etag": tag, "cache-control": _FRESH}
        known = Headers(scope=scope).get("if-none-match", "")
        if known == "*" or tag in (part.strip().removeprefix("W/") for part in known.split(",")):
            return Response(None, 304, headers)
        headers["content-length"] = str(len(text))
        return Response(text if scope["method"] == "GET" else b"", 200, headers, "application/json")
