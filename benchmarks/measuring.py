"""One measured run: a load process against a service, and a listener process that must hear every event."""

import asyncio
import statistics
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from benchmarks.environment import Service
from benchmarks.listener import Heard, bind_queue, delete_queue, listen
from benchmarks.load import Load
from benchmarks.own_process import in_own_process

LISTEN_SECONDS: Final = 300.0
TASK_EVENTS: Final = ("task-defined", "task-pending", "task-running", "task-completed")

Quantities = dict[tuple[str, str], float]
"""What one run measured, by (quantity, unit)."""


class EventsLost(Exception):
    """The listener did not hear what was committed: the figure would be worthless."""


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run."""

    load: Load
    drained: float | None
    """When the last message was confirmed (monotonic clock); None when there were no messages."""
    heard: Heard | None
    cpu_seconds: Mapping[str, float]
    """By program."""

    def quantities(self, tasks: int) -> Quantities:
        """The figures of a run over so many tasks, with the processor time that each task took."""
        found: Quantities = {("answered", "tasks/s"): tasks / (self.load.ended - self.load.started)}
        if self.drained is not None:
            found["confirmed", "tasks/s"] = tasks / (self.drained - self.load.started)
        found |= {
            ("call p50", "ms"): statistics.median(self.load.latencies) * 1000,
            ("call p99", "ms"): statistics.quantiles(self.load.latencies, n=100)[98] * 1000,
        }
        programs = {**self.cpu_seconds, "load": self.load.cpu_seconds}
        if self.heard is not None:
            programs["listener"] = self.heard.cpu_seconds
        for program, seconds in programs.items():
            found[program, "CPU µs/task"] = seconds / tasks * 1e6
        return found


async def loaded(service: Service, load: Callable[[], Load], expected: Mapping[str, int]) -> Run:
    """Run ``load`` (picklable) in a process of its own, and wait until every message is confirmed.

    ``expected`` counts messages by exchange name: a listener on a durable queue must hear at least these,
    and of the task exchanges exactly these. Raises EventsLost.
    """
    if not expected:
        return await _run(service, load, None)
    queue = f"taskbus.bench.{uuid.uuid4().hex[:12]}"
    await bind_queue(service.amqp_url, queue)
    try:
        async with asyncio.TaskGroup() as group:
            hearing = group.create_task(
                in_own_process(partial(listen, service.amqp_url, queue, dict(expected), LISTEN_SECONDS))
            )
            run = await _run(service, load, hearing)
    finally:
        left = await delete_queue(service.amqp_url, queue)
    assert run.heard is not None
    _check(run.heard, expected, left)
    return run


async def _run(service: Service, load: Callable[[], Load], hearing: asyncio.Task[Heard] | None) -> Run:
    before = service.cpu_seconds()
    done = await in_own_process(load)
    await service.drained()
    drained = time.monotonic()
    used = {name: seconds - before[name] for name, seconds in service.cpu_seconds().items()}
    return Run(done, None, None, used) if hearing is None else Run(done, drained, await hearing, used)


def _check(heard: Heard, expected: Mapping[str, int], left: int) -> None:
    counts = {name.rpartition("/")[2]: count for name, count in heard.by_exchange.items()}
    for name, wanted in expected.items():
        got = counts.get(name, 0)
        if got < wanted or (name in TASK_EVENTS and got != wanted):
            raise EventsLost(
                f"{name}: {wanted} expected, {got} heard, {left} left in the queue; all: {counts}"
            )
    if heard.overtaken:
        raise EventsLost(f"{heard.overtaken} messages came after a later one of their task")
