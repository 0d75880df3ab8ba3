"""The state machine a second time: written from ``queue-behaviour.md`` 3 to 6 alone, to judge the first.

Imports nothing of the service. Times are milliseconds. A transition takes a state and gives the next one,
the same one when the call is a repeat, or raises :class:`Refused`.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

ENDED: Final = ("completed", "failed", "exception")
MOST_RUNS: Final = 50
RETRY: Final = {"worker-shutdown": "retry", "intermittent-task": "task-retry", "claim-expired": "retry"}
NOT_FOUND, CONFLICT, INPUT = "ResourceNotFound", "RequestConflict", "InputError"


class Refused(Exception):
    """The call is answered with this error code."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class Numbers:
    """Service constants, in milliseconds."""

    claim_timeout: int
    deadline_delay: int
    expiry_grace: int
    drift: int
    max_deadline: int


@dataclass(frozen=True)
class Run:
    state: str
    created: str
    scheduled: int
    resolved_as: str | None = None
    worker: str | None = None
    started: int | None = None
    taken_until: int | None = None
    resolved: int | None = None

    @property
    def ended(self) -> bool:
        return self.state in ENDED


@dataclass(frozen=True)
class State:
    """Of one task; ``by_id``: the running run was taken by claimTask."""

    retries: int
    deadline: int
    priority: str
    retries_left: int
    runs: tuple[Run, ...] = ()
    ever_resolved: bool = False
    by_id: bool = False

    @property
    def name(self) -> str:
        return self.runs[-1].state if self.runs else "unscheduled"

    @property
    def ended(self) -> bool:
        return self.name in ENDED

    @property
    def shown(self) -> tuple[Any, ...]:
        """What a status shows of it."""
        return (self.priority, self.retries_left, self.runs)


def run_of(wire: dict[str, Any]) -> Run:
    """A run as the wire has it."""
    return Run(
        wire["state"],
        wire["reasonCreated"],
        ms(wire["scheduled"]),
        wire.get("reasonResolved"),
        f"{wire['workerGroup']}/{wire['workerId']}" if "workerId" in wire else None,
        *(ms(wire[name]) if name in wire else None for name in ("started", "takenUntil", "resolved")),
    )


def shown_of(status: dict[str, Any]) -> tuple[Any, ...]:
    """The same as :attr:`State.shown`, of a status on the wire."""
    return (status["priority"], status["retriesLeft"], tuple(map(run_of, status["runs"])))


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


class Model:
    """The transitions (6.1)."""

    def __init__(self, numbers: Numbers) -> None:
        self.numbers = numbers

    def create(self, definition: dict[str, Any], now: int, *, waits: bool) -> State:
        """3.1: the times are checked by :meth:`check_times`."""
        retries = definition["retries"]
        state = State(retries, ms(definition["deadline"]), definition["priority"], retries)
        return state if waits else _queue(state, "scheduled", now)

    def check_times(self, definition: dict[str, Any], now: int) -> None:
        created, deadline = ms(definition["created"]), ms(definition["deadline"])
        drift = self.numbers.drift
        if abs(created - now) > drift or created > deadline or deadline < now:
            raise Refused(INPUT)
        if deadline > now + self.numbers.max_deadline + drift or deadline > ms(definition["expires"]):
            raise Refused(INPUT)

    def schedule(self, state: State, now: int) -> State:
        _before_deadline(state, now)
        return state if state.runs else _queue(state, "scheduled", now)

    def freed(self, state: State, now: int) -> State:
        """4: all dependencies are satisfied."""
        return state if state.runs or state.deadline <= now else _queue(state, "scheduled", now)

    def claim(self, state: State, now: int, worker: str, *, by_id: bool = False) -> State:
        if state.name != "pending" or state.deadline <= now:
            raise Refused(CONFLICT)
        taken_until = now + self.numbers.claim_timeout
        run = replace(state.runs[-1], state="running", worker=worker, started=now, taken_until=taken_until)
        return replace(_with_last(state, run), by_id=by_id)

    def claim_task(self, state: State, now: int, run_id: int, worker: str) -> State:
        """6.3."""
        _before_deadline(state, now)
        run = _run(state, run_id)
        if run_id != len(state.runs) - 1:
            raise Refused(CONFLICT)
        if run.state == "running" and state.by_id and run.worker == worker:
            return state
        return self.claim(state, now, worker, by_id=True)

    def reclaim(self, state: State, now: int, run_id: int) -> State:
        run = _run(state, run_id)
        _before_deadline(state, now)
        if run_id != len(state.runs) - 1 or run.state != "running":
            raise Refused(CONFLICT)
        return _with_last(state, replace(run, taken_until=now + self.numbers.claim_timeout))

    def report(self, state: State, now: int, run_id: int, outcome: str) -> State:
        run = _run(state, run_id)
        if run_id != len(state.runs) - 1 or run.state not in ("running", outcome):
            raise Refused(CONFLICT)
        return state if run.state == outcome else _end(state, outcome, outcome, now)

    def report_exception(self, state: State, now: int, run_id: int, reason: str) -> State:
        run, last = _run(state, run_id), len(state.runs) - 1
        if run_id == last and run.state == "running":
            return _exception(state, reason, now)
        if run.state == "exception" and run.resolved_as == reason and last <= run_id + 1:
            return state
        raise Refused(CONFLICT)

    def claim_expired(self, state: State, now: int) -> State:
        """6.5."""
        taken_until = state.runs[-1].taken_until if state.name == "running" else None
        if taken_until is None or taken_until > now or state.deadline <= now:
            raise Refused(CONFLICT)
        return _exception(state, "claim-expired", now)

    def deadline_passed(self, state: State, now: int) -> State:
        """6.6."""
        if state.ended or now < state.deadline + self.numbers.deadline_delay:
            raise Refused(CONFLICT)
        return _force(state, "deadline-exceeded", now)

    def cancel(self, state: State, now: int) -> State:
        _before_deadline(state, now)
        return state if state.ended else _force(state, "canceled", now)

    def rerun(self, state: State, now: int) -> State:
        _before_deadline(state, now)
        if state.name in ("pending", "running"):
            return state
        if len(state.runs) >= MOST_RUNS:
            raise Refused(CONFLICT)
        left = min(state.retries, MOST_RUNS - 1 - len(state.runs))
        return _queue(replace(state, retries_left=left), "rerun", now)

    def change_priority(self, state: State, now: int, priority: str) -> State:
        _before_deadline(state, now)
        if state.ever_resolved or state.priority == priority:
            raise Refused(CONFLICT)
        return replace(state, priority=priority)


def satisfies(requires: str, name: str) -> bool:
    """4: whether a dependency that ended so lets its dependent go."""
    return name == "completed" if requires == "all-completed" else name in ENDED


def events_of(before: State | None, after: State) -> list[tuple[str, int | None]]:
    """The event table of 10 for one transition: exchange and run of each message, in order."""
    told: list[tuple[str, int | None]] = [] if before is not None else [("task-defined", None)]
    for number, run in enumerate(after.runs):
        old = before.runs[number] if before is not None and number < len(before.runs) else None
        if old is None and run.created != "exception":
            told.append(("task-pending", number))
        if run.started is not None and (old is None or old.started is None):
            told.append(("task-running", number))
        if run.ended and (old is None or not old.ended):
            told.append((f"task-{run.state}", number))
    return told


def _before_deadline(state: State, now: int) -> None:
    if state.deadline <= now:
        raise Refused(CONFLICT)


def _run(state: State, run_id: int) -> Run:
    if run_id >= len(state.runs):
        raise Refused(NOT_FOUND)
    return state.runs[run_id]


def _with_last(state: State, run: Run) -> State:
    return replace(state, runs=(*state.runs[:-1], run))


def _queue(state: State, reason: str, now: int) -> State:
    return replace(state, runs=(*state.runs, Run("pending", reason, now)), by_id=False)


def _end(state: State, name: str, reason: str, now: int) -> State:
    run = replace(state.runs[-1], state=name, resolved_as=reason, resolved=now)
    return replace(_with_last(state, run), ever_resolved=True)


def _exception(state: State, reason: str, now: int) -> State:
    if reason not in RETRY or state.retries_left == 0:
        return _end(state, "exception", reason, now)
    ended = replace(
        _end(state, "exception", reason, now),
        ever_resolved=state.ever_resolved,
        retries_left=state.retries_left - 1,
    )
    return _queue(ended, RETRY[reason], now)


def _force(state: State, reason: str, now: int) -> State:
    """In place, or on a run made to carry it."""
    if state.runs:
        return _end(state, "exception", reason, now)
    carrier = Run("exception", "exception", now, reason, resolved=now)
    return replace(state, runs=(carrier,), ever_resolved=True)
