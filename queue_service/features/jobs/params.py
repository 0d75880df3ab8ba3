"""The parameters of a type: its JSON Schema made strict, and how parameters violate it (T-3, JS-2).

``jsonschema-rs``: it compiles a schema once, and matches regular expressions in a time that grows with the
text, no faster, so that nobody's pattern stops the service.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Final

import jsonschema_rs
from jsonschema_rs import ValidationErrorKind
from pydantic_core import to_json

from queue_service.core.errors import InputError, InputTooLarge, InputValidationError
from schemas.jobs import MAX_PARAMS
from schemas.task import JsonObject

MAX_SCHEMA: Final = 64 * 1024
MAX_VIOLATIONS: Final = 50
MAX_TEXT: Final = 500
MASK: Final = "the value"
"""Stands for values in texts: they may be secret."""
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_COMBINING: Final = ("$ref", "$dynamicRef", "allOf", "anyOf", "oneOf", "if", "dependentSchemas")
_CLOSED: Final = ("additionalProperties", "unevaluatedProperties")


class ParamsSchema:
    """A compiled schema. Raises InputError for one that is none, or that no object could fit."""

    def __init__(self, schema: JsonObject) -> None:
        size = len(to_json(schema))
        if size > MAX_SCHEMA:
            raise InputTooLarge(f"`paramsSchema` has {size} bytes as JSON; at most {MAX_SCHEMA} are allowed.")
        if schema.get("type", "object") != "object":
            raise InputError("`/paramsSchema/type` must be `object`: parameters have names.")
        strict = closed({"$schema": DIALECT, **schema, "type": "object"})
        try:
            jsonschema_rs.meta.validate(strict)
            self._validator = jsonschema_rs.validator_for(
                strict,
                mask=MASK,
                validate_formats=True,
                retriever=_refuse,
                pattern_options=jsonschema_rs.RegexOptions(),
            )
        except jsonschema_rs.ValidationError as error:
            place = _path(["paramsSchema", *error.instance_path])
            raise InputError(f"`{place}`: {error.message[:MAX_TEXT]}") from None
        except ValueError as error:
            raise InputError(f"`/paramsSchema`: {str(error)[:MAX_TEXT]}") from None
        self.properties: JsonObject = schema.get("properties", {})
        self.secrets = frozenset(
            name
            for name, property in self.properties.items()
            if isinstance(property, dict) and property.get("writeOnly") is True
        )
        """The parameters that it has as ``writeOnly``."""

    def check(self, params: JsonObject) -> None:
        """Raise InputValidationError with all violations, up to fifty, each with its path and rule."""
        found = [
            one
            for error in islice(self._validator.iter_errors(params), MAX_VIOLATIONS)
            for one in _told(error)
        ]
        if found:
            lines = "\n".join(f" * `{one['path']}`: {one['message']}" for one in found[:MAX_VIOLATIONS])
            raise InputValidationError(
                f"The parameters do not fit their type:\n\n{lines}", {"errors": found[:MAX_VIOLATIONS]}
            )


def check_size(params: JsonObject) -> None:
    """Raise InputTooLarge for more than 256 KiB of JSON (JS-4)."""
    size = len(to_json(params, inf_nan_mode="null"))
    if size > MAX_PARAMS:
        raise InputTooLarge(f"`params` has {size} bytes as JSON; at most {MAX_PARAMS} are allowed.")


def closed(schema: JsonObject) -> JsonObject:
    """The schema, refusing properties that it does not name wherever it does not say otherwise (T-3)."""
    made = dict(schema)
    if isinstance(properties := schema.get("properties"), dict):
        made["properties"] = {name: _inner(property) for name, property in properties.items()}
    if isinstance(schema.get("items"), dict):
        made["items"] = _inner(schema["items"])
    is_open = not any(keyword in schema for keyword in _CLOSED)
    if is_open and (schema.get("type") == "object" or "properties" in schema):
        combined = any(keyword in schema for keyword in _COMBINING)
        made["unevaluatedProperties" if combined else "additionalProperties"] = False
    return made


def _inner(schema: Any) -> Any:
    """A schema within: an object that names no properties is one of any properties."""
    if not isinstance(schema, dict) or not ("properties" in schema or "items" in schema):
        return schema
    return closed(schema)


def _told(error: jsonschema_rs.ValidationError) -> Iterator[dict[str, str]]:
    path: Sequence[str | int] = ["params", *error.instance_path]
    match error.kind:
        case ValidationErrorKind.Required(property=name):
            yield _violation([*path, name], "is required and missing", error)
        case (
            ValidationErrorKind.AdditionalProperties(unexpected=names)
            | ValidationErrorKind.UnevaluatedProperties(unexpected=names)
        ):
            for name in names:
                yield _violation([*path, name], "is not a parameter of the type", error)
        case _:
            yield _violation(path, error.message[:MAX_TEXT], error)


def _violation(
    path: Sequence[str | int], message: str, error: jsonschema_rs.ValidationError
) -> dict[str, str]:
    return {"path": _path(path), "message": message, "rule": error.kind.name}


def _path(parts: Sequence[str | int]) -> str:
    """A JSON Pointer."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def _refuse(uri: str) -> Any:
    """No reference makes us fetch anything."""
    raise ValueError(f"a schema must not refer to {uri}, only to parts of itself")
