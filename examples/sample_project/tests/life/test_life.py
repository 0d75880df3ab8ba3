"""Well-known patterns of the game."""

import unittest

from puzzles.life import after, parse, step

BLOCK = parse("## ##")
BLINKER = parse("###")
GLIDER = parse(".#. ..# ###")
R_PENTOMINO = parse(".## ##. .#.")


class Life(unittest.TestCase):
    def test_a_block_stays(self) -> None:
        self.assertEqual(step(BLOCK), BLOCK)

    def test_a_blinker_blinks(self) -> None:
        self.assertNotEqual(step(BLINKER), BLINKER)
        self.assertEqual(after(BLINKER, 2), BLINKER)

    def test_a_glider_moves_one_square_in_four_generations(self) -> None:
        self.assertEqual(after(GLIDER, 400), frozenset((x + 100, y + 100) for x, y in GLIDER))

    def test_the_r_pentomino_settles_after_1103_generations(self) -> None:
        self.assertEqual(len(after(R_PENTOMINO, 1103)), 116)
