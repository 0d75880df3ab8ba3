"""How fast things happen when nothing is busy: from createTask to a waiting worker, and to a listener."""

import asyncio
import gc
import statistics
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

import aiormq
from aiormq.abc import DeliveredMessage
from pydantic_core import from_json

from benchmarks.environment import FLOOR, LOOK_AGAIN_SECONDS, POSTGRES, SQLITE, Environment, Service
from benchmarks.listener import EXCHANGE_OF, delete_queue
from benchmarks.load import Connection, Connections, run_loop
from benchmarks.measuring import EventsLost, Quantities
from benchmarks.own_process import in_own_process
from benchmarks.report import Section
from benchmarks.tasks import claim_call, completed_calls, create_calls

METHOD = """\
50 tasks/s for 15 s, after one second that is not counted, while 4 workers of one connection each wait in
claimWork and report a run completed as soon as they have it. *created → running* is the time from sending
createTask to having the claim's answer. A listener in a process of its own consumes task-pending from a
durable queue with aiormq: *event after answer* is the arrival of a task's message minus the arrival of
createTask's answer, so it is negative when the event is the faster one; *event after scheduled* counts from
the run's `scheduled`, the beginning of the transaction cut to whole milliseconds (0.5 ms too much on
average). All processes read the same clock. 3 runs."""
TARGET = """\
Target: created → running p50 at most 10 ms and p99 at most 50 ms; event after answer p50 at most 10 ms"""

RATE = 50
WARM_UP = RATE
"""Tasks at the beginning that are not counted."""
SECONDS = 15
WORKERS = 4
CREATORS = 16
"""So many that a slow answer does not delay the next call."""
LISTEN_SECONDS = 60.0

Moments = dict[str, float]
"""Unix times by task id."""
Answered = Callable[[float, float, bytes], None]
"""Told of each call: when it was sent, when it was answered, and the answer's body."""


class NobodyListens(Exception):
    """The listener's process did not begin to consume."""


@dataclass(frozen=True, slots=True)
class Lives:
    """What the load process saw of each task."""

    sent: Moments = field(default_factory=dict)
    answered: Moments = field(default_factory=dict)
    claimed: Moments = field(default_factory=dict)
    scheduled: Moments = field(default_factory=dict)

    def counted(self) -> list[str]:
        """The tasks after those of the warm-up."""
        return sorted(self.sent, key=self.sent.__getitem__)[WARM_UP:]


async def run(environment: Environment, *, quick: bool) -> Section:
    section = Section("Latency at 50 tasks/s", METHOD, notes=[TARGET])
    tasks = WARM_UP + RATE * (4 if quick else SECONDS)
    runs = 1 if quick else 3
    async with environment.service(FLOOR) as service:
        load = partial(calls_at_rate, service.port, create_calls(tasks, "latency"))
        section.add(FLOOR, [_percentiles("call", await in_own_process(load)) for _ in range(runs)])
    for variant in (POSTGRES, SQLITE):
        async with environment.service(variant) as service:
            section.add(variant, [await _measure(service, tasks, f"latency-{n}") for n in range(runs)])
    section.ratio("call p50", POSTGRES, FLOOR)
    for quantity in ("created → running p50", "event after scheduled p50"):
        for variant in (POSTGRES, SQLITE):
            _compare_with_call(section, variant, quantity)
        section.ratio(quantity, SQLITE, POSTGRES)
    return section


async def _measure(service: Service, tasks: int, worker_type: str) -> Quantities:
    before = service.cpu_seconds()
    async with _listening(service.amqp_url, tasks) as hearing:
        load = partial(lives_at_rate, service.port, worker_type, create_calls(tasks, worker_type))
        lives = await in_own_process(load)
        arrived = await hearing
    if missing := lives.sent.keys() - arrived.keys():
        raise EventsLost(f"task-pending: {len(missing)} of {tasks} did not reach the listener")
    used = {name: seconds - before[name] for name, seconds in service.cpu_seconds().items()}
    counted = lives.counted()
    return {
        **_percentiles("call", [lives.answered[task] - lives.sent[task] for task in counted]),
        **_percentiles("created → running", [lives.claimed[task] - lives.sent[task] for task in counted]),
        **_percentiles("event after answer", [arrived[task] - lives.answered[task] for task in counted]),
        **_percentiles("event after scheduled", [arrived[task] - lives.scheduled[task] for task in counted]),
        **{(name, "CPU µs/task"): seconds / tasks * 1e6 for name, seconds in used.items()},
    }


def _percentiles(name: str, seconds: Sequence[float]) -> Quantities:
    return {
        (f"{name} p50", "ms"): statistics.median(seconds) * 1000,
        (f"{name} p99", "ms"): statistics.quantiles(seconds, n=100)[98] * 1000,
    }


def _compare_with_call(section: Section, variant: str, quantity: str) -> None:
    mine, call = section.median(variant, quantity), section.median(variant, "call p50")
    if mine is not None and call:
        section.notes.append(f"{quantity}: {variant} takes {mine / call:.2f} times its createTask call")


# ---- the load process ----------------------------------------------------------------------------------


def calls_at_rate(port: int, calls: Sequence[bytes]) -> list[float]:
    """Send the calls at the rate; the seconds of each but the warm-up. Run this in a process of its own."""
    seconds: list[float] = []

    async def run() -> list[float]:
        async with Connections(port, CREATORS) as opened:
            await _at_rate(opened.all, calls, lambda sent, answered, _: seconds.append(answered - sent))
        return seconds[WARM_UP:]

    return run_loop(run)


def lives_at_rate(port: int, worker_type: str, calls: Sequence[bytes]) -> Lives:
    """Send the createTask calls at the rate while workers wait; run this in a process of its own."""
    lives = Lives()

    def created(sent: float, answered: float, body: bytes) -> None:
        task_id = from_json(body)["status"]["taskId"]
        lives.sent[task_id] = sent
        lives.answered[task_id] = answered

    async def run() -> Lives:
        all_claimed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def work(connection: Connection, claim: bytes) -> None:
            while True:
                claims = from_json(await connection.call(claim))["tasks"]
                now = time.time()
                for status in (claimed["status"] for claimed in claims):
                    lives.claimed[status["taskId"]] = now
                    scheduled = datetime.fromisoformat(status["runs"][-1]["scheduled"])
                    lives.scheduled[status["taskId"]] = scheduled.timestamp()
                if len(lives.claimed) == len(calls) and not all_claimed.done():
                    all_claimed.set_result(None)
                for report in completed_calls(claims):
                    await connection.call(report)

        async with Connections(port, CREATORS + WORKERS) as opened, asyncio.TaskGroup() as group:
            workers = [
                group.create_task(work(connection, claim_call(worker_type, f"worker-{number}", 1)))
                for number, connection in enumerate(opened.all[CREATORS:])
            ]
            await _at_rate(opened.all[:CREATORS], calls, created)
            await all_claimed
            for worker in workers:
                worker.cancel()
        return lives

    return run_loop(run)


async def _at_rate(connections: Sequence[Connection], calls: Sequence[bytes], answered: Answered) -> None:
    """Send each call at its time, on the connections in turn."""
    gc.collect()
    gc.disable()
    started = time.monotonic()

    async def work(place: int) -> None:
        for number in range(place, len(calls), len(connections)):
            await asyncio.sleep(started + number / RATE - time.monotonic())
            sent = time.time()
            body = await connections[place].call(calls[number])
            answered(sent, time.time(), body)

    async with asyncio.TaskGroup() as group:
        for place in range(len(connections)):
            group.create_task(work(place))


# ---- the listener process ------------------------------------------------------------------------------


def arrivals(amqp_url: str, queue: str, tasks: int) -> Moments:
    """When each task's first message came, until so many have come; run this in a process of its own."""

    async def run() -> Moments:
        arrived: Moments = {}
        complete: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def take(message: DeliveredMessage) -> None:
            now = time.time()
            arrived.setdefault(str(message.routing_key).split(".", 2)[1], now)
            if len(arrived) == tasks and not complete.done():
                complete.set_result(None)

        connection = await aiormq.connect(amqp_url)
        try:
            channel = await connection.channel()
            gc.disable()
            await channel.basic_consume(queue, take, no_ack=True)
            await asyncio.wait([complete], timeout=LISTEN_SECONDS)
        finally:
            await connection.close()
        return arrived

    return run_loop(run)


@asynccontextmanager
async def _listening(amqp_url: str, tasks: int) -> AsyncIterator[asyncio.Task[Moments]]:
    """A listener process that consumes already; its task ends with what came."""
    queue = f"taskbus.bench.{uuid.uuid4().hex[:12]}"
    connection = await aiormq.connect(amqp_url)
    try:
        channel = await connection.channel()
        await channel.queue_declare(queue, durable=True)
        await channel.queue_bind(queue, EXCHANGE_OF["task-pending"], "#")
        async with asyncio.TaskGroup() as group:
            hearing = group.create_task(in_own_process(partial(arrivals, amqp_url, queue, tasks)))
            async with asyncio.timeout(LISTEN_SECONDS):
                while (await channel.queue_declare(queue, passive=True)).consumer_count == 0:
                    if hearing.done():
                        raise NobodyListens("the listener's process ended before it consumed")
                    await asyncio.sleep(LOOK_AGAIN_SECONDS)
            yield hearing
    finally:
        await connection.close()
        await delete_queue(amqp_url, queue)
