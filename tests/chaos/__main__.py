"""``make chaos``: rounds of faults on real servers under load; prints each and what they add up to."""

import argparse
import asyncio
import random
import sys
from pathlib import Path

from tests.chaos.plan import plan_of
from tests.chaos.run import Report, play
from tests.servers.probes import NotUsable


def main() -> int:
    """The exit status: 1 for a violation, or when throughput did not come back."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, help="of the first round; each further one has the next")
    parser.add_argument("--failures", type=int, default=1, help="stop after so many rounds with violations")
    parser.add_argument("--hurried", action="store_true", help="shorter rounds, that measure no throughput")
    parser.add_argument("--histories", type=Path, default=Path("chaos-histories"))
    given = parser.parse_args()
    first = random.SystemRandom().randrange(10**6) if given.seed is None else given.seed
    print(f"{given.rounds} rounds, seeds from {first}", flush=True)
    plans = map(plan_of, range(first, first + given.rounds))
    report = Report(measured=not given.hurried)

    def tell(line: object) -> None:
        print(line, flush=True)

    try:
        asyncio.run(play(plans, given.histories, tell, report, failures=given.failures))
    except KeyboardInterrupt:
        print("stopped; so far:")
    except NotUsable as reason:
        print(f"chaos needs PostgreSQL and RabbitMQ installed on this machine: {reason}", file=sys.stderr)
        return 2
    print(report)
    if not report.recovered:
        print("THROUGHPUT did not come back within 10 s in the median round")
    return int(bool(report.histories) or not report.recovered)


if __name__ == "__main__":
    sys.exit(main())
