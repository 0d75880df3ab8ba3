"""What a type of job asks of the queue and of workers, checked where it is written down."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Final, Literal

from pydantic import TypeAdapter
from pydantic.alias_generators import to_camel

from schemas.backoff import longest_wait
from schemas.base import Request
from schemas.durations import parse_duration
from schemas.extensions import (
    DEFAULT_POLICY,
    Exponential,
    Fixed,
    Listed,
    Polynomial,
    RetryPolicy,
    TaskExtensions,
)
from schemas.ids import TaskQueueId
from schemas.task import PRIORITIES, Priority
from schemas.unique import CountedState
from taskbus.jobs.locks import LockTemplate

Duration = str | float | timedelta
"""Seconds, a timedelta, or a number with its unit: ``500ms``, ``10s``, ``5m``, ``1.5h``, ``2d``."""
NextRetry = Callable[[int, BaseException], Duration | datetime | None]
"""How long after the n-th error, counted from 1, or when; None leaves it to the default policy (C-6.6)."""

DEFAULT_QUEUE: Final = "jobs/default"
DEFAULT_ATTEMPTS: Final = 10
UNLIMITED: Final = -1

_RIVERS_PRIORITIES: Final[dict[int, Priority]] = {1: "high", 2: "medium", 3: "low", 4: "very-low"}
_QUEUE_ID: Final[TypeAdapter[str]] = TypeAdapter(TaskQueueId)


class _Asked(TaskExtensions, Request):
    """The members of createTask that options set, as the server checks them."""


def polynomial(
    *, power: float = 4, base: Duration = 1, max: Duration | None = None, jitter: float = 0.1
) -> RetryPolicy:
    """``base`` times n to the ``power`` after the n-th error; the default is n⁴ seconds."""
    return Polynomial.model_validate(
        _given(kind="polynomial", power=power, base=base, max=max, jitter=jitter)
    )


def exponential(
    *, base: Duration = 1, factor: float = 2, max: Duration | None = None, jitter: float = 0.1
) -> RetryPolicy:
    """``base`` after the first error, and ``factor`` times the delay before after each further one."""
    given = _given(kind="exponential", base=base, factor=factor, max=max, jitter=jitter)
    return Exponential.model_validate(given)


def fixed(delay: Duration, *, jitter: float = 0.1) -> RetryPolicy:
    """The same delay after every error."""
    return Fixed.model_validate(_given(kind="fixed", delay=delay, jitter=jitter))


def delays(*delays: Duration, jitter: float = 0.1) -> RetryPolicy:
    """These delays one after the other, and the last one from there on."""
    return Listed.model_validate(_given(kind="list", delays=delays, jitter=jitter))


@dataclass(frozen=True, kw_only=True)
class Unique:
    """When a job is a duplicate of one that is there already, and is not inserted (U-1 to U-11).

    ``by_args``: with equal arguments, or equal members of these names. ``by_period``: in the same period of
    time, as ``1h``. ``by_queue``: in the same queue. ``by_state``: the states that count. ``exclude_kind``:
    whatever its type. ``unique_for``: how long a completed job counts.
    """

    by_args: bool | Sequence[str] = False
    by_period: Duration | None = None
    by_queue: bool = False
    by_state: Sequence[CountedState] | None = None
    exclude_kind: bool = False
    unique_for: Duration | None = None


@dataclass(frozen=True)
class Limit:
    """At most so many runs at once, over all workers; with ``key`` for each value of a template such as
    ``{customer}`` over the arguments (L-1)."""

    limit: int
    key: str | None = None


@dataclass(frozen=True)
class Rate:
    """At most ``count`` runs begin in each time of ``per``; ``key`` as of :class:`Limit` (L-2)."""

    count: int
    per: Duration = "1s"
    key: str | None = None


@dataclass(frozen=True, kw_only=True)
class Retention:
    """How long a job is kept after its end; with ``shorten`` also less long than its ``expires`` (X-1)."""

    completed: Duration | None = None
    canceled: Duration | None = None
    failed: Duration | None = None
    shorten: bool | None = None


@dataclass(frozen=True)
class Step:
    """A step of a type of jobs. One that is ``always`` taken runs also after another has failed (T-7)."""

    name: str
    always: bool = False


@dataclass(frozen=True, kw_only=True)
class JobOptions:
    """What all jobs of a type have in common, unless their insertion says otherwise.

    * ``queue``: where workers take it, ``<provisionerId>/<workerType>``.
    * ``priority``: a level of the queue, or 1 to 4 as in River.
    * ``max_attempts`` (1 to 50): how often it is started before an error is final. ``retry``: how long it
      waits in between: :func:`polynomial` (the default), :func:`exponential`, :func:`fixed`,
      :func:`delays`, or a function of the number of errors and the last of them.
    * ``timeout``: how long an attempt may take; -1 is no limit, None that of the worker.
    * ``deadline``: when the job is given up, from its insertion or its ``run_at``. ``expires``: when it is
      forgotten, from the deadline; ``retention`` tells more about that.
    * ``unique``, ``concurrency``, ``rate``: see :class:`Unique`, :class:`Limit`, :class:`Rate`.
    * ``tags``: text by name, for lists and for listeners.
    * ``lock``: a named lock that an attempt holds, ``tenant:namespace/name`` with members of the arguments:
      ``acme:locks/file-{file_id}``; while another holds it, the job comes again every ten seconds.
    * Of typed jobs: ``steps``, in ``step_order`` or in any; ``resumable``: whether an attempt goes on behind
      the steps that earlier ones have done.

    Raises ValueError that names the wrong option (pydantic.ValidationError where it is one of the wire), or
    the numbers of a policy whose delays do not fit the deadline.
    """

    queue: str = DEFAULT_QUEUE
    priority: Priority | Literal[1, 2, 3, 4] = "lowest"
    max_attempts: int = DEFAULT_ATTEMPTS
    retry: RetryPolicy | NextRetry | None = None
    timeout: Duration | None = None
    deadline: Duration = "1d"
    expires: Duration = "7d"
    retention: Retention | None = None
    unique: Unique | None = None
    concurrency: Limit | None = None
    rate: Rate | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    lock: str | None = None
    steps: Sequence[str | Step] = ()
    step_order: Literal["sequential", "any"] = "sequential"
    resumable: bool = False

    def __post_init__(self) -> None:
        _QUEUE_ID.validate_python(self.queue)
        for name in ("deadline", "expires"):
            if not _duration(name, getattr(self, name)):
                raise ValueError(f"{name}: must be longer than nothing")
        if self.timeout not in (None, UNLIMITED) and not _duration("timeout", self.timeout):
            raise ValueError("timeout: must be longer than nothing, or -1 for no limit")
        if self.lock is not None:
            LockTemplate.parse(self.lock)
        _ = self.level, self.extensions
        self._check_deadline()

    def _check_deadline(self) -> None:
        """Refuse a policy that cannot fit its deadline (C-13)."""
        if callable(self.retry):
            return
        wait = longest_wait(self.retry or DEFAULT_POLICY, self.max_attempts)
        deadline = parse_duration(self.deadline)
        if wait > deadline:
            raise ValueError(
                f"max_attempts: {self.max_attempts} attempts may have to wait {wait} in between, and the "
                f"deadline is {deadline}: expected fewer attempts, shorter delays or a later deadline"
            )

    @property
    def level(self) -> Priority:
        """The priority as the queue knows it (C-16)."""
        if isinstance(self.priority, int) and self.priority in _RIVERS_PRIORITIES:
            return _RIVERS_PRIORITIES[self.priority]
        if self.priority not in PRIORITIES:
            raise ValueError(f"priority: must be 1 to 4, or one of {', '.join(PRIORITIES)}")
        return self.priority

    @property
    def policy(self) -> RetryPolicy | None:
        """The policy that the queue is told; None for the default."""
        return None if callable(self.retry) else self.retry

    @cached_property
    def extensions(self) -> Mapping[str, Any]:
        """The members of createTask that stand for these options."""
        limits = _given(concurrency=_shape(self.concurrency), rate=_shape(self.rate))
        asked = _given(
            max_attempts=self.max_attempts,
            retry_policy=self.policy,
            retention=_shape(self.retention),
            unique=_shape(self.unique),
            limits=limits or None,
        )
        return _Asked.model_validate(asked).to_wire()


def _duration(name: str, value: Any) -> timedelta:
    try:
        return parse_duration(value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}, got {value!r}") from None


def _shape(value: Any) -> dict[str, Any] | None:
    """A value of this module as an object of the wire."""
    if value is None:
        return None
    members = {to_camel(one.name): getattr(value, one.name) for one in fields(value)}
    return _given(**{name: member for name, member in members.items() if member is not False})


def _given(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}
