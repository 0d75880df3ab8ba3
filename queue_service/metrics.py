"""What Prometheus is told: one table of metrics, read from the parts of the service when it asks.

The parts count by themselves (``counting``); what is in the database is asked for with each reading.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family

from queue_service.auth.cache import Cache
from queue_service.core.limits import Limits
from queue_service.counting import Calls, Distribution
from queue_service.loops.delay import LoopDelay
from queue_service.loops.loop import Loop
from queue_service.loops.outbox_relay import OutboxRelay
from queue_service.operations.work_desk import WorkDesk
from queue_service.store import claims
from queue_service.store.database import Database, StoreUnavailable
from queue_service.store.migrations import runner
from queue_service.store.outbox import Backlog, backlog

Labels = tuple[str, ...]
Values = Iterable[tuple[Labels, float | Distribution]]

READ_SECONDS: Final = 5.0
"""In which the database has to answer."""


@dataclass(frozen=True)
class Watched:
    """The parts of one process that count; those that it does not run are empty."""

    version: str
    database: Database
    limits: Limits
    delay: LoopDelay
    calls: Mapping[str, Calls] = field(default_factory=dict)
    """By service."""
    batches: Mapping[str, Distribution] = field(default_factory=dict)
    """Sizes, by what is done together."""
    desk: WorkDesk | None = None
    credentials: Cache[Any, Any] | None = None
    loops: Sequence[Loop] = ()
    relay: OutboxRelay | None = None


@dataclass(frozen=True)
class Stored:
    """What the database says at this moment."""

    outbox: Backlog
    next_claim: datetime | None
    """When the first claim runs out that has not been worked off."""
    next_deadline: datetime | None
    """When the first deadline is to be worked off."""
    now: datetime

    def overdue(self, due: datetime | None) -> float:
        """Seconds that have passed since then."""
        return 0.0 if due is None else max((self.now - due).total_seconds(), 0.0)


@dataclass(frozen=True)
class Reading:
    """What the metrics are read from. ``stored`` is None when the database cannot be asked."""

    parts: Watched
    stored: Stored | None


ToldBy = Literal["every process", "API", "loops"]


@dataclass(frozen=True)
class Metric:
    """One metric as the documentation lists it. ``told_by``: the processes that have it."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    told_by: ToldBy
    meaning: str
    read: Callable[[Reading], Values]
    labels: Labels = ()

    @property
    def told_as(self) -> str:
        """Its name in the text."""
        return f"{self.name}_total" if self.kind == "counter" else self.name

    def family(self, values: Values) -> Family:
        """These values in the terms of the client library."""
        if self.kind == "histogram":
            histogram = HistogramMetricFamily(self.name, self.meaning, labels=self.labels)
            for labels, value in values:
                assert isinstance(value, Distribution)
                bounds = [*map(str, map(float, value.bounds)), "+Inf"]
                histogram.add_metric(
                    labels, list(zip(bounds, value.cumulative(), strict=True)), sum_value=value.sum
                )
            return histogram
        kind = CounterMetricFamily if self.kind == "counter" else GaugeMetricFamily
        family = kind(self.name, self.meaning, labels=self.labels)
        for labels, value in values:
            assert not isinstance(value, Distribution)
            family.add_metric(labels, value)
        return family


def _one(value: float | Distribution) -> Values:
    return [((), value)]


def _of_relay(value: Callable[[OutboxRelay], float]) -> Callable[[Reading], Values]:
    return lambda reading: _one(value(reading.parts.relay)) if reading.parts.relay is not None else ()


def _of_loops(value: Callable[[Loop], float]) -> Callable[[Reading], Values]:
    return lambda reading: [((loop.name,), value(loop)) for loop in reading.parts.loops]


def _of_stored(value: Callable[[Stored], Values]) -> Callable[[Reading], Values]:
    """Of a process that runs the loops: what is in the database need not be told by every process."""

    def read(reading: Reading) -> Values:
        return value(reading.stored) if reading.stored is not None and reading.parts.loops else ()

    return read


def _calls(reading: Reading) -> Values:
    for service, calls in reading.parts.calls.items():
        for (endpoint, status), seconds in calls.seconds.items():
            yield (service, endpoint, str(status)), seconds


def _credentials(reading: Reading) -> Values:
    cache = reading.parts.credentials
    return () if cache is None else [(("known",), cache.hits), (("judged",), cache.misses)]


def _waiting(reading: Reading) -> Values:
    return () if reading.parts.desk is None else _one(reading.parts.desk.waiting)


def _resolved(reading: Reading) -> Values:
    steps = reading.parts.database.run_steps
    return [((state, reason), number) for (state, reason), number in steps.items() if state != CLAIMED[0]]


CLAIMED: Final = ("running", "")
METRICS: Final = (
    Metric(
        "taskbus_build",
        "gauge",
        "every process",
        "Always 1; its labels are the version of the program and the schema that it needs.",
        lambda reading: [((reading.parts.version, runner.newest_revision()), 1)],
        ("version", "schema"),
    ),
    Metric(
        "taskbus_event_loop_delay_seconds",
        "histogram",
        "every process",
        "How late the event loop was, looked at twice a second; every call is delayed by as much.",
        lambda reading: _one(reading.parts.delay.seconds),
    ),
    Metric(
        "taskbus_database_wait_seconds",
        "histogram",
        "every process",
        "Waits for the turn to write (SQLite) or for a connection of the pool (PostgreSQL).",
        lambda reading: _one(reading.parts.database.driver.waits),
    ),
    Metric(
        "taskbus_database_retries",
        "counter",
        "every process",
        "Transactions that lost a race and were tried again.",
        lambda reading: _one(reading.parts.database.retries),
    ),
    Metric(
        "taskbus_database_unavailable",
        "counter",
        "every process",
        "Transactions and readings that failed because the database could not be used.",
        lambda reading: _one(reading.parts.database.unavailable),
    ),
    Metric(
        "taskbus_claims",
        "counter",
        "every process",
        "Runs that were handed out to workers.",
        lambda reading: _one(reading.parts.database.run_steps[CLAIMED]),
    ),
    Metric(
        "taskbus_runs_resolved",
        "counter",
        "every process",
        "Runs that ended, by state and reason. A claim that expired has the reason `claim-expired`.",
        _resolved,
        ("state", "reason"),
    ),
    Metric(
        "taskbus_call_seconds",
        "histogram",
        "API",
        "Calls by endpoint and status, from the head of the request to the reply. `claimWork` includes the "
        "time it waits for work. No endpoint: a path that there is not. Status 499: the caller did not wait.",
        _calls,
        ("service", "endpoint", "status"),
    ),
    Metric(
        "taskbus_batch_size",
        "histogram",
        "API",
        "Calls that shared a transaction.",
        lambda reading: [((kind,), sizes) for kind, sizes in reading.parts.batches.items()],
        ("kind",),
    ),
    Metric(
        "taskbus_waiting_workers",
        "gauge",
        "API",
        "`claimWork` calls that wait for work.",
        _waiting,
    ),
    Metric(
        "taskbus_credentials",
        "counter",
        "API",
        "Signed calls whose credentials were remembered (`known`), or had to be judged from the beginning "
        "(`judged`).",
        _credentials,
        ("found",),
    ),
    Metric(
        "taskbus_messages_published",
        "counter",
        "loops",
        "Messages that the broker has confirmed.",
        _of_relay(lambda relay: relay.published),
    ),
    Metric(
        "taskbus_messages_refused",
        "counter",
        "loops",
        "Messages that the broker has refused; each is tried again.",
        _of_relay(lambda relay: relay.refused),
    ),
    Metric(
        "taskbus_broker_connected",
        "gauge",
        "loops",
        "1 while the relay is connected to the broker. Of several processes one publishes: take the `max`.",
        _of_relay(lambda relay: float(relay.connected)),
    ),
    Metric(
        "taskbus_broker_losses",
        "counter",
        "loops",
        "How often the broker was found to be away.",
        _of_relay(lambda relay: relay.losses),
    ),
    Metric(
        "taskbus_outbox_messages",
        "gauge",
        "loops",
        "Messages in the database that wait for the broker; above 100,000 an estimate from their ids.",
        _of_stored(lambda stored: _one(stored.outbox.depth)),
    ),
    Metric(
        "taskbus_outbox_oldest_seconds",
        "gauge",
        "loops",
        "Age of the first message that waits for the broker.",
        _of_stored(lambda stored: _one(stored.overdue(stored.outbox.oldest))),
    ),
    Metric(
        "taskbus_overdue_seconds",
        "gauge",
        "loops",
        "For how long the first claim is past its end, or the first task past its deadline, without having "
        "been worked off.",
        _of_stored(
            lambda stored: [
                (("claim",), stored.overdue(stored.next_claim)),
                (("deadline",), stored.overdue(stored.next_deadline)),
            ]
        ),
        ("timer",),
    ),
    Metric(
        "taskbus_loop_passes",
        "counter",
        "loops",
        "Passes of each background loop.",
        _of_loops(lambda loop: loop.passes),
        ("loop",),
    ),
    Metric(
        "taskbus_loop_failures",
        "counter",
        "loops",
        "Passes of each background loop that failed; they are tried again.",
        _of_loops(lambda loop: loop.failures),
        ("loop",),
    ),
    Metric(
        "taskbus_loop_pass_seconds",
        "gauge",
        "loops",
        "For how long the pass under way of each background loop has been going on; 0 between passes.",
        _of_loops(lambda loop: loop.busy_seconds),
        ("loop",),
    ),
)


class Metrics:
    """The metrics of this process, in Prometheus' text format."""

    def __init__(self, parts: Watched) -> None:
        self._parts = parts
        self._process = CollectorRegistry()
        ProcessCollector(registry=self._process)

    async def text(self) -> bytes:
        """All of them as they are now. Without the database, those that are read from it are missing."""
        reading = await self._reading()
        values = [(metric, list(metric.read(reading))) for metric in METRICS]
        return await asyncio.to_thread(self._written, values)

    def _written(self, values: Sequence[tuple[Metric, Values]]) -> bytes:
        """In a thread: with calls of many endpoints this takes longer than other calls should wait."""
        families = _Families([metric.family(read) for metric, read in values])
        return generate_latest(families) + generate_latest(self._process)

    async def _reading(self) -> Reading:
        return Reading(self._parts, await self._stored() if self._parts.loops else None)

    async def _stored(self) -> Stored | None:
        database, now = self._parts.database, self._parts.database.clock.now()
        try:
            async with asyncio.timeout(READ_SECONDS), database.read() as connection:
                deadline = await claims.next_deadline(connection)
                return Stored(
                    outbox=await backlog(connection),
                    next_claim=await claims.next_expiring(connection, now),
                    next_deadline=None if deadline is None else deadline + self._parts.limits.deadline_delay,
                    now=now,
                )
        except (StoreUnavailable, TimeoutError):
            return None


class _Families(CollectorRegistry):
    """What :func:`generate_latest` takes: families that are there already."""

    def __init__(self, families: Sequence[Family]) -> None:
        super().__init__()
        self._families = families

    def collect(self) -> Iterable[Family]:
        return self._families
