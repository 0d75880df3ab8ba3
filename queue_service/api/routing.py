"""Matching a raw, still percent-encoded path (``queue-behaviour.md`` 1.1)."""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

from queue_service.api.endpoint import Endpoint

PARAMETER: Final = "<>"
_BROKEN_ESCAPE: Final = re.compile("%(?![0-9A-Fa-f]{2})")


class BadEncoding(Exception):
    """A segment is not percent-encoded UTF-8."""


@dataclass(frozen=True)
class Match:
    """The methods that exist at a path, and the values in it."""

    methods: dict[str, Endpoint]
    values: tuple[str, ...]

    def params(self, endpoint: Endpoint) -> dict[str, str]:
        """The parameters by the names that the endpoint gives them; one that is left out is absent."""
        return dict(zip(endpoint.args, self.values, strict=False))


@dataclass(frozen=True)
class _Pattern:
    segments: tuple[str, ...]
    multi: int | None
    """Place of the segment that may span several."""
    keeps_slash: bool
    """Whether a final slash belongs to the last parameter (artifact names)."""
    optional: bool
    """Whether the last segment may be left out."""


class Router:
    """All routes below one base path."""

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        self._routes: dict[str, list[tuple[_Pattern, dict[str, Endpoint]]]] = defaultdict(list)
        known: dict[_Pattern, dict[str, Endpoint]] = {}
        for endpoint in endpoints:
            pattern = _compile(endpoint)
            if pattern not in known:
                known[pattern] = {}
                self._routes[pattern.segments[0]].append((pattern, known[pattern]))
            known[pattern][endpoint.method] = endpoint

    def match(self, raw_path: str, method: str) -> Match | None:
        """The route of a raw path that starts with a slash; None when there is none.

        Of several that fit, the first that has the method; if none has it, the first. Raises BadEncoding when
        a parameter is not percent-encoded UTF-8.
        """
        found: Match | None = None
        segments = raw_path[1:].split("/")
        for pattern, methods in (*self._routes.get(segments[0], ()), *self._routes.get(PARAMETER, ())):
            values = _values(pattern, segments)
            if values is not None and (found is None or method in methods):
                found = Match(methods, tuple(map(_decode, values)))
                if method in methods:
                    break
        return found


def _compile(endpoint: Endpoint) -> _Pattern:
    """The form of a route, whatever its parameters are called."""
    segments = endpoint.route.strip("/").split("/")
    multi = None
    if endpoint.multi_segment is not None:
        multi = segments.index(f"<{endpoint.multi_segment}>")
    return _Pattern(
        tuple(PARAMETER if segment.startswith("<") else segment for segment in segments),
        multi,
        keeps_slash=endpoint.multi_segment == "name",
        optional=endpoint.optional is not None,
    )


def _values(pattern: _Pattern, segments: list[str]) -> list[str] | None:
    if segments[-1] == "" and len(segments) > 1 and not pattern.keeps_slash:
        segments = segments[:-1]
    extra = len(segments) - len(pattern.segments)
    wanted = pattern.segments
    if extra == -1 and pattern.optional:
        wanted, extra = wanted[:-1], 0
    if extra < 0 or (extra > 0 and pattern.multi is None):
        return None
    values: list[str] = []
    place = 0
    for index, segment in enumerate(wanted):
        width = 1 + extra if index == pattern.multi else 1
        given = "/".join(segments[place : place + width])
        place += width
        if segment == PARAMETER:
            values.append(given)
        elif segment != given:
            return None
    return values


def _decode(raw: str) -> str:
    if "%" not in raw:
        return raw
    if _BROKEN_ESCAPE.search(raw):
        raise BadEncoding(raw)
    try:
        return unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        raise BadEncoding(raw) from None
