"""A permit that remembers what it was asked, and scope expressions filled by code of our own.

Scope expressions: ``auth.md`` 3.3.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from queue_service.auth.request import SignedRequest
from queue_service.core.errors import AuthenticationFailed, InsufficientScopes


class ScriptedPermit:
    """The gate, and the permit of every caller: passes or refuses everything.

    ``asked`` holds each scope expression, filled.
    """

    client_id = "tester"
    scopes = ("*",)
    expires = datetime(2100, 1, 1, tzinfo=UTC)
    generation = 0

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.refusal: AuthenticationFailed | InsufficientScopes | None = None

    async def admit(self, request: SignedRequest) -> "ScriptedPermit":
        if isinstance(self.refusal, AuthenticationFailed):
            raise self.refusal
        return self

    async def refresh(self, since: int) -> bool:
        return False

    def deny(self) -> None:
        """From now on the caller lacks every scope."""
        self.refusal = InsufficientScopes("You do not have the scopes.")

    def distrust(self) -> None:
        """From now on the caller's credentials are not valid."""
        self.refusal = AuthenticationFailed("Bad mac.")

    def allow(self) -> None:
        self.refusal = None

    def require(self, scopes: Any, parameters: Mapping[str, Any]) -> None:
        self.asked.append(filled(scopes, parameters))
        if self.refusal is not None:
            raise self.refusal


def filled(expression: Any, parameters: Mapping[str, Any]) -> Any:
    """The expression with its parameters in place. Raises KeyError for a parameter that is missing."""
    match expression:
        case str():
            return re.sub("<([^>]*)>", lambda found: _text(parameters[found[1]]), expression)
        case {"AllOf": parts}:
            return {"AllOf": _spliced(parts, parameters)}
        case {"AnyOf": parts}:
            return {"AnyOf": _spliced(parts, parameters)}
    raise ValueError(f"no scope expression: {expression!r}")


def _spliced(parts: list[Any], parameters: Mapping[str, Any]) -> list[Any]:
    result: list[Any] = []
    for part in parts:
        match part:
            case {"for": name, "in": source, "each": template}:
                assert not isinstance(parameters[source], str)
                result.extend(filled(template, {**parameters, name: value}) for value in parameters[source])
            case _:
                result.append(filled(part, parameters))
    return result


def _text(value: Any) -> str:
    assert isinstance(value, str | int), f"{value!r} cannot be part of a scope"
    return str(value)
