"""Which worker gets which waiting item: the rules of A.4 over those that are present (pure)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from queue_service.features.worker_socket.matching import (
    Attrs,
    Description,
    least_busy,
    specificity,
    tiers,
)

MAX_TIERS: Final = 500
"""Combinations of a name and attributes for which it is remembered who takes them."""
MAX_DEFERRED: Final = 10_000
DEFERRED_SECONDS: Final = 0.05
"""How long an item waits for a more specific worker of another gateway (WI-2)."""


class Present(Protocol):
    """A worker, as far as the choice knows it."""

    @property
    def worker_id(self) -> str: ...
    @property
    def descriptions(self) -> Sequence[Description]: ...
    @property
    def capacity(self) -> int: ...
    @property
    def draining(self) -> bool: ...
    @property
    def load(self) -> int:
        """How many items it has."""
        ...


@dataclass(frozen=True, slots=True)
class Waiting:
    """An item that waits. With ``spillover`` it may go to a less specific worker."""

    task_id: str
    name: str
    attrs: Attrs
    spillover: bool = False


class Workers:
    """Those that are present, in the order of their attaching, by what they take.

    Who takes an item is known until :meth:`changed`: many items are equal.
    """

    def __init__(self, present: Mapping[str, Present]) -> None:
        self._present = present
        self._tiers: dict[tuple[str, frozenset[tuple[str, str]]], list[tuple[int, list[Present]]]] = {}
        self._by_name: dict[str, list[Present]] = {}

    def changed(self) -> None:
        """A worker came, went, or takes others."""
        self._tiers.clear()
        self._by_name.clear()

    def names(self) -> list[str]:
        """All that somebody takes."""
        if not self._by_name:
            for one in self._present.values():
                for name in {description.name for description in one.descriptions}:
                    self._by_name.setdefault(name, []).append(one)
        return sorted(self._by_name)

    def of(self, name: str) -> Sequence[Present]:
        """Who takes items of this name, or some of them."""
        self.names()
        return self._by_name.get(name, ())

    def tiers(self, name: str, attrs: Attrs) -> Sequence[tuple[int, Sequence[Present]]]:
        """Who takes such an item, by the number of keys, the most specific first."""
        key = name, frozenset(attrs.items())
        found = self._tiers.get(key)
        if found is None:
            if len(self._tiers) >= MAX_TIERS:
                self._tiers.clear()
            described = [(one, one.descriptions) for one in self.of(name) if not one.draining]
            found = self._tiers[key] = tiers(described, name, attrs)
        return found


class Choice:
    """One look at what waits: each item that is given to a worker counts for the next ones.

    ``elsewhere`` is what workers of other gateways take; ``waited`` tells whether an item has waited long
    enough for one of these.
    """

    def __init__(
        self, workers: Workers, elsewhere: Sequence[Description], waited: Callable[[str], bool]
    ) -> None:
        self._workers = workers
        self._elsewhere = elsewhere
        self._waited = waited
        self._given: dict[str, int] = {}

    def room(self, name: str) -> bool:
        """Whether anybody may be given an item of this name."""
        return any(not one.draining and self._load(one) < one.capacity for one in self._workers.of(name))

    def worker_for(self, item: Waiting) -> str | None:
        """Who gets the item; None while it waits (WC-1 to WC-4, WI-2)."""
        found = self._free(item)
        if found is None:
            return None
        worker, keys = found
        better = specificity(self._elsewhere, item.name, item.attrs)
        if better is not None and better > keys and not self._waited(item.task_id):
            return None
        self._given[worker.worker_id] = self._given.get(worker.worker_id, 0) + 1
        return worker.worker_id

    def _free(self, item: Waiting) -> tuple[Present, int] | None:
        for keys, fitting in self._workers.tiers(item.name, item.attrs):
            worker = least_busy((one, self._load(one), one.capacity) for one in fitting)
            if worker is not None:
                return worker, keys
            if not item.spillover:
                return None
        return None

    def _load(self, worker: Present) -> int:
        return worker.load + self._given.get(worker.worker_id, 0)


class Deferred:
    """Items that wait a moment for a more specific worker of another gateway, and until when."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._until)

    def waited(self, task_id: str, now: float) -> bool:
        """Whether the item has waited long enough; the first question begins the wait."""
        if len(self._until) > MAX_DEFERRED:
            self._until.clear()
        return now >= self._until.setdefault(task_id, now + DEFERRED_SECONDS)

    def forget(self, task_id: str) -> None:
        """The item goes to a worker."""
        self._until.pop(task_id, None)
