"""A small generator of clients: reads the references of a deployment as generators of real clients do."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Fetch = Callable[[str], Any]
"""The JSON at a path below the root URL."""


@dataclass(frozen=True)
class Method:
    """What a generated client knows of a method."""

    method: str
    route: str
    args: tuple[str, ...]
    query: frozenset[str]
    takes_body: bool
    gives_body: bool
    stability: str


def services(fetch: Fetch) -> dict[str, dict[str, Method]]:
    """The methods of each service that the manifest lists, by name."""
    found = (fetch(path) for path in fetch("/references/manifest.json")["references"])
    return {
        document["serviceName"]: {entry["name"]: method_of(entry) for entry in document["entries"]}
        for document in found
        if document["$schema"] == "/schemas/common/api-reference-v0.json#"
    }


def exchanges(fetch: Fetch) -> dict[str, dict[str, tuple[str, tuple[tuple[str, bool], ...]]]]:
    """Full name, and words with whether each may stand for several, of each exchange of each service."""
    found = (fetch(path) for path in fetch("/references/manifest.json")["references"])
    return {
        document["serviceName"]: {
            entry["name"]: (
                document["exchangePrefix"] + entry["exchange"],
                tuple((word["name"], word["multipleWords"]) for word in entry["routingKey"]),
            )
            for entry in document["entries"]
        }
        for document in found
        if document["$schema"] == "/schemas/common/exchanges-reference-v0.json#"
    }


def method_of(entry: Mapping[str, Any]) -> Method:
    """A method from its entry in a reference, or from what a published client has compiled in."""
    return Method(
        method=entry["method"],
        route=entry["route"],
        args=tuple(entry["args"]),
        query=frozenset(entry.get("query", ())),
        takes_body="input" in entry,
        gives_body="output" in entry,
        stability=entry["stability"],
    )
