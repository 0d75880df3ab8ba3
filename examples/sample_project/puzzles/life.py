"""Conway's game of life on a board without borders."""

from collections import Counter

Cells = frozenset[tuple[int, int]]


def parse(picture: str) -> Cells:
    """The living cells in a picture: ``#`` lives, anything else does not."""
    return frozenset(
        (x, y) for y, line in enumerate(picture.split()) for x, mark in enumerate(line) if mark == "#"
    )


def step(cells: Cells) -> Cells:
    """The next generation: born with three neighbours, staying alive with two or three."""
    neighbours = Counter(
        (x + dx, y + dy) for x, y in cells for dx in (-1, 0, 1) for dy in (-1, 0, 1) if dx or dy
    )
    return frozenset(
        cell for cell, count in neighbours.items() if count == 3 or (count == 2 and cell in cells)
    )


def after(cells: Cells, generations: int) -> Cells:
    """The cells that live so many generations later."""
    for _ in range(generations):
        cells = step(cells)
    return cells
