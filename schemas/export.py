"""JSON Schemas of the shapes, for readers in other languages: ``python -m schemas.export DIRECTORY``."""

import argparse
import importlib
import json
import pkgutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue
from pydantic_core import core_schema

import schemas
from schemas.base import Request, RequestUnion, Wire
from schemas.durations import seconds_of


class WireSchema(GenerateJsonSchema):
    """The schema of what really travels: an absent member is left out, never ``null``."""

    def field_title_should_be_set(self, schema: object) -> bool:
        return False  # a title made from the member's name says nothing new

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def encode_default(self, dft: Any) -> Any:
        return seconds_of(dft) if isinstance(dft, timedelta) else super().encode_default(dft)

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        if schema.get("default", ...) is None:
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)

    def field_is_required(
        self,
        field: core_schema.ModelField | core_schema.DataclassField | core_schema.TypedDictField,
        total: bool,
    ) -> bool:
        inner = field["schema"]
        may_be_absent = inner["type"] == "default" and inner.get("default", ...) is None
        always_written = self.mode == "serialization"
        return not may_be_absent and (always_written or super().field_is_required(field, total))


def named_shapes() -> dict[str, type[Wire]]:
    """Every class that has a ``schema_name`` of its own, by that name, in order of the names."""
    for module in pkgutil.iter_modules(schemas.__path__, "schemas."):
        if module.name != __name__:
            importlib.import_module(module.name)
    shapes: dict[str, type[Wire]] = {}
    for shape in _descendants(Wire):
        name = vars(shape).get("schema_name", "")
        if name and shapes.setdefault(name, shape) is not shape:
            raise ValueError(f"{shape.__qualname__} and {shapes[name].__qualname__} are both called {name!r}")
    return dict(sorted(shapes.items()))


def _descendants(shape: type[Wire]) -> Iterator[type[Wire]]:
    for child in shape.__subclasses__():
        yield child
        yield from _descendants(child)


def json_schema(shape: type[Wire]) -> dict[str, Any]:
    """The schema of one shape: of what we accept for a request, of what we send for a document."""
    mode: JsonSchemaMode = "validation" if issubclass(shape, Request | RequestUnion) else "serialization"
    body = shape.model_json_schema(by_alias=True, schema_generator=WireSchema, mode=mode)
    return {
        "$schema": WireSchema.schema_dialect,
        "$id": f"urn:taskbus:schema:{shape.schema_name}",
        **body,
    }


def files() -> dict[str, str]:
    """The text of each exported file by its name."""
    return {
        f"{name}.json": json.dumps(json_schema(shape), indent=2, ensure_ascii=False) + "\n"
        for name, shape in named_shapes().items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m schemas.export", description=__doc__)
    parser.add_argument("directory", type=Path)
    directory: Path = parser.parse_args().directory
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files().items():
        (directory / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
