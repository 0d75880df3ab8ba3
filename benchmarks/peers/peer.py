"""A job queue as the comparison sees it: how to insert a no-op job, and what works on it."""

import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Final

POSTGRES_VARIABLE: Final = "PEER_POSTGRES_URL"
AMQP_VARIABLE: Final = "PEER_AMQP_URL"
ROOT_VARIABLE: Final = "PEER_ROOT_URL"


@dataclass(frozen=True, slots=True)
class Inserter:
    """Inserts jobs that have a number; each call returns when the peer has promised to keep them."""

    many: Callable[[Sequence[int]], Awaitable[None]]
    """As fast as the peer's documentation shows how."""
    one: Callable[[int], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Peer:
    """``module`` offers ``prepare()``, ``inserting()`` and what its ``worker`` command starts."""

    name: str
    package: str
    module: str
    worker: tuple[str, ...]
    """The command after ``python -m``; one process, started as its documentation does."""
    promises: str
    """What it guarantees, in its own terms, as it is set up here."""

    @property
    def installed(self) -> str | None:
        """Its version; None when it is not there."""
        try:
            return version(self.package)
        except PackageNotFoundError:
            return None

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-m", *self.worker]

    async def prepare(self) -> None:
        """Make its tables or queues."""
        prepare: Callable[[], Awaitable[None]] = import_module(self.module).prepare
        await prepare()

    def inserting(self) -> AbstractAsyncContextManager[Inserter]:
        """Open its client."""
        opened: AbstractAsyncContextManager[Inserter] = import_module(self.module).inserting()
        return opened


def setting(name: str) -> str:
    """An address that the comparison hands down."""
    return os.environ[name]


PEERS: Final[Sequence[Peer]] = (
    Peer(
        "taskbus",
        "taskbus",
        "benchmarks.peers.taskbus_jobs",
        ("benchmarks.peers.taskbus_jobs",),
        "job and events commit together on PostgreSQL and are confirmed by RabbitMQ; leases that are "
        "renewed, retries, four events a job in order; 1,000 jobs a transaction",
    ),
    Peer(
        "procrastinate",
        "procrastinate",
        "benchmarks.peers.procrastinate_jobs",
        ("benchmarks.peers.procrastinate_jobs",),
        "jobs are rows in PostgreSQL; no lease (jobs of a dead worker are found by heartbeat); no events; "
        "1,000 jobs a transaction",
    ),
    Peer(
        "pgqueuer",
        "pgqueuer",
        "benchmarks.peers.pgqueuer_jobs",
        ("benchmarks.peers.pgqueuer_jobs",),
        "jobs are rows in PostgreSQL; a heartbeat is the lease; no events for others; 1,000 jobs in a "
        "transaction",
    ),
    Peer(
        "celery",
        "celery",
        "benchmarks.peers.celery_jobs",
        ("celery", "-A", "benchmarks.peers.celery_jobs", "worker", "--loglevel", "ERROR", "--without-mingle"),
        "persistent messages on RabbitMQ with publisher confirms, acknowledged late; no state to ask for, "
        "no order of events; one message a call",
    ),
    Peer(
        "dramatiq",
        "dramatiq",
        "benchmarks.peers.dramatiq_jobs",
        ("dramatiq", "benchmarks.peers.dramatiq_jobs", "--processes", "1", "--threads", "8"),
        "persistent messages on RabbitMQ with publisher confirms, acknowledged late; no state to ask for; "
        "one message a call",
    ),
    Peer(
        "taskiq",
        "taskiq",
        "benchmarks.peers.taskiq_jobs",
        ("taskiq", "worker", "benchmarks.peers.taskiq_jobs:broker", "--workers", "1", "--log-level", "ERROR"),
        "persistent messages on RabbitMQ with publisher confirms, acknowledged when executed; no state to "
        "ask for; one message a call, 64 calls at once",
    ),
)
