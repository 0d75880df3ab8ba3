"""Numbers that the parts of the service keep of what they do, for ``metrics`` to tell.

A count is a plain integer of the part. It costs what an addition costs, whether anybody asks for it or not.
"""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Bounds for what takes time."""
SIZES: Final = (1, 2, 4, 8, 16, 32, 64)
"""Bounds for what travels together."""


class Distribution:
    """How large the values were that it was given: how many up to each bound, and their sum."""

    __slots__ = ("_counts", "bounds", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.sum = 0.0
        self._counts = [0] * (len(bounds) + 1)

    def add(self, value: float) -> None:
        self._counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    @property
    def count(self) -> int:
        return sum(self._counts)

    def cumulative(self) -> list[int]:
        """How many values were at most as large as each bound; the last number counts all."""
        return list(accumulate(self._counts))


class Calls:
    """Calls of an API by endpoint and status, and how long they took in seconds."""

    def __init__(self) -> None:
        self.seconds: dict[tuple[str, int], Distribution] = {}

    def add(self, endpoint: str, status: int, seconds: float) -> None:
        found = self.seconds.get((endpoint, status))
        if found is None:
            found = self.seconds[endpoint, status] = Distribution(SECONDS)
        found.add(seconds)
