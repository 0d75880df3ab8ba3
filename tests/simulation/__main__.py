"""``make simulate``: live seeds for a count, a number of steps or a time; print what came of it."""

import argparse
import itertools
import random
import sys

from tests.simulation.run import simulate


def main() -> int:
    parser = argparse.ArgumentParser(prog="make simulate", description=__doc__)
    parser.add_argument("--seeds", default="", help="FIRST-LAST, or one seed; the default is a random start")
    parser.add_argument("--steps", type=int, help="stop after so many steps")
    parser.add_argument("--seconds", type=float, help="stop after so many seconds")
    parser.add_argument("--failures", type=int, default=1, help="stop after so many failed seeds")
    given = parser.parse_args()
    first, _, last = given.seeds.partition("-")
    start = int(first) if first else random.SystemRandom().randrange(10**9)
    if first:
        seeds: itertools.count[int] | range = range(start, int(last or first) + 1)
    else:
        seeds = itertools.count(start)
        print(f"seeds from {start}")
    seconds = 60.0 if given.seconds is None and given.steps is None and not first else given.seconds
    run = simulate(seeds, steps=given.steps, seconds=seconds, failures=given.failures)
    print(*run.failures, run, sep="\n\n")
    return bool(run.failures)


if __name__ == "__main__":
    sys.exit(main())
