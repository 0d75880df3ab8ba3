"""The OpenAPI document, made from the table of endpoints."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic.json_schema import JsonSchemaMode, models_json_schema

from queue_service.api.endpoint import Api, Endpoint
from queue_service.api.examples import REQUESTS, RESPONSES
from schemas.base import Wire
from schemas.errors import ERROR_STATUS, ErrorResponse
from schemas.export import WireSchema
from schemas.ids import PARAMETER_PATTERNS, QUERY_PATTERNS

_SCHEMA: Final = "#/components/schemas/{model}"
_REFUSALS: Final = {
    400: "The request is malformed, or what it asks for is not allowed",
    401: "The credentials are not valid",
    403: "The caller lacks scopes; the message lists them",
    404: "There is no such thing",
    406: "It cannot be had in any of the ways that the caller accepts",
    409: "The state of the thing forbids the call",
    410: "It has expired and will be deleted",
    413: "The body is too large",
    422: "It cannot be read in this format",
    424: "The worker says that the work failed",
    502: "The worker that had the work is gone",
    503: "The service cannot do this now; try again",
    504: "No worker did the work in time",
}
_NO_ARTIFACT: Final = "NoArtifact424"
_SECURITY: Final = {
    "hawk": {
        "type": "http",
        "scheme": "hawk",
        "description": (
            "The header `Authorization: Hawk id=…, ts=…, nonce=…, mac=…` signs method, raw path and query, "
            "host and port with the client's access token (SHA-256); `hash` signs the body as well, and "
            "`ext` carries the certificate of temporary credentials and `authorizedScopes`. Every client of "
            "Taskcluster makes it from `TASKCLUSTER_CLIENT_ID` and `TASKCLUSTER_ACCESS_TOKEN`. "
            "This page cannot."
        ),
    },
    "bewit": {
        "type": "apiKey",
        "in": "query",
        "name": "bewit",
        "description": "The signature of a URL that anybody may GET until it ends.",
    },
}

_Reference = dict[str, Any]
_Known = Mapping[tuple[Any, JsonSchemaMode], _Reference]
"""The reference to each shape, as it is sent and as it is answered."""


def openapi(apis: Iterable[Api], version: str) -> dict[str, Any]:
    """The document for these APIs, as JSON values."""
    table = [(api, endpoint) for api in apis for endpoint in api.endpoints]
    inputs = {endpoint.body for _, endpoint in table if endpoint.body is not None}
    outputs = {endpoint.output for _, endpoint in table if endpoint.output is not None} | {ErrorResponse}
    shapes: list[tuple[type[Wire], JsonSchemaMode]] = [
        *((shape, "validation") for shape in sorted(inputs, key=_name)),
        *((shape, "serialization") for shape in sorted(outputs, key=_name)),
    ]
    known, definitions = models_json_schema(
        shapes, by_alias=True, ref_template=_SCHEMA, schema_generator=WireSchema
    )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Taskbus",
            "version": version,
            "description": "A Taskcluster-compatible queue whose state and messages commit together.",
        },
        "tags": [{"name": name} for name in dict.fromkeys(_tag(api, endpoint) for api, endpoint in table)],
        "paths": _paths(table, known),
        "components": {
            "schemas": definitions.get("$defs", {}),
            "responses": {
                f"Refused{status}": _refusal(status, text, known[ErrorResponse, "serialization"])
                for status, text in _REFUSALS.items()
            }
            | {_NO_ARTIFACT: _no_artifact()},
            "securitySchemes": _SECURITY,
        },
    }


def _name(shape: type[Wire]) -> str:
    return shape.__name__


def _tag(api: Api, endpoint: Endpoint) -> str:
    return f"{api.title}: {endpoint.category}"


def _paths(table: Iterable[tuple[Api, Endpoint]], known: _Known) -> dict[str, dict[str, Any]]:
    """The operations by path. Paths that differ in the names of parameters alone are one path here."""
    paths: dict[str, dict[str, Any]] = {}
    spelled: dict[str, str] = {}
    for api, endpoint in table:
        path = api.base_path + endpoint.route.replace("<", "{").replace(">", "}")
        path = spelled.setdefault(re.sub(r"\{\w+\}", "{}", path), path)
        paths.setdefault(path, {})[endpoint.method] = _operation(api, endpoint, path, known)
    return paths


def _operation(api: Api, endpoint: Endpoint, path: str, known: _Known) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": f"{api.service}.{endpoint.name}",
        "tags": [_tag(api, endpoint)],
        "summary": endpoint.title,
        "description": _description(endpoint),
        "deprecated": endpoint.stability == "deprecated",
        "security": _security(endpoint),
        "parameters": _parameters(endpoint, path),
        "responses": {**_success(api, endpoint, known), **_refusals(endpoint)},
    }
    if endpoint.body is not None:
        operation["requestBody"] = {
            "required": endpoint.input is not None and not endpoint.may_be_left_out,
            "content": _content(known[endpoint.body, "validation"], _examples(api, REQUESTS, endpoint.body)),
        }
    return operation


def _description(endpoint: Endpoint) -> str:
    parts = [endpoint.description]
    if endpoint.scopes is not None:
        parts.append(f"Scopes: `{endpoint.scopes}`")
    if endpoint.stability != "stable":
        parts.append(f"Stability: {endpoint.stability}")
    return "\n\n".join(parts)


def _security(endpoint: Endpoint) -> list[dict[str, list[str]]]:
    """No credentials may do as well: then the scopes are those of the anonymous role."""
    if endpoint.scopes is None and not endpoint.tests_credentials:
        return []
    signed: list[dict[str, list[str]]] = [{"hawk": []}]
    if endpoint.method == "get":
        signed.append({"bewit": []})
    return [*signed, {}]


def _parameters(endpoint: Endpoint, path: str) -> list[dict[str, Any]]:
    spelled = re.findall(r"\{(\w+)\}", path)
    return [
        *(
            {
                "name": name,
                "in": "path",
                "required": True,
                "schema": {"type": "string", "pattern": f"^(?:{PARAMETER_PATTERNS[parameter]})$"},
            }
            for name, parameter in zip(spelled, endpoint.args, strict=True)
        ),
        *(
            {
                "name": name,
                "in": "query",
                "schema": {"type": "string", "pattern": f"^(?:{QUERY_PATTERNS[name]})$"},
            }
            for name in endpoint.query
        ),
        *(
            {
                "name": name,
                "in": "query",
                "schema": {
                    "type": "array",
                    "items": {"type": "string", "pattern": f"^(?:{QUERY_PATTERNS[name]})$"},
                },
            }
            for name in endpoint.lists
        ),
    ]


def _examples(
    api: Api, of_core: Mapping[str, Mapping[str, Any]], shape: type[Wire]
) -> Mapping[str, Any] | None:
    return api.examples.get(shape.schema_name) or of_core.get(shape.schema_name)


def _success(api: Api, endpoint: Endpoint, known: _Known) -> dict[str, Any]:
    if endpoint.streams:
        events = {"text/event-stream": {"schema": {"type": "string"}}}
        return {"200": {"description": "Events, until either side ends it", "content": events}}
    if endpoint.output is None:
        content = _content({"type": "array" if endpoint.gives_array else "object"})
    else:
        reference = known[endpoint.output, "serialization"]
        content = _content(reference, _examples(api, RESPONSES, endpoint.output))
    if endpoint.redirects:
        location = {"location": {"schema": {"type": "string", "format": "uri"}}}
        return {"303": {"description": "It is at this address", "headers": location, "content": content}}
    if endpoint.output is None and endpoint.method != "get" and not endpoint.says_done:
        return {"204": {"description": "Done"}}
    statuses = {"200": "Done"} | ({"201": "Done, and it is new"} if endpoint.creates else {})
    statuses |= {"202": "It goes on"} if endpoint.goes_on else {}
    return {status: {"description": text, "content": content} for status, text in statuses.items()}


def _refusals(endpoint: Endpoint) -> dict[str, Any]:
    statuses = {400, 503}
    if endpoint.scopes is not None or endpoint.tests_credentials:
        statuses |= {401, 403}
    if endpoint.args:
        statuses |= {404} if endpoint.method == "get" else {404, 409}
    if endpoint.body is not None:
        statuses.add(413)
    return {
        str(status): {"$ref": f"#/components/responses/{_refusal_name(endpoint, status)}"}
        for status in sorted(statuses.union(endpoint.refuses))
    }


def _refusal_name(endpoint: Endpoint, status: int) -> str:
    return _NO_ARTIFACT if status == 424 and endpoint.redirects else f"Refused{status}"


def _no_artifact() -> dict[str, Any]:
    """What stands in place of an artifact of storage type ``error`` (``queue-behaviour.md`` 8.5)."""
    text = {"type": "string"}
    schema = {
        "type": "object",
        "properties": {"reason": text, "message": text},
        "required": ["reason", "message"],
        "additionalProperties": False,
    }
    return {"description": "The task tells why there is no such artifact.", "content": _content(schema)}


def _refusal(status: int, text: str, schema: _Reference) -> dict[str, Any]:
    codes = [code for code, of_code in ERROR_STATUS.items() if of_code == status] or ["InternalServerError"]
    listed = ", ".join(f"`{code}`" for code in codes)
    return {"description": f"{text} ({listed}).", "content": _content(schema)}


def _content(schema: _Reference, examples: Mapping[str, Any] | None = None) -> dict[str, Any]:
    media: dict[str, Any] = {"schema": schema}
    if examples:
        media["examples"] = {label: {"value": value} for label, value in examples.items()}
    return {"application/json": media}
