"""The reference shapes as data, and a validator that reads them as their authors meant them."""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
from jsonschema import Draft6Validator, FormatChecker, ValidationError
from jsonschema.validators import extend
from rfc3339_validator import validate_rfc3339  # type: ignore[import-untyped]
from rfc3986_validator import validate_rfc3986  # type: ignore[import-untyped]

REFERENCE: Final = Path(__file__).parents[3] / "shared" / "reference"


@cache
def load(name: str) -> Any:
    """The content of one reference file; the test is skipped where the pages are not at hand."""
    path = REFERENCE / name
    if not path.is_file():
        pytest.skip(f"the reference data is not here: {path.name}", allow_module_level=True)
    return json.loads(path.read_text(encoding="utf-8"))


def _pattern(validator: Any, pattern: str, value: object, schema: object) -> Iterator[ValidationError]:
    # In these patterns "$" is the very end of the text; Python's also stands before a last newline.
    if isinstance(value, str) and not re.search(re.sub(r"\$$", r"\\Z", pattern), value):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


_formats: Final = FormatChecker(formats=["regex"])


@_formats.checks("date-time")
def _is_date_time(value: object) -> bool:
    return not isinstance(value, str) or (not value.endswith("\n") and bool(validate_rfc3339(value)))


_formats_and_uris: Final = FormatChecker(formats=["regex"])
"""For shapes in which a URI is one: of a task's source "the pattern is what matters" (2)."""
_formats_and_uris.checks("date-time")(_is_date_time)


@_formats_and_uris.checks("uri")
def _is_uri(value: object) -> bool:
    return not isinstance(value, str) or (not value.endswith("\n") and bool(validate_rfc3986(value, "URI")))


_Draft6: Final = extend(Draft6Validator, {"pattern": _pattern})  # type: ignore[no-untyped-call]


class Validator:
    """Checks JSON values against the shapes of ``queue-schemas.json`` by name, such as ``task-status``."""

    def __init__(self) -> None:
        self.definitions: dict[str, Any] = load("queue-schemas.json")["definitions"]
        self._validators: dict[str, Any] = {}

    def shape(self, name: str) -> dict[str, Any]:
        shape: dict[str, Any] = self.definitions[f"{name}.json"]
        return shape

    def errors(self, name: str, value: object) -> list[str]:
        """Every violation, each with the place where it is; none when the value is valid."""
        if name not in self._validators:
            schema = {"$ref": f"#/definitions/{name}.json", "definitions": self.definitions}
            formats = _formats_and_uris if "artifact" in name else _formats
            self._validators[name] = _Draft6(schema, format_checker=formats)
        found = self._validators[name].iter_errors(value)
        return [f"{error.json_path}: {error.message}" for error in found]

    def request_errors(self, name: str, body: object) -> list[str]:
        """The same for a request body, whose missing members take their defaults before it is checked."""
        if isinstance(body, dict):
            members = self.shape(name).get("properties", {}).items()
            body = {member: shape["default"] for member, shape in members if "default" in shape} | body
        return self.errors(name, body)

    def __contains__(self, name: str) -> bool:
        return f"{name}.json" in self.definitions
