"""Roles: what holding ``assume:<roleId>`` grants (``auth.md`` 3.2)."""

from collections.abc import Iterable, Mapping, Sequence

from queue_service.auth.scopes import ScopeSet


class Roles:
    """All roles at one moment, indexed. Immutable: another table of roles is another object."""

    def __init__(self, scopes_by_role_id: Mapping[str, Sequence[str]]) -> None:
        raise NotImplementedError

    def expand(self, scopes: Iterable[str]) -> ScopeSet:
        """The scopes with everything that roles add to them, and what those add, and so on."""
        raise NotImplementedError


def find_cycle(scopes_by_role_id: Mapping[str, Sequence[str]]) -> list[str] | None:
    """Role ids each of which holds the next, and the last one the first; None when there is no cycle."""
    raise NotImplementedError


def role_scope_problem(role_id: str, scope: str) -> str | None:
    """Why the role must not have the scope; None when it may."""
    raise NotImplementedError
