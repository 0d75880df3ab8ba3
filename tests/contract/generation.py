"""Values that fit one of our exported JSON Schemas, for property tests."""

import json
from datetime import UTC
from typing import Any

from hypothesis import strategies as st

from schemas.times import format_time

_TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | _TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_TEXT, inner, max_size=2),
    max_leaves=5,
)


def values(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values of a schema as ``schemas.export`` writes it: the keywords it uses, no others."""
    return _values(schema, schema.get("$defs", {}))


def _values(schema: dict[str, Any], definitions: dict[str, Any]) -> st.SearchStrategy[Any]:
    match schema:
        case {"$ref": str(reference)}:
            return _values(definitions[reference.removeprefix("#/$defs/")], definitions)
        case {"oneOf": list(shapes)}:
            return st.one_of([_values(shape, definitions) for shape in shapes])
        case {"const": value}:
            return st.just(value)
        case {"enum": list(choices)}:
            return st.sampled_from(choices)
        case {"type": "string"}:
            return _strings(schema)
        case {"type": "integer"}:
            return st.integers(schema.get("minimum"), schema.get("maximum", 2**53))
        case {"type": "array", "items": items}:
            return st.lists(
                _values(items, definitions),
                max_size=2,
                unique_by=json.dumps,  # what we list has no element twice: ids are unique
            )
        case {"type": "object", "properties": properties}:
            members = {name: _values(member, definitions) for name, member in properties.items()}
            required = {name: members.pop(name) for name in schema.get("required", ())}
            return st.fixed_dictionaries(required, optional=members)
        case {"type": "object", "additionalProperties": dict(members)}:
            return st.dictionaries(_TEXT, _values(members, definitions), max_size=2)
        case {"type": "object", "additionalProperties": True}:
            return st.dictionaries(_TEXT, _ANYTHING, max_size=2)
        case {} if not set(schema) - {"description"}:
            return _ANYTHING
    raise ValueError(f"no values for {schema}")


def _strings(schema: dict[str, Any]) -> st.SearchStrategy[str]:
    if schema.get("format") == "date-time":
        return st.datetimes(timezones=st.just(UTC)).map(format_time)
    if schema.get("format") == "uri":
        return st.sampled_from(["https://example.com/a?b=c", "urn:a:b", "http://[::1]:8080/%20"])
    least, most = schema.get("minLength", 0), schema.get("maxLength", 30)
    if pattern := schema.get("pattern"):
        return st.from_regex(pattern, fullmatch=pattern.endswith("$")).filter(
            lambda text: least <= len(text) <= schema.get("maxLength", len(text))
        )
    return st.text(st.characters(codec="utf-8"), min_size=least, max_size=min(most, 30))
