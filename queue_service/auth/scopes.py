"""Scopes: which one satisfies which, and sets of them (``auth.md`` 3.1, 3.2)."""

import re
from bisect import bisect_right
from collections.abc import Iterable
from typing import Final

from schemas.ids import PRINTABLE_PATTERN

_PRINTABLE: Final = re.compile(PRINTABLE_PATTERN)


def valid_scope(text: str) -> bool:
    """Whether the text can be a scope at all: printable ASCII."""
    return _PRINTABLE.fullmatch(text) is not None


def satisfies(held: str, required: str) -> bool:
    """Whether who holds one scope has the other. Only a final star of the held scope is special."""
    return held == required or (held.endswith("*") and required.startswith(held[:-1]))


def normal_form(scopes: Iterable[str]) -> tuple[str, ...]:
    """The scopes without duplicates and without those that another one satisfies, sorted.

    ``x*`` comes immediately before ``x``; otherwise they are in the order of their characters, final stars
    left out.
    """
    kept: list[str] = []
    prefix: str | None = None
    for scope in sorted(set(scopes), key=_place):
        # All that start with a prefix stand together, behind it.
        if prefix is not None and scope.startswith(prefix):
            continue
        kept.append(scope)
        if scope.endswith("*"):
            prefix = scope[:-1]
    return tuple(kept)


def _place(scope: str) -> str:
    return scope[:-1] if scope.endswith("*") else scope + "\0"


class ScopeSet:
    """Scopes that somebody holds, in normal form; asking it costs the same for ten and for ten thousand."""

    __slots__ = ("_exact", "_prefixes", "scopes")

    scopes: tuple[str, ...]

    def __init__(self, scopes: Iterable[str]) -> None:
        self.scopes = normal_form(scopes)
        self._exact = frozenset(self.scopes)
        self._prefixes = [scope[:-1] for scope in self.scopes if scope.endswith("*")]

    @classmethod
    def of(cls, scopes: Iterable[str]) -> "ScopeSet":
        return cls(scopes)

    def satisfies(self, required: str) -> bool:
        """Whether one of the scopes satisfies the required one."""
        if required in self._exact:
            return True
        # In normal form no prefix starts with another, so only the last one before the text can be its.
        place = bisect_right(self._prefixes, required)
        return place > 0 and required.startswith(self._prefixes[place - 1])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ScopeSet) and self.scopes == other.scopes

    def __hash__(self) -> int:
        return hash(self.scopes)

    def __repr__(self) -> str:
        return f"ScopeSet({list(self.scopes)!r})"
