"""What is known of a life so far: tasks, groups, open calls, and what was found wrong with them."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.simulation.calls import Request
from tests.simulation.model import Model, State


class Violation(Exception):
    """The promise is broken."""


@dataclass(eq=False)
class Open:
    """A call under way, and when it began: the number of commits then, and the service's time."""

    request: Request
    since: int
    began: int
    time: float = 0.0
    """Seconds of the simulation at which it began."""
    gone: bool = False
    """Whether the client has hung up."""
    on_death: Callable[[], None] = lambda: None
    """What the client does when it notices that the server died."""


@dataclass(frozen=True)
class Step:
    """One transition that was committed. No state before: created; none after: deleted."""

    commit: int
    now: int
    before: State | None
    after: State | None
    told: tuple[tuple[str, int | None], ...]
    perhaps: tuple[tuple[str, int | None], ...] = ()
    """Told before that, if another change of the same commit came between, of which no trace is left."""


@dataclass
class Life:
    """What is known of a task."""

    group_id: str
    definition: dict[str, Any]
    version: int = -1
    steps: list[Step] = field(default_factory=list)
    waits_for: set[str] = field(default_factory=set)
    by_call: bool = False
    """Scheduled by somebody, not by its dependencies."""
    pending_since: float | None = None

    @property
    def state(self) -> State | None:
        return self.steps[-1].after if self.steps else None

    @property
    def slot(self) -> Any:
        """What a unique task has in common with its equals; None for others."""
        return self.definition["payload"].get("slot") if "unique" in self.definition else None


@dataclass(frozen=True)
class Group:
    scheduler_id: str
    sealed: int | None


@dataclass(frozen=True)
class Pause:
    """What a task queue was from a commit on: when it was paused, None while it is not."""

    commit: int
    time: float
    paused_at: int | None


class History:
    """``clock`` tells the service's time in milliseconds, ``time`` the seconds that have passed."""

    def __init__(self, model: Model, clock: Callable[[], int], time: Callable[[], float]) -> None:
        self.model = model
        self.clock = clock
        self.time = time
        self.violations: list[str] = []
        self.calm_since = 0.0
        """Since when nothing was out of order."""
        self.commits = 0
        self.lives: dict[str, Life] = {}
        self.open: dict[str, list[Open]] = defaultdict(list)
        """By task, group or task queue."""
        self.groups: dict[str, list[tuple[int, Group | None]]] = defaultdict(list)
        self.queues: dict[str, list[Pause]] = defaultdict(list)
        """Task queues that are known, and how they were paused."""
        self.announced: dict[str, list[str]] = defaultdict(list)
        """What is to be told of other things than tasks, in order: by what it is about."""
        self.fired: dict[str, dict[str, Any]] = {}
        """Definitions of the tasks that triggers make, by id."""
        self.owed: list[tuple[str, str, str | None]] = []
        """Messages that answered calls have promised: exchange, task or group, priority."""
        self.ends: list[tuple[str, str]] = []
        """Group and task of each first end, in order."""

    def violated(self, text: str) -> None:
        self.violations.append(f"at {self.time():.3f} s: {text}")

    def opened(self, request: Request) -> Open:
        """The call reaches a server."""
        call = Open(request, self.commits, self.clock(), self.time())
        self.open[about(request)].append(call)
        return call

    def ended(self, call: Open) -> None:
        """Nothing more can come of it."""
        self.open[about(call.request)].remove(call)

    def paused(self, queue_id: str) -> bool:
        return bool(self.queues[queue_id]) and self.queues[queue_id][-1].paused_at is not None

    def equals(self, task_id: str) -> list[tuple[str, Life]]:
        """Other tasks that are equal to a unique one."""
        slot = self.lives[task_id].slot
        return [
            (other, life)
            for other, life in self.lives.items()
            if slot is not None and other != task_id and life.slot == slot
        ]

    def in_line(self, *, since: float) -> list[str]:
        """Tasks that wait for a worker since then or before, and may still be done."""
        return [
            task_id
            for task_id, life in self.lives.items()
            if life.state is not None and life.state.in_line and life.state.deadline > self.clock()
            if life.pending_since is not None and life.pending_since <= since
        ]

    def stuck(self, *names: str) -> list[str]:
        """Tasks that are in one of these states."""
        return [
            f"{task_id} {life.state.name}"
            for task_id, life in self.lives.items()
            if life.state is not None and life.state.name in names
        ]


def about(request: Request) -> str:
    """What it is about: a task, a group, a task queue, or triggers, the only set and the only namespace."""
    if request.trigger_id:
        return "trigger"
    if request.set_name or request.lease_id:
        return "set"
    return request.task_id or request.group_id or request.queue_id or ("key" if request.key else "")


def of_group(group_id: str) -> str:
    """Of a group, which may have the id of one of its tasks."""
    return f"group {group_id}"
