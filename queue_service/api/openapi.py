"""The OpenAPI document, made from the table of endpoints."""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic.json_schema import models_json_schema

from queue_service.api.endpoint import Api, Endpoint
from schemas.base import Wire
from schemas.errors import ErrorResponse
from schemas.ids import PARAMETER_PATTERNS, QUERY_PATTERNS

_REFERENCE = "#/components/schemas/{model}"


def openapi(apis: Iterable[Api], version: str) -> dict[str, Any]:
    """The document for these APIs, as JSON values."""
    table = [(api, endpoint) for api in apis for endpoint in api.endpoints]
    inputs = {endpoint.input for _, endpoint in table if endpoint.input is not None}
    outputs = {endpoint.output for _, endpoint in table if endpoint.output is not None} | {ErrorResponse}
    shapes: list[tuple[type[Wire], Any]] = [
        *((shape, "validation") for shape in sorted(inputs, key=_name)),
        *((shape, "serialization") for shape in sorted(outputs, key=_name)),
    ]
    references, definitions = models_json_schema(shapes, by_alias=True, ref_template=_REFERENCE)
    known = {shape: reference for (shape, _), reference in references.items()}
    paths: dict[str, dict[str, Any]] = {}
    for api, endpoint in table:
        path = api.base_path + endpoint.route.replace("<", "{").replace(">", "}")
        paths.setdefault(path, {})[endpoint.method] = _operation(api, endpoint, known)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Taskbus",
            "version": version,
            "description": "A Taskcluster-compatible queue whose state and messages commit together.",
        },
        "paths": paths,
        "components": {"schemas": definitions.get("$defs", {})},
    }


def _name(shape: type[Wire]) -> str:
    return shape.__name__


def _operation(api: Api, endpoint: Endpoint, known: Mapping[Any, dict[str, Any]]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": f"{api.service}.{endpoint.name}",
        "tags": [f"{api.title}: {endpoint.category}"],
        "summary": endpoint.title,
        "description": _description(endpoint),
        "deprecated": endpoint.stability == "deprecated",
        "parameters": _parameters(endpoint),
        "responses": {
            "200": {"description": "Done", "content": _content(known.get(endpoint.output))},
            "default": {"description": "Refused", "content": _content(known[ErrorResponse])},
        },
    }
    if endpoint.input is not None:
        operation["requestBody"] = {"required": True, "content": _content(known[endpoint.input])}
    return operation


def _description(endpoint: Endpoint) -> str:
    if endpoint.scopes is None:
        return endpoint.description
    return f"{endpoint.description}\n\nScopes: `{endpoint.scopes}`"


def _parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    names = [part[1:-1] for part in endpoint.route.split("/") if part.startswith("<")]
    return [
        *(
            {
                "name": name,
                "in": "path",
                "required": True,
                "schema": {"type": "string", "pattern": f"^(?:{PARAMETER_PATTERNS[name]})$"},
            }
            for name in names
        ),
        *(
            {
                "name": name,
                "in": "query",
                "schema": {"type": "string", "pattern": f"^(?:{QUERY_PATTERNS[name]})$"},
            }
            for name in endpoint.query
        ),
    ]


def _content(schema: dict[str, Any] | None) -> dict[str, Any]:
    return {"application/json": {"schema": schema or {"type": "object"}}}
