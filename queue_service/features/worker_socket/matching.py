"""Which connection an item goes to: the most specific, then the least busy, then the first (A.3, A.4)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

Attrs = Mapping[str, str]
Who = TypeVar("Who")


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


def folded(name: str) -> str:
    """The name as the second half of its task queue's id: names that fold alike are the same (WA-1)."""
    return name.lower().replace("_", "-")


def specificity(descriptions: Iterable[Description], name: str, attrs: Attrs) -> int | None:
    """The most keys among the descriptions that match; None when none does."""
    found = [one.specificity for one in descriptions if one.matches(name, attrs)]
    return max(found, default=None)


def tiers(
    described: Iterable[tuple[Who, Sequence[Description]]], name: str, attrs: Attrs
) -> list[tuple[int, list[Who]]]:
    """Who takes an item, in the order given, by the number of keys; the most specific first (WC-1)."""
    found: dict[int, list[Who]] = {}
    for who, descriptions in described:
        keys = specificity(descriptions, name, attrs)
        if keys is not None:
            found.setdefault(keys, []).append(who)
    return sorted(found.items(), key=lambda tier: -tier[0])


def least_busy(loads: Iterable[tuple[Who, int, int]]) -> Who | None:
    """Of those with their items and capacities, who has the fewest; the first of several (WC-2, WC-3).

    None when all are full.
    """
    chosen, fewest = None, 0
    for who, in_flight, capacity in loads:
        if in_flight < capacity and (chosen is None or in_flight < fewest):
            chosen, fewest = who, in_flight
            if fewest == 0:
                break
    return chosen
