"""Sudoku by constraint and search: always try the square with the fewest candidates."""

Grid = dict[tuple[int, int], int]

_DIGITS = frozenset(range(1, 10))
_SQUARES = [(row, column) for row in range(9) for column in range(9)]


def _sees(one: tuple[int, int], other: tuple[int, int]) -> bool:
    same_box = one[0] // 3 == other[0] // 3 and one[1] // 3 == other[1] // 3
    return one != other and (one[0] == other[0] or one[1] == other[1] or same_box)


_PEERS = {one: [other for other in _SQUARES if _sees(one, other)] for one in _SQUARES}


def parse(text: str) -> Grid:
    """A puzzle written as 81 characters, row by row; a dot is an empty square. Raises ValueError."""
    if len(text) != 81:
        raise ValueError(f"expected 81 squares, got {len(text)}")
    return {square: int(mark) for square, mark in zip(_SQUARES, text, strict=True) if mark != "."}


def write(grid: Grid) -> str:
    """The opposite of :func:`parse`."""
    return "".join(str(grid.get(square, ".")) for square in _SQUARES)


def solve(grid: Grid) -> Grid | None:
    """A full grid that contains this one; None if there is none."""
    empty = [square for square in _SQUARES if square not in grid]
    if not empty:
        return grid
    candidates = {square: _DIGITS - {grid.get(peer) for peer in _PEERS[square]} for square in empty}
    square = min(empty, key=lambda one: len(candidates[one]))
    for digit in sorted(candidates[square]):
        if solution := solve({**grid, square: digit}):
            return solution
    return None


def is_solved(grid: Grid) -> bool:
    """Whether every square has a digit that none of its peers has."""
    return len(grid) == 81 and all(
        grid[square] != grid[peer] for square in _SQUARES for peer in _PEERS[square]
    )
