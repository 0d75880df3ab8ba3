"""What a caller may do. The pipeline and the handlers ask a permit; they never look at credentials."""

from collections.abc import Mapping
from typing import Any, Protocol


class Permit(Protocol):
    """The authorization of one request."""

    def require(self, scopes: Any, parameters: Mapping[str, Any]) -> None:
        """Pass when the caller satisfies the scope expression, filled with these parameters.

        Raises InsufficientScopes that lists what is missing.
        """
        ...


class _AllowAll:
    def require(self, scopes: Any, parameters: Mapping[str, Any]) -> None:
        return None


ALLOW_ALL: Permit = _AllowAll()
"""Lets everything pass: for a server that nobody but this machine can reach."""
