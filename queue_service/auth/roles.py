"""Roles: what holding ``assume:<roleId>`` grants (``auth.md`` 3.2)."""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from queue_service.auth.cache import Cache
from queue_service.auth.scopes import ScopeSet, normal_form, valid_scope

ASSUME: Final = "assume:"
PARAMETER: Final = "<..>"

MAX_EXPANSION: Final = 32 * 1024 * 1024
"""How much one expansion may go through, in bytes as :func:`size` counts them."""
CACHE_SIZE: Final = 64 * 1024 * 1024
"""How large all expansions that are remembered may be together, counted in the same way."""


class ExpansionTooLarge(Exception):
    """The roles grant more scopes than can be worked with."""


class Roles:
    """All roles at one moment, indexed. Immutable: another table of roles is another object.

    ``scopes_by_role_id``: printable role ids; one with a final star is a pattern. The table should be without
    cycles (:func:`find_cycle`). With one, expansions end all the same.
    """

    def __init__(self, scopes_by_role_id: Mapping[str, Sequence[str]]) -> None:
        self._index = _Index(scopes_by_role_id)
        self._expanded: Cache[frozenset[str], ScopeSet] = Cache(CACHE_SIZE)

    def expand(self, scopes: Iterable[str]) -> ScopeSet:
        """The scopes with everything that roles add to them, and what those add, and so on.

        Raises ExpansionTooLarge.
        """
        given = frozenset(scopes)
        expanded = self._expanded.get(given)
        if expanded is None:
            expanded = ScopeSet.of(self._closure(given))
            self._expanded.put(given, expanded, size(given) + size(expanded.scopes))
        return expanded

    def _closure(self, scopes: frozenset[str]) -> set[str]:
        """In waves: look up what was found new, which finds more."""
        held = set(scopes)
        new = held
        wide = ScopeSet.of(())
        room = MAX_EXPANSION - size(held)
        while new and "*" not in held:
            # What starts like a wider scope was granted all that it could be, with that one.
            wave = [one for one in normal_form(_granting(new)) if not wide.satisfies(one.removesuffix("*"))]
            wide = ScopeSet.of((*wide.scopes, *(one for one in wave if one.endswith("*"))))
            room -= size(wide.scopes)
            new = set()
            for scope in wave:
                for role, parameter in self._index.granted(scope):
                    room -= size(role.scopes) + len(role.scopes) * len(parameter or "")
                    if room < 0:
                        raise ExpansionTooLarge("The roles grant more scopes than can be worked with.")
                    new.update(filled(role.scopes, parameter))
            new -= held
            held |= new
        return held


def size(scopes: Collection[str]) -> int:
    """About the memory that so many scopes take, in bytes; looking at none costs something, too."""
    return sum(map(len, scopes)) + 64 * (1 + len(scopes))


def filled(scopes: Sequence[str], parameter: str | None) -> Iterable[str]:
    """The scopes of a role with its parameter in place; None for a role that has none."""
    if parameter is None:
        return scopes
    return (_with(parameter, scope) if PARAMETER in scope else scope for scope in scopes)


def _with(parameter: str, scope: str) -> str:
    before, _, after = scope.partition(PARAMETER)
    return before + parameter if parameter.endswith("*") else before + parameter + after


def _granting(scopes: Iterable[str]) -> list[str]:
    """Those of the scopes that can mean holding a role."""
    return [
        scope
        for scope in scopes
        if scope.startswith(ASSUME) or (scope.endswith("*") and ASSUME.startswith(scope[:-1]))
    ]


class _Role(NamedTuple):
    role_id: str
    scopes: tuple[str, ...]


class _Index:
    """Finds the roles that a scope grants, among very many."""

    def __init__(self, scopes_by_role_id: Mapping[str, Sequence[str]]) -> None:
        self._exact: dict[str, _Role] = {}
        self._patterns: dict[str, _Role] = {}
        for role_id, scopes in scopes_by_role_id.items():
            role = _Role(role_id, tuple(scopes))
            if role_id.endswith("*"):
                self._patterns[ASSUME + role_id[:-1]] = role
            else:
                self._exact[ASSUME + role_id] = role
        self._names = sorted(self._exact)
        self._prefixes = _Prefixes(self._patterns)

    def granted(self, scope: str) -> Iterator[tuple[_Role, str | None]]:
        """The roles that holding the scope means to have, each with its parameter."""
        if scope.endswith("*"):
            start = scope[:-1]
            for name in _starting_with(start, self._names):
                yield self._exact[name], None
            for prefix in _starting_with(start, self._prefixes.all):
                yield self._patterns[prefix], "*"
        else:
            start = scope
            if scope in self._exact:
                yield self._exact[scope], None
        for prefix in self._prefixes.of(start):
            yield self._patterns[prefix], scope[len(prefix) :]


class _Prefixes:
    """Finds among many texts those that another text starts with."""

    def __init__(self, prefixes: Iterable[str]) -> None:
        self.all = sorted(prefixes)
        self._shorter: list[int] = []
        """For each the place of the longest other one that it starts with, -1 without."""
        chain: list[int] = []
        for place, prefix in enumerate(self.all):
            while chain and not prefix.startswith(self.all[chain[-1]]):
                chain.pop()
            self._shorter.append(chain[-1] if chain else -1)
            chain.append(place)

    def of(self, text: str) -> Iterator[str]:
        """Those that the text starts with, the longest first."""
        # Whatever stands between the longest of them and the text starts with it, and so leads to it.
        place = bisect_right(self.all, text) - 1
        while place >= 0:
            if text.startswith(self.all[place]):
                yield self.all[place]
            place = self._shorter[place]


def _starting_with(start: str, texts: Sequence[str]) -> Iterator[str]:
    """Those of the sorted texts that start so."""
    for place in range(bisect_left(texts, start), len(texts)):
        if not texts[place].startswith(start):
            return
        yield texts[place]


def find_cycle(scopes_by_role_id: Mapping[str, Sequence[str]]) -> list[str] | None:
    """Role ids each of which grants the next, and the last one the first; None when there is no cycle.

    Parameters are taken as ``*``. A role with the scope ``*`` is no cycle by that alone: who has it has
    everything, and no role adds to it. But ``assume:*``, ``a*`` and the like grant every role, also the one
    that has them, and so does a scope that begins with the parameter.
    """
    index = _Index(scopes_by_role_id)
    followed: set[str] = set()

    def granted_by(role_id: str) -> Iterator[str]:
        scopes = [scope for scope in scopes_by_role_id[role_id] if scope != "*"]
        for scope in _granting(filled(scopes, "*" if role_id.endswith("*") else None)):
            if scope not in followed:
                yield from (role.role_id for role, _ in index.granted(scope))
                followed.add(scope)

    done: set[str] = set()
    for first in scopes_by_role_id:
        path = {} if first in done else {first: granted_by(first)}
        while path:
            last = next(reversed(path))
            following = next((role_id for role_id in path[last] if role_id not in done), None)
            if following is None:
                done.add(last)
                del path[last]
            elif following in path:
                names = list(path)
                return names[names.index(following) :]
            else:
                path[following] = granted_by(following)
    return None


def role_scope_problem(role_id: str, scope: str) -> str | None:
    """A sentence that says why the role must not have the scope; None when it may."""
    if not valid_scope(scope):
        return f"The scope {scope!r} of the role `{role_id}` is not printable ASCII."
    if scope.endswith("**"):
        return f"The scope `{scope}` of the role `{role_id}` ends with `**`."
    if role_id.endswith("*") and scope.count(PARAMETER) > 1:
        return f"The scope `{scope}` of the role `{role_id}` has `{PARAMETER}` more than once."
    if role_id.endswith("*") and scope.endswith("*" + PARAMETER):
        return f"The scope `{scope}` of the role `{role_id}` ends with `*{PARAMETER}`."
    return None
