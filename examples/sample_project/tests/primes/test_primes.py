"""Known counts of primes, and Goldbach's conjecture where it has long been checked."""

import unittest

from puzzles.primes import goldbach, primes_below


class Primes(unittest.TestCase):
    def test_the_first_ones(self) -> None:
        self.assertEqual(primes_below(30), [2, 3, 5, 7, 11, 13, 17, 19, 23, 29])

    def test_there_are_none_below_two(self) -> None:
        for limit in range(3):
            self.assertEqual(primes_below(limit), [])

    def test_known_counts(self) -> None:
        for limit, count in {10: 4, 1_000: 168, 100_000: 9_592, 10_000_000: 664_579}.items():
            with self.subTest(limit=limit):
                self.assertEqual(len(primes_below(limit)), count)


class Goldbach(unittest.TestCase):
    def test_every_even_number_is_the_sum_of_two_primes(self) -> None:
        primes = set(primes_below(10_000))
        for even in range(4, 10_000, 2):
            self.assertIsNotNone(goldbach(even, primes), even)

    def test_the_smallest_prime_is_found(self) -> None:
        self.assertEqual(goldbach(98, set(primes_below(98))), (19, 79))
