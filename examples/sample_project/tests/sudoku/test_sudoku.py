"""Published puzzles, from easy to very hard."""

import unittest

from puzzles.sudoku import is_solved, parse, solve, write

EASY = "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79"
EASY_SOLVED = "534678912672195348198342567859761423426853791713924856961537284287419635345286179"
INKALA_2006 = "85...24..72......9..4.........1.7..23.5...9...4...........8..7..17..........36.4."
INKALA_2012 = "8..........36......7..9.2...5...7.......457.....1...3...1....68..85...1..9....4.."


class Sudoku(unittest.TestCase):
    def test_an_easy_puzzle(self) -> None:
        solution = solve(parse(EASY))
        assert solution is not None
        self.assertEqual(write(solution), EASY_SOLVED)

    def test_hard_puzzles(self) -> None:
        for puzzle in (INKALA_2006, INKALA_2012):
            with self.subTest(puzzle=puzzle):
                solution = solve(parse(puzzle))
                assert solution is not None
                self.assertTrue(is_solved(solution))
                self.assertLessEqual(parse(puzzle).items(), solution.items())

    def test_a_contradiction_has_no_solution(self) -> None:
        self.assertIsNone(solve(parse("531" + EASY[3:])))

    def test_a_puzzle_has_81_squares(self) -> None:
        with self.assertRaisesRegex(ValueError, "expected 81 squares, got 3"):
            parse("1.2")
