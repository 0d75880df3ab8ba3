"""Scope expressions: what an endpoint requires of its caller (``auth.md`` 3.3, 3.4)."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from queue_service.auth.scopes import ScopeSet

Expression = str | dict[str, list["Expression"]]
"""A scope, ``{"AllOf": [...]}`` or ``{"AnyOf": [...]}``."""

_Fill = Callable[[Mapping[str, Any], list[Expression]], None]
"""A template that was read: takes the parameters and adds to the list around it."""

_PLACEHOLDER: Final = re.compile("<([^>]*)>")
_READ: Final[dict[int, tuple[Any, _Fill]]] = {}
"""What was made of each template, by its identity; held here, so that no other one gets that identity."""
_MAX_READ: Final = 1024


class TemplateError(Exception):
    """The template or its parameters are wrong: a mistake of the program, never of the caller."""


def render(template: Any, parameters: Mapping[str, Any]) -> Expression | None:
    """The template filled with the parameters; None when its conditions leave nothing of it.

    Text takes strings and integers, ``for`` takes arrays of strings, ``if`` takes booleans. A template is
    read once, so it must not change. Raises TemplateError, also for a parameter that is missing.
    """
    known = _READ.get(id(template))
    if known is None:
        if len(_READ) >= _MAX_READ:
            _READ.clear()
        known = _READ[id(template)] = template, _read(template)
    result: list[Expression] = []
    known[1](parameters, result)
    if len(result) > 1 or (isinstance(template, dict) and "for" in template):
        raise TemplateError(f"{template!r} gives a list: it must stand in AllOf or AnyOf")
    return result[0] if result else None


def _read(template: Any) -> _Fill:
    match template:
        case str():
            return _text(template)
        case {"AllOf": list(members)}:
            return _list("AllOf", [_read(member) for member in members])
        case {"AnyOf": list(members)}:
            return _list("AnyOf", [_read(member) for member in members])
        case {"for": str(name), "in": str(source), "each": str(each)}:
            return _each(name, source, each)
        case {"if": str(condition), "then": then}:
            return _choice(condition, _read(then), _read(template["else"]) if "else" in template else None)
    raise TemplateError(f"{template!r} is no scope expression")


def _text(template: str) -> _Fill:
    pattern, names = _parsed(template)

    def fill(parameters: Mapping[str, Any], result: list[Expression]) -> None:
        result.append(pattern % tuple([_written(name, parameters) for name in names]))

    return fill


def _list(operator: str, members: list[_Fill]) -> _Fill:
    def fill(parameters: Mapping[str, Any], result: list[Expression]) -> None:
        inner: list[Expression] = []
        for member in members:
            member(parameters, inner)
        result.append({operator: inner})

    return fill


def _each(name: str, source: str, each: str) -> _Fill:
    pattern, names = _parsed(each)
    places = [place for place, placeholder in enumerate(names) if placeholder == name]

    def fill(parameters: Mapping[str, Any], result: list[Expression]) -> None:
        items = _parameter(source, parameters)
        if not isinstance(items, list | tuple) or not all(isinstance(item, str) for item in items):
            raise _wrong(source, "an array of strings", items)
        values = ["" if other == name else _written(other, parameters) for other in names]
        for item in items:
            for place in places:
                values[place] = item
            result.append(pattern % tuple(values))

    return fill


def _choice(condition: str, then: _Fill, otherwise: _Fill | None) -> _Fill:
    def fill(parameters: Mapping[str, Any], result: list[Expression]) -> None:
        value = _parameter(condition, parameters)
        if not isinstance(value, bool):
            raise _wrong(condition, "a boolean", value)
        if value:
            then(parameters, result)
        elif otherwise is not None:
            otherwise(parameters, result)

    return fill


def _parsed(template: str) -> tuple[str, tuple[str, ...]]:
    """The template as a pattern of the ``%`` operator, and the names of what it takes."""
    return _PLACEHOLDER.sub("%s", template.replace("%", "%%")), tuple(_PLACEHOLDER.findall(template))


def _written(name: str, parameters: Mapping[str, Any]) -> str:
    value = _parameter(name, parameters)
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise _wrong(name, "a string or an integer", value)


def _parameter(name: str, parameters: Mapping[str, Any]) -> Any:
    try:
        return parameters[name]
    except KeyError:
        raise TemplateError(f"the scope expression needs the parameter {name!r}") from None


def _wrong(name: str, expected: str, value: object) -> TemplateError:
    return TemplateError(f"the parameter {name!r} of the scope expression must be {expected}, not {value!r}")


def satisfied(expression: Expression, scopes: ScopeSet) -> bool:
    """Whether the scopes are enough. An empty AllOf is satisfied, an empty AnyOf is not."""
    if isinstance(expression, str):
        return scopes.satisfies(expression)
    if "AllOf" in expression:
        return all(satisfied(member, scopes) for member in expression["AllOf"])
    return any(satisfied(member, scopes) for member in expression["AnyOf"])


def missing(expression: Expression, scopes: ScopeSet) -> Expression:
    """What must be added to the scopes to satisfy the expression; an empty AllOf when nothing is missing."""
    return {"AllOf": []} if satisfied(expression, scopes) else _missing(expression, scopes)


def _missing(expression: Expression, scopes: ScopeSet) -> Expression:
    """The same for an expression that is known not to be satisfied."""
    match expression:
        case {"AllOf": members}:
            return _joined("AllOf", [_missing(one, scopes) for one in members if not satisfied(one, scopes)])
        case {"AnyOf": members}:
            return _joined("AnyOf", [_missing(one, scopes) for one in members])
    return expression


def _joined(operator: str, members: list[Expression]) -> Expression:
    return members[0] if len(members) == 1 else {operator: members}


def described(expression: Expression) -> str:
    """The expression for an error message in Markdown, as a fenced code block."""
    text = expression if isinstance(expression, str) else json.dumps(expression, indent=2, ensure_ascii=False)
    return f"```\n{text}\n```"
