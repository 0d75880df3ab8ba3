"""What a caller may do. The pipeline and the handlers ask a permit; they never look at credentials."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from queue_service.auth.request import SignedRequest


class Permit(Protocol):
    """The authorization of one request."""

    @property
    def client_id(self) -> str:
        """Who calls; empty for an anonymous caller."""
        ...

    @property
    def scopes(self) -> tuple[str, ...]:
        """Everything the caller has, expanded, in normal form (``auth.md`` 3.2)."""
        ...

    @property
    def expires(self) -> datetime:
        """When the credentials end."""
        ...

    def require(self, scopes: Any, parameters: Mapping[str, Any]) -> None:
        """Pass when the caller satisfies the scope expression, filled with these parameters.

        Raises InsufficientScopes that lists what is missing.
        """
        ...


class Gate(Protocol):
    """Tells who calls."""

    async def admit(self, request: SignedRequest) -> Permit:
        """The permit of the caller. Raises AuthenticationFailed for credentials that are not valid."""
        ...

    @property
    def generation(self) -> int:
        """Which state of clients and roles this process knows."""
        ...

    async def refresh(self, since: int) -> bool:
        """Look again at clients and roles before a call is refused; whether they are others than ``since``.

        What a process keeps of them in memory may be older than the database for a moment. So nobody is
        refused for what another process has granted before the call began. ``since`` is the generation when
        the call was first looked at.
        """
        ...


class _AllowAll:
    client_id = ""
    scopes: tuple[str, ...] = ("*",)
    expires = datetime(9999, 12, 31, tzinfo=UTC)

    def require(self, scopes: Any, parameters: Mapping[str, Any]) -> None:
        return None


class _Nobody(_AllowAll):
    scopes: tuple[str, ...] = ()

    def require(self, scopes: Any, parameters: Mapping[str, Any]) -> None:
        raise AssertionError("an endpoint without scopes asked for some")


class _Open:
    generation = 0

    async def admit(self, request: SignedRequest) -> Permit:
        return _ALLOW_ALL

    async def refresh(self, since: int) -> bool:
        return False


_ALLOW_ALL: Permit = _AllowAll()
NOBODY: Permit = _Nobody()
"""The permit of calls that never look at credentials."""
OPEN_GATE: Gate = _Open()
"""Lets everybody do everything: for a server that nobody but this machine can reach."""
