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


@dataclass(frozen=True)
class Group:
    scheduler_id: str
    sealed: int | None


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
        self.owed: list[tuple[str, str, str | None]] = []
        """Messages that answered calls have promised: exchange, task or group, priority."""
        self.ends: list[tuple[str, str]] = []
        """Group and task of each first end, in order."""

    def violated(self, text: str) -> None:
        self.violations.append(f"at {self.time():.3f} s: {text}")

    def opened(self, request: Request) -> Open:
        """The call reaches a server."""
        call = Open(request, self.commits, self.clock())
        self.open[about(request)].append(call)
        return call

    def ended(self, call: Open) -> None:
        """Nothing more can come of it."""
        self.open[about(call.request)].remove(call)

    def stuck(self, *names: str) -> list[str]:
        """Tasks that are in one of these states."""
        return [
            f"{task_id} {life.state.name}"
            for task_id, life in self.lives.items()
            if life.state is not None and life.state.name in names
        ]


def about(request: Request) -> str:
    """What it is about: a task, a group or a task queue."""
    return request.task_id or request.group_id or request.queue_id or ""


def of_group(group_id: str) -> str:
    """Of a group, which may have the id of one of its tasks."""
    return f"group {group_id}"
