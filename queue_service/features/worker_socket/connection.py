"""A connection as its gateway sees it: what it takes, what it has, and how it is told."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from queue_service.features.jobs.job import Job
from queue_service.features.worker_socket.matching import Description, folded
from schemas.work import WorkDescription

V1: Final = "work.v1"
V2: Final = "work.v2"
DEFAULT_CAPACITY: Final = 100
FRAMES_BESIDE_WORK: Final = 64
"""Frames that may wait for a slow connection beside its items."""

Told = tuple[str, tuple[tuple[str, tuple[str, ...]], ...]]
"""A name, and a filter."""


@dataclass(slots=True)
class InFlight:
    """An item that a connection has."""

    task_id: str
    run_id: int
    task_queue_id: str
    name: str
    attrs: dict[str, str]
    data: Any
    deadline: datetime
    """Of the task."""
    taken_until: datetime
    retries_used: int
    job: Job | None = None
    """As it stood when the item was handed out, for an item that is a typed job."""
    progress: dict[str, Any] | None = None
    cancel_told: bool = False
    """Whether the worker knows that somebody wants the job cancelled."""


@dataclass(slots=True)
class Connection:
    """One attached worker. ``frames`` wait here until the socket takes them."""

    worker_id: str
    protocol: str
    attached: datetime
    close: Callable[[int, str], None]
    """Ends the socket with this code and reason."""
    capacity: int = DEFAULT_CAPACITY
    described: Sequence[WorkDescription] = ()
    descriptions: Sequence[Description] = ()
    told: Sequence[Told] = ()
    """The descriptions as other gateways are told them."""
    draining: bool = False
    in_flight: dict[str, InFlight] = field(default_factory=dict)
    reporting: set[asyncio.Task[None]] = field(default_factory=set)
    """Reports of typed jobs that are being written."""
    frames: "asyncio.Queue[dict[str, Any]]" = field(init=False)

    def __post_init__(self) -> None:
        self.frames = asyncio.Queue()

    @property
    def load(self) -> int:
        """How many items it has."""
        return len(self.in_flight)

    def describe(self, described: Sequence[WorkDescription], capacity: int) -> None:
        """Take other items from now on; those under way stay."""
        self.described, self.capacity = described, capacity
        self.descriptions = [
            Description(folded(one.name), {key: frozenset(values) for key, values in one.filter.items()})
            for one in described
        ]
        self.told = [
            (one.name, tuple((key, tuple(sorted(values))) for key, values in sorted(one.filter.items())))
            for one in self.descriptions
        ]

    def send(self, frame: dict[str, Any]) -> None:
        """Queue a frame. Who does not read what he is sent is cut off."""
        if self.frames.qsize() >= self.capacity + FRAMES_BESIDE_WORK:
            self.close(4408, "frames are not read")
            return
        self.frames.put_nowait(frame)
