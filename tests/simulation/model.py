"""The state machine a second time, to judge the first: written from ``queue-behaviour.md`` 3 to 6 and
``seed-systems.md`` C-1 to C-15, O-1 and O-3 alone.

Imports nothing of the service. Times are milliseconds. A transition takes a state and gives the next one,
the same one when the call is a repeat, or raises :class:`Refused`.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from tests.simulation.backoff import bounds

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
class Wishes:
    """What a task asks for beyond a plain one."""

    held: bool = False
    run_at: int | None = None
    policy: dict[str, Any] | None = None
    some: bool = False
    """Whether there are any; a task without any is Taskcluster's."""


ON_THE_WAY: Final = 500
"""Milliseconds that a report may take: a time of a retry that has just passed means at once (C-6)."""
EXTENSIONS: Final = frozenset({"held", "runAt", "maxAttempts", "retryPolicy", "unique"})
PLAIN: Final = Wishes()


@dataclass(frozen=True)
class Failure:
    """What a worker tells with a failure (C-5)."""

    told: bool = False
    retry: bool = True
    retry_at: int | None = None


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
    available_at: int | None = None
    """Until then its run, or its first run, is delayed."""
    errors: int = 0
    snoozes: int = 0
    silent: int = field(default=0, compare=False)
    """Failures of which the worker told nothing."""
    max_attempts: int = field(default=1, compare=False)
    wishes: Wishes = field(default=PLAIN, compare=False)

    @property
    def name(self) -> str:
        return self.runs[-1].state if self.runs else "unscheduled"

    @property
    def in_line(self) -> bool:
        return self.name == "pending" and self.available_at is None

    @property
    def attempt(self) -> int:
        """C-2."""
        return sum(run.started is not None and run.resolved_as != "worker-shutdown" for run in self.runs)

    @property
    def failures(self) -> int:
        """How many errors its delays count: those that were told, and claims that ran out (C-7)."""
        return self.errors + sum(run.resolved_as == "claim-expired" for run in self.runs)

    @property
    def history(self) -> int:
        """How many errors its history has (C-3)."""
        return self.failures + self.silent

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
        wishes = Wishes(
            definition.get("held", False),
            ms(definition["runAt"]) if "runAt" in definition else None,
            definition.get("retryPolicy"),
            bool(EXTENSIONS & definition.keys()),
        )
        state = State(
            retries, ms(definition["deadline"]), definition["priority"], retries,
            max_attempts=definition.get("maxAttempts", 1), wishes=wishes,
        )  # fmt: skip
        return state if waits else _begin(state, now)

    def check_times(self, definition: dict[str, Any], now: int) -> None:
        created, deadline = ms(definition["created"]), ms(definition["deadline"])
        drift = self.numbers.drift
        if abs(created - now) > drift or created > deadline or deadline < now:
            raise Refused(INPUT)
        if deadline > now + self.numbers.max_deadline + drift or deadline > ms(definition["expires"]):
            raise Refused(INPUT)
        if "runAt" in definition and ms(definition["runAt"]) >= deadline:
            raise Refused(INPUT)

    def schedule(self, state: State, now: int) -> State:
        _before_deadline(state, now)
        return state if state.runs else _queue(state, "scheduled", now)

    def freed(self, state: State, now: int) -> State:
        """4: all dependencies are satisfied."""
        return state if state.runs or state.deadline <= now else _begin(state, now)

    def come_due(self, state: State, now: int) -> State:
        """C-9, C-11."""
        if state.available_at is None or state.available_at > now or state.deadline <= now:
            raise Refused(CONFLICT)
        return replace(state, available_at=None) if state.runs else _queue(state, "scheduled", now)

    def claim(self, state: State, now: int, worker: str, *, by_id: bool = False) -> State:
        if not state.in_line or state.deadline <= now:
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
        if run.state == "pending" and state.available_at is not None:
            state = self.come_due(state, now)
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

    def report_failed(
        self, state: State, now: int, run_id: int, failure: Failure, *, again: bool, due: int | None
    ) -> State:
        """C-5, C-7, C-13; ``again``: whether there is another attempt, which waits until ``due``."""
        run = _run(state, run_id)
        if state.max_attempts > 1 and run.resolved_as == "intermittent-task":
            return self.report_exception(state, now, run_id, "intermittent-task")
        if run_id != len(state.runs) - 1 or run.state != "running":
            return self.report(state, now, run_id, "failed")
        if failure.told or state.max_attempts > 1:
            state = replace(state, errors=state.errors + 1)
        else:
            state = replace(state, silent=state.silent + 1)
        earliest, latest = _next_attempt(state, now, failure)
        if not again:
            if latest is not None and latest < state.deadline:
                raise Refused("failed with attempts left")
            return _end(state, "failed", "failed", now)
        moment = now if due is None else due
        if earliest is None or latest is None or not earliest <= moment <= latest or moment >= state.deadline:
            raise Refused("another attempt, which cannot be")
        ended = replace(_end(state, "exception", "intermittent-task", now), ever_resolved=state.ever_resolved)
        return replace(_queue(ended, "task-retry", now), available_at=due)

    def first_due(self, state: State, now: int, failure: Failure) -> int | None:
        """When the attempt after this failure is due at the earliest; None for at once."""
        if failure.told or state.max_attempts > 1:
            state = replace(state, errors=state.errors + 1)
        earliest, _ = _next_attempt(state, now, failure)
        return None if earliest is None or earliest <= now else earliest

    def snooze(self, state: State, now: int, run_id: int, wait: int) -> State:
        """C-15."""
        run = _run(state, run_id)
        if run_id == len(state.runs) - 1 and run.state == "pending" and state.snoozes:
            return state
        if run_id != len(state.runs) - 1 or run.state != "running":
            raise Refused(CONFLICT)
        waiting = replace(_with_last(state, Run("pending", run.created, run.scheduled)), by_id=False)
        return replace(waiting, snoozes=state.snoozes + 1, available_at=now + wait if wait else None)

    def cancel_run(self, state: State, now: int, run_id: int) -> State:
        """C-6.2: by the worker that has it."""
        run, is_last = _run(state, run_id), run_id == len(state.runs) - 1
        if is_last and run.resolved_as == "canceled":
            return state
        if not is_last or run.state != "running":
            raise Refused(CONFLICT)
        return replace(_force(state, "canceled", now), errors=state.errors + 1)

    def delete(self, state: State, now: int) -> State:
        """O-1: as it is at last."""
        if state.name == "running":
            raise Refused(CONFLICT)
        return state if state.ended else _force(state, "canceled", now)

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
            return replace(state, available_at=None) if state.available_at is not None else state
        if len(state.runs) >= MOST_RUNS:
            raise Refused(CONFLICT)
        left = min(state.retries, MOST_RUNS - 1 - len(state.runs))
        extended = state.wishes.some or state.errors or state.snoozes
        attempts = state.max_attempts + bool(extended and state.attempt >= state.max_attempts)
        return _queue(replace(state, retries_left=left, max_attempts=attempts), "rerun", now)

    def change_priority(self, state: State, now: int, priority: str) -> State:
        _before_deadline(state, now)
        if state.ever_resolved or state.priority == priority:
            raise Refused(CONFLICT)
        return replace(state, priority=priority)


def satisfies(requires: str, name: str) -> bool:
    """4: whether a dependency that ended so lets its dependent go."""
    return name == "completed" if requires == "all-completed" else name in ENDED


def events_of(before: State | None, after: State) -> list[tuple[str, int | None]]:
    """The event table of 10 for one transition, or for a whole life (``before`` is None), in order:
    exchange and run of each message.
    """
    told: list[tuple[str, int | None]] = [] if before is not None else [("task-defined", None)]
    for number, run in enumerate(after.runs):
        old = before.runs[number] if before is not None and number < len(before.runs) else None
        if run.state == "pending":
            was_in_line = before is not None and old == run and before.in_line
            queued = after.in_line and not was_in_line
        else:
            queued = old is None and run.created != "exception"
        if queued:
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


def _begin(state: State, now: int) -> State:
    """Nothing is missing any more but its own wishes (C-11, C-12)."""
    wishes = state.wishes
    if wishes.held:
        return state
    if wishes.run_at is not None and wishes.run_at > now:
        return replace(state, available_at=wishes.run_at)
    return _queue(state, "scheduled", now)


def _next_attempt(state: State, now: int, failure: Failure) -> tuple[int | None, int | None]:
    """Between which times the next attempt is to be made; none where there is none."""
    if not failure.retry or state.attempt >= state.max_attempts or len(state.runs) >= MOST_RUNS:
        return None, None
    if failure.retry_at is not None and failure.retry_at >= now - ON_THE_WAY:
        return max(failure.retry_at, now), max(failure.retry_at, now)
    shortest, longest = bounds(state.wishes.policy if failure.retry_at is None else None, state.failures)
    return now + max(shortest, 0), now + longest


def _queue(state: State, reason: str, now: int) -> State:
    return replace(state, runs=(*state.runs, Run("pending", reason, now)), by_id=False, available_at=None)


def _end(state: State, name: str, reason: str, now: int) -> State:
    run = replace(state.runs[-1], state=name, resolved_as=reason, resolved=now)
    return replace(_with_last(state, run), ever_resolved=True, available_at=None)


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
    return replace(state, runs=(carrier,), ever_resolved=True, available_at=None)
