"""Which members of our shapes the reference does not know, and schemas without them."""

from typing import Any, Final

from schemas.base import Wire
from schemas.export import json_schema
from schemas.extensions import Extension


def extensions_of(shape: type[Wire]) -> set[str]:
    """The members that a shape has from an extension, by their names on the wire."""
    return {
        field.alias or name
        for base in shape.__mro__
        if issubclass(base, Extension) and not issubclass(base, shape)
        for name, field in base.model_fields.items()
    }


def _extended(shape: type[Wire]) -> dict[str, set[str]]:
    found = {child.__name__: extensions_of(child) for child in shape.__subclasses__()}
    for child in shape.__subclasses__():
        found.update(_extended(child))
    return {name: members for name, members in found.items() if members}


_EXTENDED: Final = _extended(Wire)


def plain_schema(shape: type[Wire]) -> dict[str, Any]:
    """The exported schema of what a task that uses no extension has."""
    schema = json_schema(shape)
    for name, part in {shape.__name__: schema, **schema.get("$defs", {})}.items():
        for member in _EXTENDED.get(name, ()):
            part["properties"].pop(member, None)
    return schema
