"""Matching a raw, still percent-encoded path (``queue-behaviour.md`` 1.1)."""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from queue_service.api.endpoint import Endpoint

_BROKEN_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2})")


class BadEncoding(Exception):
    """A segment is not percent-encoded UTF-8."""


@dataclass(frozen=True)
class Match:
    """The methods that exist at a path, and the parameters in it."""

    methods: dict[str, Endpoint]
    params: dict[str, str]


@dataclass(frozen=True)
class _Pattern:
    segments: tuple[str, ...]
    multi: int | None
    """Place of the segment that may span several."""
    keeps_slash: bool
    """Whether a final slash belongs to the last parameter (artifact names)."""


class Router:
    """All routes below one base path."""

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        self._routes: dict[str, list[tuple[_Pattern, dict[str, Endpoint]]]] = defaultdict(list)
        known: dict[str, dict[str, Endpoint]] = {}
        for endpoint in endpoints:
            if endpoint.route not in known:
                pattern = _compile(endpoint)
                known[endpoint.route] = {}
                self._routes[pattern.segments[0]].append((pattern, known[endpoint.route]))
            known[endpoint.route][endpoint.method] = endpoint

    def match(self, raw_path: str) -> Match | None:
        """The route of a raw path that starts with a slash; None when there is none.

        Raises BadEncoding when a parameter is not percent-encoded UTF-8.
        """
        segments = raw_path[1:].split("/")
        for pattern, methods in self._routes.get(segments[0], ()):
            params = _params(pattern, segments)
            if params is not None:
                return Match(methods, {name: _decode(raw) for name, raw in params.items()})
        return None


def _compile(endpoint: Endpoint) -> _Pattern:
    segments = tuple(endpoint.route.strip("/").split("/"))
    multi = None
    if endpoint.multi_segment is not None:
        multi = segments.index(f"<{endpoint.multi_segment}>")
    return _Pattern(segments, multi, keeps_slash=endpoint.multi_segment == "name")


def _params(pattern: _Pattern, segments: list[str]) -> dict[str, str] | None:
    if segments[-1] == "" and len(segments) > 1 and not pattern.keeps_slash:
        segments = segments[:-1]
    extra = len(segments) - len(pattern.segments)
    if extra < 0 or (extra > 0 and pattern.multi is None):
        return None
    params: dict[str, str] = {}
    place = 0
    for index, segment in enumerate(pattern.segments):
        width = 1 + extra if index == pattern.multi else 1
        given = "/".join(segments[place : place + width])
        place += width
        if segment.startswith("<"):
            params[segment[1:-1]] = given
        elif segment != given:
            return None
    return params


def _decode(raw: str) -> str:
    if "%" not in raw:
        return raw
    if _BROKEN_ESCAPE.search(raw):
        raise BadEncoding(raw)
    try:
        return unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        raise BadEncoding(raw) from None
