"""The exported JSON Schemas: standard keywords only, and no ``null`` that never travels."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from schemas import export

SHAPES = export.named_shapes()
KEYWORDS = set(Draft202012Validator.VALIDATORS) | {
    "$schema",
    "$id",
    "$defs",
    "title",
    "description",
    "default",
}


def subschemas(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The schema and every schema inside it."""
    yield schema
    inside = [
        *schema.get("properties", {}).values(),
        *schema.get("$defs", {}).values(),
        *schema.get("anyOf", []),
        *schema.get("oneOf", []),
    ]
    inside += [schema[key] for key in ("items", "additionalProperties") if isinstance(schema.get(key), dict)]
    for part in inside:
        yield from subschemas(part)


@pytest.mark.parametrize("name", SHAPES)
def test_an_exported_schema_uses_standard_keywords_only(name: str) -> None:
    schema = export.json_schema(SHAPES[name])
    Draft202012Validator.check_schema(schema)
    assert {keyword for part in subschemas(schema) for keyword in part} <= KEYWORDS


@pytest.mark.parametrize("name", SHAPES)
def test_an_exported_schema_never_offers_null(name: str) -> None:
    parts = subschemas(export.json_schema(SHAPES[name]))
    assert not any(part.get("type") == "null" or part.get("default", ...) is None for part in parts)


def test_the_export_is_the_same_every_time() -> None:
    assert export.files() == export.files()


def test_each_file_names_itself() -> None:
    ids = {name: json.loads(text)["$id"] for name, text in export.files().items()}
    assert ids == {f"{name}.json": f"urn:taskbus:schema:{name}" for name in SHAPES}
