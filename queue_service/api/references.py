"""What the services publish about themselves: references, schemas and the manifest that lists them.

Generators of clients read these files, in the format that the published clients are made from. Everything
follows from the declarations of endpoints and exchanges.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from pydantic.alias_generators import to_camel

from events.exchanges import Exchange, Word
from queue_service.api.endpoint import Api, Endpoint
from queue_service.api.meta_schemas import meta_schemas, path_of
from schemas.base import Wire
from schemas.export import json_schema

MANIFEST: Final = "/references/manifest.json"
_PREFIX: Final = re.compile(r"exchange/(?:taskcluster|taskbus)-(?P<service>[^/]+)/(?P<version>[^/]+)/")

Document = dict[str, Any]


def references(apis: Sequence[Api], exchanges: Iterable[Exchange]) -> dict[str, Document]:
    """Every file as JSON values, by its path below the root URL."""
    told = _by_service(exchanges)
    listed: dict[str, Document] = {}
    shapes: dict[str, type[Wire]] = {}
    for api in apis:
        listed[f"/references/{api.service}/{api.version}/api.json"] = _api(api)
        shapes |= {_schema_path(api, shape): shape for shape in _shapes(api)}
        if own := told.get((api.service, api.version)):
            listed[f"/references/{api.service}/{api.version}/exchanges.json"] = _exchanges(api, own)
            shapes |= {_schema_path(api, exchange.payload): exchange.payload for exchange in own}
    return {
        MANIFEST: {"$schema": f"{path_of('manifest-v3')}#", "references": sorted(listed)},
        **listed,
        **{path: {**json_schema(shape), "$id": f"{path}#"} for path, shape in sorted(shapes.items())},
        **meta_schemas(),
    }


def _api(api: Api) -> Document:
    return {
        "$schema": f"{path_of('api-reference-v0')}#",
        "serviceName": api.service,
        "apiVersion": api.version,
        "title": f"{api.title} Service",
        "description": api.description,
        "entries": [_method(api, endpoint) for endpoint in api.published],
    }


def _method(api: Api, endpoint: Endpoint) -> Document:
    entry: Document = {
        "type": "function",
        "name": endpoint.name,
        "title": endpoint.title,
        "description": endpoint.description,
        "category": endpoint.category,
        "method": endpoint.method,
        "route": endpoint.route,
        "args": list(endpoint.args),
        "query": [*endpoint.query, *endpoint.lists],
        "stability": endpoint.stability,
    }
    if endpoint.scopes is not None:
        entry["scopes"] = endpoint.scopes
    if endpoint.input is not None:
        entry["input"] = _schema_name(api, endpoint.input)
    if endpoint.output is not None:
        entry["output"] = _schema_name(api, endpoint.output)
    return entry


def _exchanges(api: Api, exchanges: Sequence[Exchange]) -> Document:
    return {
        "$schema": f"{path_of('exchanges-reference-v0')}#",
        "serviceName": api.service,
        "apiVersion": api.version,
        "title": f"{api.title} Exchanges",
        "description": f"What the {api.service} service tells: durable topic exchanges, persistent JSON.",
        "exchangePrefix": exchanges[0].prefix,
        "entries": [
            {
                "type": "topic-exchange",
                "name": to_camel(exchange.name.replace("-", "_")),
                "exchange": exchange.name,
                "title": exchange.title,
                "description": exchange.description,
                "routingKey": [_word(word) for word in exchange.words],
                "schema": _schema_name(api, exchange.payload),
            }
            for exchange in exchanges
        ],
    }


def _word(word: Word) -> Document:
    constant = {} if word.constant is None else {"constant": word.constant}
    return {
        "name": word.name,
        "summary": word.summary,
        **constant,
        "multipleWords": word.multiple_words,
        "required": word.required,
        "maxSize": word.max_size,
    }


def _by_service(exchanges: Iterable[Exchange]) -> dict[tuple[str, str], list[Exchange]]:
    """The exchanges of each service. Those with another prefix than its first one are extensions of ours."""
    found: dict[tuple[str, str], list[Exchange]] = {}
    for exchange in exchanges:
        match = _PREFIX.fullmatch(exchange.prefix)
        if match is None:
            raise ValueError(f"the prefix of {exchange.full_name} names no service")
        listed = found.setdefault((match["service"], match["version"]), [])
        if not listed or listed[0].prefix == exchange.prefix:
            listed.append(exchange)
    return found


def _shapes(api: Api) -> Iterator[type[Wire]]:
    for endpoint in api.published:
        for shape in (endpoint.input, endpoint.output):
            if shape is not None:
                yield shape


def _schema_name(api: Api, shape: type[Wire]) -> str:
    """How a reference names a schema: relative to the schemas of its service."""
    return f"{api.version}/{shape.schema_name}.json#"


def _schema_path(api: Api, shape: type[Wire]) -> str:
    return f"/schemas/{api.service}/{api.version}/{shape.schema_name}.json"
