"""The rules of roles as the table of ``auth.md`` 3.2 has them, row by row and without any haste."""

from collections.abc import Iterable, Mapping, Sequence

from queue_service.auth.scopes import satisfies

Table = Mapping[str, Sequence[str]]


def parameters(scope: str, role_id: str) -> list[str | None]:
    """Of each row of the table that grants the role to the scope the parameter, None for a role without."""
    pattern = "assume:" + role_id
    found: list[str | None] = []
    if not scope.endswith("*") and not pattern.endswith("*"):
        if scope == pattern:
            found.append(None)
    elif not scope.endswith("*"):
        if scope.startswith(pattern[:-1]):
            found.append(scope[len(pattern) - 1 :])
    elif not pattern.endswith("*"):
        if pattern.startswith(scope[:-1]):
            found.append(None)
    else:
        if pattern[:-1].startswith(scope[:-1]):
            found.append("*")
        if scope[:-1].startswith(pattern[:-1]) and len(scope) > len(pattern):
            found.append(scope[len(pattern) - 1 :])
    return found


def with_parameter(scope: str, parameter: str | None) -> str:
    """A scope of a role that was granted with this parameter."""
    if parameter is None or "<..>" not in scope:
        return scope
    place = scope.index("<..>")
    return scope[:place] + parameter + ("" if parameter.endswith("*") else scope[place + 4 :])


def expand(table: Table, scopes: Iterable[str]) -> set[str]:
    """Add what any role grants, until there is nothing to add."""
    held = set(scopes)
    while True:
        granted = {
            with_parameter(granted, parameter)
            for scope in held
            for role_id, scopes_of_role in table.items()
            for parameter in parameters(scope, role_id)
            for granted in scopes_of_role
        }
        if granted <= held:
            return held
        held |= granted


def depends(table: Table, role_id: str) -> set[str]:
    """The roles that a role grants, its parameter taken as a star; one with all scopes depends on none."""
    parameter = "*" if role_id.endswith("*") else None
    scopes = {with_parameter(scope, parameter) for scope in table[role_id] if scope != "*"}
    return {other for other in table for scope in scopes if parameters(scope, other)}


def has_cycle(table: Table) -> bool:
    """Whether some role grants itself, by way of however many others."""
    direct = {role_id: depends(table, role_id) for role_id in table}
    for start in table:
        reached: set[str] = set()
        waiting = set(direct[start])
        while waiting:
            role_id = waiting.pop()
            reached.add(role_id)
            waiting |= direct[role_id] - reached
        if start in reached:
            return True
    return False


def minimal(scopes: Iterable[str]) -> set[str]:
    """The scopes that no other one satisfies."""
    given = set(scopes)
    return {
        scope for scope in given if not any(other != scope and satisfies(other, scope) for other in given)
    }
