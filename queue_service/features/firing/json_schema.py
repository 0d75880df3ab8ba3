"""JSON Schemas that users wrote: whether they are some, and how a value violates one.

``jsonschema-rs``: its regular expressions give up instead of running for ever, and it is there at once, while
the format checks of ``jsonschema`` take seconds to import.
"""

from itertools import islice
from typing import Any

import jsonschema_rs

JsonObject = dict[str, Any]


def problem(schema: JsonObject) -> tuple[str, str] | None:
    """Where and why this is no JSON Schema that can be used; None when it is one."""
    try:
        jsonschema_rs.meta.validate(schema)
        jsonschema_rs.validator_for(schema, retriever=_refuse)
    except jsonschema_rs.ValidationError as error:
        return _place(error.instance_path), error.message
    except ValueError as error:
        return "", str(error)
    return None


def violations(schema: JsonObject, value: Any, most: int, longest: int) -> list[str]:
    """The first violations of a schema by a value, with their places."""
    validator = jsonschema_rs.validator_for(schema, retriever=_refuse)
    found = [
        f"`{_place(error.instance_path) or '/'}`: {error.message[:longest]}"
        for error in islice(validator.iter_errors(value), most + 1)
    ]
    return [*found[:most], "and more"] if len(found) > most else found


def _place(path: list[str | int]) -> str:
    return "".join(f"/{part}" for part in path)


def _refuse(uri: str) -> Any:
    """No reference makes us fetch anything."""
    raise ValueError(f"a schema must not refer to {uri}, only to parts of itself")
