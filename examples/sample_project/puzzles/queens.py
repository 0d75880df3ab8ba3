"""Queens on a chessboard, none of which attacks another."""


def count_solutions(size: int) -> int:
    """In how many ways ``size`` queens can stand on a board of that size."""
    board = (1 << size) - 1

    def place(columns: int, falling: int, rising: int) -> int:
        if columns == board:
            return 1
        found = 0
        free = board & ~(columns | falling | rising)
        while free:
            square = free & -free
            free ^= square
            found += place(columns | square, (falling | square) << 1, (rising | square) >> 1)
        return found

    return place(0, 0, 0)
