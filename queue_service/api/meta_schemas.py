"""Schemas of the references themselves: what ``$schema`` of a reference names."""

from typing import Any, Final

from schemas.export import WireSchema

_TEXT: Final = {"type": "string"}
_FLAG: Final = {"type": "boolean"}
_TEXTS: Final = {"type": "array", "items": _TEXT}


def _object(properties: dict[str, Any], *optional: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


def _reference(entry: dict[str, Any], **members: Any) -> dict[str, Any]:
    return _object(
        {
            "$schema": _TEXT,
            "serviceName": _TEXT,
            "apiVersion": {"type": "string", "pattern": "^v[0-9]+$"},
            "title": _TEXT,
            "description": _TEXT,
            **members,
            "entries": {"type": "array", "items": entry},
        }
    )


_SCOPE_EXPRESSION: Final = {
    "description": "A scope, or AllOf or AnyOf of expressions; `for` repeats its template for each value.",
    "oneOf": [
        _TEXT,
        _object({"AllOf": {"type": "array", "items": {"$ref": "#/$defs/scopes"}}}),
        _object({"AnyOf": {"type": "array", "items": {"$ref": "#/$defs/scopes"}}}),
        _object({"for": _TEXT, "in": _TEXT, "each": _TEXT}),
    ],
}
_METHOD: Final = _object(
    {
        "type": {"const": "function"},
        "name": {"type": "string", "pattern": "^[a-z][a-zA-Z0-9]*$"},
        "title": _TEXT,
        "description": _TEXT,
        "category": _TEXT,
        "method": {"enum": ["get", "head", "post", "put", "delete"]},
        "route": {"type": "string", "pattern": "^/"},
        "args": _TEXTS,
        "query": _TEXTS,
        "input": _TEXT,
        "output": _TEXT,
        "scopes": {"$ref": "#/$defs/scopes"},
        "stability": {"enum": ["stable", "experimental", "deprecated"]},
    },
    "input",
    "output",
    "scopes",
)
_WORD: Final = _object(
    {
        "name": _TEXT,
        "summary": _TEXT,
        "constant": _TEXT,
        "multipleWords": _FLAG,
        "required": _FLAG,
        "maxSize": {"type": "integer", "minimum": 1},
    },
    "constant",
)
_EXCHANGE: Final = _object(
    {
        "type": {"const": "topic-exchange"},
        "name": {"type": "string", "pattern": "^[a-z][a-zA-Z0-9]*$"},
        "exchange": _TEXT,
        "title": _TEXT,
        "description": _TEXT,
        "routingKey": {"type": "array", "items": _WORD},
        "schema": _TEXT,
    }
)
_SCHEMAS: Final[dict[str, dict[str, Any]]] = {
    "api-reference-v0": {
        "title": "The methods of a service",
        "$defs": {"scopes": _SCOPE_EXPRESSION},
        **_reference(_METHOD),
    },
    "exchanges-reference-v0": {
        "title": "The exchanges of a service",
        **_reference(_EXCHANGE, exchangePrefix=_TEXT),
    },
    "manifest-v3": {
        "title": "All references of a deployment",
        **_object({"$schema": _TEXT, "references": _TEXTS}),
    },
}


def path_of(name: str) -> str:
    """Where a schema of the references is."""
    return f"/schemas/common/{name}.json"


def meta_schemas() -> dict[str, dict[str, Any]]:
    """Each schema of the references by its path."""
    return {
        path_of(name): {"$schema": WireSchema.schema_dialect, "$id": f"{path_of(name)}#", **schema}
        for name, schema in _SCHEMAS.items()
    }
