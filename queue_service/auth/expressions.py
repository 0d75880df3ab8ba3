"""Scope expressions: what an endpoint requires of its caller (``auth.md`` 3.3, 3.4)."""

from collections.abc import Mapping
from typing import Any

from queue_service.auth.scopes import ScopeSet

Expression = str | dict[str, list["Expression"]]
"""A scope, ``{"AllOf": [...]}`` or ``{"AnyOf": [...]}``."""


class TemplateError(Exception):
    """The template or its parameters are wrong: a mistake of the program, never of the caller."""


def render(template: Any, parameters: Mapping[str, Any]) -> Expression | None:
    """The template filled with the parameters; None when nothing is left of it. Raises TemplateError."""
    raise NotImplementedError


def satisfied(expression: Expression, scopes: ScopeSet) -> bool:
    """Whether the scopes are enough. Empty AllOf is satisfied, empty AnyOf is not."""
    raise NotImplementedError


def missing(expression: Expression, scopes: ScopeSet) -> Expression:
    """What must be added to the scopes to satisfy the expression."""
    raise NotImplementedError


def described(expression: Expression) -> str:
    """The expression for an error message, as a fenced code block."""
    raise NotImplementedError
