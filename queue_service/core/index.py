"""The rules of the index: which paths there are, what a completed task is found by, and who replaces whom.

Paths, ranks and scopes are those that the published clients document. A task is indexed by its routes
``index.<path>`` with what ``task.extra.index`` says.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from pydantic import TypeAdapter, ValidationError

from schemas.ids import INDEX_PATH_PATTERN
from schemas.index import Rank
from schemas.task import JsonObject, TaskDefinition
from schemas.times import Time

ROUTE_PREFIX: Final = "index."
NAMESPACE_MARGIN: Final = timedelta(days=1)
"""How much longer a namespace is kept than its longest-lived task, so that not each task writes to it."""

T = TypeVar("T")
_PATH: Final = re.compile(INDEX_PATH_PATTERN)
_RANK: Final[TypeAdapter[float]] = TypeAdapter(Rank)
_DATA: Final[TypeAdapter[JsonObject]] = TypeAdapter(JsonObject)
_TIME: Final[TypeAdapter[datetime]] = TypeAdapter(Time)


@dataclass(frozen=True, slots=True)
class IndexedTask:
    """A task that is found at ``namespace.name``; ``namespace`` is empty at the root."""

    namespace: str
    name: str
    task_id: str
    rank: float
    data: JsonObject
    expires: datetime

    @property
    def path(self) -> str:
        return joined(self.namespace, self.name)


@dataclass(frozen=True, slots=True)
class NamespaceEntry:
    """A namespace within its parent, which is empty at the root."""

    parent: str
    name: str
    expires: datetime

    @property
    def path(self) -> str:
        return joined(self.parent, self.name)


def is_path(text: str) -> bool:
    """Whether this can be the path of a task or a namespace."""
    return _PATH.fullmatch(text) is not None


def split(path: str) -> tuple[str, str]:
    """Namespace and name of a path."""
    namespace, _, name = path.rpartition(".")
    return namespace, name


def joined(namespace: str, name: str) -> str:
    return f"{namespace}.{name}" if namespace else name


def has_index_route(routes: Iterable[str]) -> bool:
    return any(route.startswith(ROUTE_PREFIX) for route in routes)


def entries_of(task_id: str, definition: TaskDefinition) -> list[IndexedTask]:
    """Where a task is found once it has completed.

    What its creator wrote wrongly takes its default, and a route that is no path is left out: by now there
    is nobody to complain to. Defaults: rank 0, no data, the expiry of the task.
    """
    wishes = definition.extra.get("index")
    wishes = wishes if isinstance(wishes, dict) else {}
    rank = _valid(_RANK, wishes.get("rank"), 0.0)
    data = _valid(_DATA, wishes.get("data"), {})
    expires = _valid(_TIME, wishes.get("expires"), definition.expires)
    paths = (
        route.removeprefix(ROUTE_PREFIX) for route in definition.routes if route.startswith(ROUTE_PREFIX)
    )
    return [IndexedTask(*split(path), task_id, rank, data, expires) for path in paths if is_path(path)]


def best(entries: Iterable[IndexedTask]) -> list[IndexedTask]:
    """One task for each path: the highest rank, of equal ones the last; in order of the paths."""
    chosen: dict[tuple[str, str], IndexedTask] = {}
    for entry in entries:
        place = entry.namespace, entry.name
        if place not in chosen or entry.rank >= chosen[place].rank:
            chosen[place] = entry
    return [chosen[place] for place in sorted(chosen)]


def namespaces_of(entries: Iterable[IndexedTask]) -> list[NamespaceEntry]:
    """Every namespace above these tasks, with the time until which they need it; in their order."""
    needed: dict[tuple[str, str], datetime] = {}
    for entry in entries:
        for place in _ancestors(entry.namespace):
            needed[place] = max(needed.get(place, entry.expires), entry.expires)
    return [NamespaceEntry(*place, needed[place]) for place in sorted(needed)]


def _ancestors(namespace: str) -> Iterator[tuple[str, str]]:
    while namespace:
        parent, name = split(namespace)
        yield parent, name
        namespace = parent


def _valid(kind: TypeAdapter[T], value: Any, default: T) -> T:
    try:
        return kind.validate_python(value)
    except ValidationError:
        return default
