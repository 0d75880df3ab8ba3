"""Which connection an item goes to: the most specific, then the least busy, then the first (A.3, A.4)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

Attrs = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Description:
    """Items of this name whose attributes have one of the values, for every key."""

    name: str
    """As :func:`folded`."""
    filter: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @property
    def specificity(self) -> int:
        """The number of keys; how many values they have does not matter (WC-1)."""
        return len(self.filter)

    def matches(self, name: str, attrs: Attrs) -> bool:
        """Exact and case-sensitive; an empty value matches nothing (WM-1 to WM-3)."""
        return name == self.name and all(
            (value := attrs.get(key, "")) != "" and value in values for key, values in self.filter.items()
        )


@dataclass(frozen=True, slots=True)
class Candidate:
    """A connection, with what it takes and has."""

    worker_id: str
    descriptions: Sequence[Description]
    in_flight: int
    capacity: int
    draining: bool = False

    @property
    def full(self) -> bool:
        return self.in_flight >= self.capacity


class Full(Exception):
    """Every connection of the most specific tier is full: the item waits (WC-4)."""


def folded(name: str) -> str:
    """The name as the second half of its task queue's id: names that fold alike are the same (WA-1)."""
    return name.lower().replace("_", "-")


def specificity(descriptions: Iterable[Description], name: str, attrs: Attrs) -> int | None:
    """The most keys among the descriptions that match; None when none does."""
    found = [one.specificity for one in descriptions if one.matches(name, attrs)]
    return max(found, default=None)


def choose(
    candidates: Sequence[Candidate], name: str, attrs: Attrs, *, spillover: bool = False
) -> tuple[Candidate, int] | None:
    """The connection for an item, of those in the order of their attaching, and how specific it is.

    None when no connection takes the item. Raises Full.
    """
    tiers: dict[int, list[Candidate]] = {}
    for candidate in candidates:
        keys = None if candidate.draining else specificity(candidate.descriptions, name, attrs)
        if keys is not None:
            tiers.setdefault(keys, []).append(candidate)
    for keys in sorted(tiers, reverse=True):
        free = [candidate for candidate in tiers[keys] if not candidate.full]
        if free:
            return min(free, key=lambda candidate: candidate.in_flight), keys
        if not spillover:
            raise Full
    if tiers:
        raise Full
    return None
