"""Which members of our shapes the reference does not know, and schemas without them."""

from functools import cache
from typing import Any

from schemas.base import Wire
from schemas.export import json_schema, named_shapes
from schemas.extensions import Extension


def extensions_of(shape: type[Wire]) -> set[str]:
    """The members that a shape has from an extension, by their names on the wire."""
    return {
        field.alias or name
        for base in shape.__mro__
        if issubclass(base, Extension) and not issubclass(base, shape)
        for name, field in base.model_fields.items()
    }


@cache
def _extended() -> dict[str, set[str]]:
    """The members that classes have from extensions, by the names that they have in exported schemas."""
    named_shapes()  # so that all of them are there
    pending, found = [Wire], {}
    while pending:
        children = pending.pop().__subclasses__()
        found.update({child.__name__: extensions_of(child) for child in children})
        pending.extend(children)
    return {name: members for name, members in found.items() if members}


def plain_schema(shape: type[Wire]) -> dict[str, Any]:
    """The exported schema of what a task that uses no extension has."""
    schema = json_schema(shape)
    for name, part in {shape.__name__: schema, **schema.get("$defs", {})}.items():
        for member in _extended().get(name, ()):
            part["properties"].pop(member, None)
    return schema
