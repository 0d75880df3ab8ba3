"""What claimWork costs when very much is pending in its task queue."""

import statistics
import time
from functools import partial

from benchmarks import pending
from benchmarks.environment import POSTGRES, SQLITE, Environment, Service
from benchmarks.load import send_all
from benchmarks.measuring import Quantities
from benchmarks.own_process import in_own_process
from benchmarks.report import Figure, Section
from benchmarks.tasks import claim_call

METHOD = """\
Single claims on one connection, 200 of them after 20 that are not counted, while so many tasks are pending in
their one task queue. The tasks are written by SQL into the same database, first up to 10³, then up to 10⁵,
then up to 10⁶, in groups of 100 and with definitions of about 1.5 KB; before each run they are made up to the
full number again. After each filling PostgreSQL is vacuumed and analyzed and SQLite's log moved
into its file, which would happen in the background otherwise. *loading* is the time of both."""
TARGET = "Target: call p50 at 10⁵ and at 10⁶ pending at most 1.5 times that at 10³"
REFERENCE = """\
For context, not measured here: the reference implementation on the same kind of two cores: call p50 15 ms at
10³ pending, 22 ms at 10⁴, 93 ms at 10⁵"""

DEPTHS = (1_000, 100_000, 1_000_000)
QUICK_DEPTHS = (1_000, 10_000)
WARM_UP = 20
CLAIMS = 200
WORKER_TYPE = "depth"


async def run(environment: Environment, *, quick: bool) -> Section:
    section = Section("claimWork with much pending", METHOD, notes=[TARGET, REFERENCE])
    depths = QUICK_DEPTHS if quick else DEPTHS
    for variant in (POSTGRES, SQLITE):
        async with environment.service(variant) as service:
            url = _database_url(service)
            for depth in depths:
                case = _case(variant, depth)
                started = time.monotonic()
                await pending.fill(url, WORKER_TYPE, depth)
                await pending.settle(url)
                loading = time.monotonic() - started
                runs = [await _measure(service, url, depth) for _ in range(1 if quick else 5)]
                section.add(case, runs)
                section.figures.append(Figure(case, "loading", "s", (loading,)))
    for variant in (POSTGRES, SQLITE):
        for depth in depths[1:]:
            section.ratio("call p50", _case(variant, depth), _case(variant, depths[0]))
    return section


async def _measure(service: Service, database_url: str, depth: int) -> Quantities:
    await pending.fill(database_url, WORKER_TYPE, depth + WARM_UP)
    claim = claim_call(WORKER_TYPE, "worker-1", 1)
    await in_own_process(partial(send_all, service.port, 1, [claim] * WARM_UP))
    load = await in_own_process(partial(send_all, service.port, 1, [claim] * CLAIMS))
    await service.drained()
    return {
        ("call p50", "ms"): statistics.median(load.latencies) * 1000,
        ("call p99", "ms"): statistics.quantiles(load.latencies, n=100)[98] * 1000,
    }


def _database_url(service: Service) -> str:
    """The database the server was started with."""
    return str(service.programs[0].main.environ()["TASKBUS_DATABASE_URL"])


def _case(variant: str, depth: int) -> str:
    return f"{variant}, {depth:,} pending"
