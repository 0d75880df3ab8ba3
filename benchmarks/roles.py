"""What it costs to know all scopes of a caller when there are ten thousand roles."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from benchmarks.environment import Environment
from benchmarks.measuring import Quantities
from benchmarks.report import Section
from queue_service.auth.roles import Roles, filled, find_cycle

METHOD = """\
10,000 roles with 47,100 scopes: those of projects, each of which holds the next one of its project, ten in a
row, and those of repositories, whose id is a pattern and whose parameter goes into the scopes. Processor time
of one call: *first* is the first expansion after a change of roles, *again* each later one, *row by row* the
same without an index, where every role is looked at for every scope. *table* is what a change of any role
costs each process."""
TARGET = "Target: again at most 10 µs; first at most 1 ms for a worker or a task"

ROLES: Final = 10_000
PATTERNS: Final = 1_000
PROJECTS: Final = 300
CALLERS: Final[dict[str, list[str]]] = {
    "worker, 20 scopes, 1 role": ["assume:project:p7:role-7", *(f"queue:worker-id:g/{n}" for n in range(19))],
    "task of a repository, 5 scopes": ["assume:repo:host/org7/x:branch:y", *(f"s:{n}" for n in range(4))],
}
WIDE: Final[dict[str, list[str]]] = {"every repository": ["assume:repo:*"], "every role": ["assume:*"]}
"""Row by row these take minutes."""


async def run(environment: Environment, *, quick: bool) -> Section:
    section = Section("Roles", METHOD, notes=[TARGET])
    runs, table = (1 if quick else 5), roles_of_an_installation()
    assert find_cycle(table) is None
    section.add(
        "table",
        [
            {
                ("index", "ms"): _milliseconds(lambda: Roles(table)),
                ("search for cycles", "ms"): _milliseconds(lambda: find_cycle(table)),
            }
            for _ in range(runs)
        ],
    )
    for case, scopes in CALLERS.items():
        section.add(case, [_expansions(table, scopes, row_by_row=True) for _ in range(runs)])
    for case, scopes in WIDE.items():
        section.add(case, [_expansions(table, scopes, row_by_row=False) for _ in range(runs)])
    for case in CALLERS:
        row_by_row, first = section.median(case, "row by row"), section.median(case, "first")
        if row_by_row and first:
            section.notes.append(f"{case}: the index is {row_by_row / first:,.0f} times as fast")
    return section


def roles_of_an_installation() -> dict[str, list[str]]:
    """Without cycles: in a project each role holds the next one, ten in a row."""
    table: dict[str, list[str]] = {}
    for number in range(ROLES - PATTERNS):
        project = number % PROJECTS
        table[f"project:p{project}:role-{number}"] = [
            f"queue:route:index.p{project}.{number}.*",
            f"secrets:get:project/p{project}/{number}",
            f"queue:scheduler-id:p{project}-{number}",
            f"queue:create-task:high:p{project}/w-{number}",
        ]
        if number // PROJECTS % 10 != 9 and number + PROJECTS < ROLES - PATTERNS:
            table[f"project:p{project}:role-{number}"].append(
                f"assume:project:p{project}:role-{number + PROJECTS}"
            )
    for number in range(PATTERNS):
        project = number % PROJECTS
        table[f"repo:host/org{number}/*"] = [
            f"queue:route:index.org{number}.<..>.latest",
            f"queue:scheduler-id:org{number}",
            f"assume:project:p{project}:role-{project}",
        ]
    return table


def _expansions(table: Mapping[str, Sequence[str]], scopes: Sequence[str], *, row_by_row: bool) -> Quantities:
    roles = Roles(table)
    found: Quantities = {("first", "µs"): _milliseconds(lambda: roles.expand(scopes)) * 1000}
    again = _milliseconds(lambda: [roles.expand(scopes) for _ in range(1000)])
    found["again", "µs"] = again  # a thousand of them, in ms
    found["scopes", ""] = len(roles.expand(scopes).scopes)
    if row_by_row:
        found["row by row", "µs"] = _milliseconds(lambda: expanded_row_by_row(table, scopes)) * 1000
    return found


def expanded_row_by_row(table: Mapping[str, Sequence[str]], scopes: Sequence[str]) -> set[str]:
    """The peer: every role is looked at for every scope that may hold one."""
    held = set(scopes)
    waiting = [scope for scope in held if scope.startswith("assume:")]
    while waiting:
        scope = waiting.pop()
        for role_id, granted in table.items():
            for parameter in _parameters(scope, f"assume:{role_id}"):
                new = set(filled(granted, parameter)) - held
                held |= new
                waiting += [one for one in new if one.startswith("assume:")]
    return held


def _parameters(scope: str, role: str) -> Iterator[str | None]:
    if not role.endswith("*"):
        if scope == role or (scope.endswith("*") and role.startswith(scope[:-1])):
            yield None
    elif scope.endswith("*") and role.startswith(scope[:-1]):
        yield "*"
    elif scope.startswith(role[:-1]):
        yield scope[len(role) - 1 :]


def _milliseconds(call: Callable[[], object]) -> float:
    started = time.process_time()
    call()
    return (time.process_time() - started) * 1000
