"""What a feature brings to the service, and what it is given to do so."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

from starlette.types import ASGIApp

from queue_service.api.endpoint import Api
from queue_service.api.permit import Gate
from queue_service.api.queue import QueueApi
from queue_service.clock import Clock
from queue_service.loops.loop import Loop
from queue_service.operations.due import Sweep
from queue_service.operations.resolutions import Follower
from queue_service.settings import Settings
from queue_service.store.database import Database
from queue_service.store.witness import Witness


@dataclass(frozen=True)
class Parts:
    """The service as a feature sees it."""

    database: Database
    clock: Clock
    settings: Settings
    name: str
    """Of this process, unlike any other's."""
    queue: QueueApi | None
    """What answers the calls of the queue; None, as the gate, in a process that answers none."""
    gate: Gate | None
    amqp_url: str | None
    """Where the broker is; None in a process that runs no loops."""
    background: Sequence[Loop] = ()
    """All loops of the process, once it has started."""


@dataclass(frozen=True)
class Running:
    """A feature at work. ``paths`` are answered by ASGI applications of its own (streams, WebSockets)."""

    handlers: Sequence[object] = ()
    """An object of each class that its APIs name."""
    paths: Mapping[str, ASGIApp] = field(default_factory=dict)
    """By the beginning of the path."""
    loops: Sequence[Loop] = ()
    """Run by one or many processes; safe by row locks and leases."""
    wind_down: Callable[[], Awaitable[None]] | None = None
    """Called when the process is about to end, while its connections are there; takes seconds at most."""


@dataclass(frozen=True)
class Feature:
    """A capability: its APIs, what it does when tasks end and records expire, and how it starts.

    ``open`` starts it in a process and, at the end of the context, lets go of everything. What it gives is
    used only where it fits: handlers and paths in a process that answers calls, loops in one that runs them.
    """

    name: str
    open: Callable[[Parts], AbstractAsyncContextManager[Running]]
    apis: Sequence[Api] = ()
    followers: Sequence[Follower] = ()
    sweeps: Sequence[Sweep] = ()
    witness: Witness | None = None
    """What is told of the tasks that have the feature's name as their witness."""
