"""The known numbers of solutions (sequence A000170 of the OEIS)."""

import unittest

from puzzles.queens import count_solutions

KNOWN = {1: 1, 2: 0, 3: 0, 4: 2, 5: 10, 6: 4, 7: 40, 8: 92, 9: 352, 10: 724, 11: 2680, 12: 14200, 13: 73712}


class Queens(unittest.TestCase):
    def test_small_boards(self) -> None:
        for size in range(1, 9):
            with self.subTest(size=size):
                self.assertEqual(count_solutions(size), KNOWN[size])

    def test_larger_boards(self) -> None:
        for size in range(9, 14):
            with self.subTest(size=size):
                self.assertEqual(count_solutions(size), KNOWN[size])
