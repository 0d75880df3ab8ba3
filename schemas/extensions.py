"""What goes beyond Taskcluster's shapes: members of definitions and of reports.

Rules: ``seed-systems.md`` part C. All are optional, and a definition shows only those that were sent.
"""

from datetime import timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import Discriminator, Field, Tag

from schemas.base import INTEGRAL, Request, Text, Wire
from schemas.durations import Duration, DurationOrZero
from schemas.limits import TaskLimits
from schemas.times import Time
from schemas.unique import Unique

MAX_ATTEMPTS: Final = 50
"""As many as a task may have runs."""

Flag = Annotated[bool, Field(strict=True)]
"""True or false, and nothing that could mean one of them."""

Jitter = Annotated[float, Field(strict=True, ge=0, le=1)]
"""How far a delay is drawn from its middle, to either side, as a part of it."""


class Polynomial(Request):
    """The n-th delay is ``base`` times n to the ``power``."""

    kind: Literal["polynomial"]
    power: Annotated[float, Field(strict=True, ge=0, le=100)] = 4
    base: Duration = timedelta(seconds=1)
    max: Duration | None = None
    jitter: Jitter = 0.1


class Exponential(Request):
    """The first delay is ``base``, and each further one ``factor`` times the one before."""

    kind: Literal["exponential"]
    base: Duration = timedelta(seconds=1)
    factor: Annotated[float, Field(strict=True, ge=1, le=1000)] = 2
    max: Duration | None = None
    jitter: Jitter = 0.1


class Fixed(Request):
    """Every delay is the same."""

    kind: Literal["fixed"]
    delay: DurationOrZero
    jitter: Jitter = 0.1


class Listed(Request):
    """The n-th delay of a list, and the last one from there on."""

    kind: Literal["list"]
    delays: Annotated[tuple[DurationOrZero, ...], Field(min_length=1, max_length=MAX_ATTEMPTS)]
    jitter: Jitter = 0.1


def _kind(value: Any) -> Any:
    return value.get("kind") if isinstance(value, dict) else getattr(value, "kind", None)


RetryPolicy = Annotated[
    Annotated[Polynomial, Tag("polynomial")]
    | Annotated[Exponential, Tag("exponential")]
    | Annotated[Fixed, Tag("fixed")]
    | Annotated[Listed, Tag("list")],
    Discriminator(
        _kind,
        custom_error_type="unknown_kind",
        custom_error_message="must have a `kind`: polynomial, exponential, fixed or list",
    ),
]
"""How long a task waits before each attempt after the first (C-8)."""

DEFAULT_POLICY: Final = Polynomial(kind="polynomial")
"""1 s, 16 s, 81 s, 256 s, …: the fourth power of the number of errors (C-7)."""


class Retention(Request):
    """How long a task is kept after its end, by how it ended; what is left out leaves ``expires`` (X-1)."""

    completed: Duration | None = None
    canceled: Duration | None = None
    failed: Duration | None = None
    """Failed, or ended in any exception but a cancellation."""
    shorten: Flag = False
    """Whether the task may also be forgotten before its ``expires``."""


class Extension(Wire):
    """Members of a shape that Taskcluster's does not have. All are optional."""


class TaskExtensions(Extension):
    """What a task may ask for, in its definition and in the body of createTask."""

    run_at: Time | None = None
    """The first run is not available before."""
    held: Flag | None = None
    """The task waits for scheduleTask, whatever else it waits for."""
    max_attempts: Annotated[int, Field(ge=1, le=MAX_ATTEMPTS), INTEGRAL] | None = None
    """How often it is started before a failure is final; 1 when left out."""
    retry_policy: RetryPolicy | None = None
    retention: Retention | None = None
    limits: TaskLimits | None = None
    """What it must not exceed together with the other tasks of its kind in its task queue."""
    unique: Unique | None = None


class SkippedDuplicate(Extension):
    """What the answer to createTask tells beside the status."""

    unique_skipped_as_duplicate: Literal[True] | None = None
    """The task is unique, and an equal one exists, whose status this is. The one asked for does not exist."""


class Traced(Extension):
    """What a claim tells beside the run."""

    traceparent: Text | None = None
    """The trace in which the task was created (W3C); of tasks that are traced only."""


class CancelRequested(Extension):
    """What a worker is told that renews its claim."""

    cancel_requested: Literal[True] | None = None
    """Somebody wants the task cancelled: only a success is told from its cancellation now (K-3)."""


class OfJob(Extension):
    """What a worker is told that claims a run of a typed job."""

    job: dict[str, Any] | None = None
    """Its type, the steps that earlier runs have completed, and where the last one got to (P-7)."""


class FailedAttempt(Extension):
    """What a worker tells of an attempt that failed; longer texts lose their middle (C-4)."""

    error: Text | None = None
    """What went wrong: 16 KiB."""
    trace: Text | None = None
    """The traceback of an unexpected exception: 64 KiB."""
