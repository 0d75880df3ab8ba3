"""How a task asks to be the only one of its kind (``seed-systems.md`` U-1, U-6, U-11)."""

from datetime import timedelta
from typing import Annotated, Final, Literal, Self, get_args

from pydantic import Field, StringConstraints, model_validator

from schemas.base import Request
from schemas.durations import Duration

CountedState = Literal["unscheduled", "pending", "running", "completed", "failed", "exception"]
ALWAYS_COUNTED: Final[tuple[CountedState, ...]] = ("unscheduled", "pending", "running")
DEFAULT_COUNTED: Final[tuple[CountedState, ...]] = (*ALWAYS_COUNTED, "completed")
SHORTEST_PERIOD: Final = timedelta(seconds=1)


AllArgs = Annotated[bool, Field(strict=True)]
Path = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=200)]
"""A member of the arguments; dots lead into inner objects."""


class Unique(Request):
    """What makes two tasks equal, and while what state of the first there is no second.

    With none of ``byArgs``, ``byPeriod``, ``byQueue`` and ``byState`` a task is not unique.
    """

    by_args: AllArgs | Annotated[tuple[Path, ...], Field(min_length=1, max_length=50)] | None = None
    """All arguments (true), or the members that are named."""
    by_period: Duration | None = None
    """Equal are only tasks that start in the same period of this length, counted from 1970 in UTC."""
    by_queue: bool = False
    by_state: Annotated[tuple[CountedState, ...], Field(min_length=1, max_length=6)] | None = None
    """In which states a task keeps others from being created; ``DEFAULT_COUNTED`` when left out."""
    exclude_kind: bool = False
    """Whether tasks of different kinds may be equal."""
    unique_for: Duration | None = None
    """How long a task counts after its end; a day when left out. A period ends by itself."""

    @property
    def asked(self) -> bool:
        """Whether the task is unique at all."""
        return bool(self.by_args or self.by_period or self.by_queue or self.by_state)

    @property
    def counted(self) -> tuple[CountedState, ...]:
        """The states that count, in the order of a task's life."""
        given = self.by_state or DEFAULT_COUNTED
        return tuple(state for state in get_args(CountedState) if state in given)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.by_period is not None and self.by_period < SHORTEST_PERIOD:
            raise ValueError("`byPeriod` must be at least one second")
        if self.by_state is not None and not set(ALWAYS_COUNTED) <= set(self.by_state):
            raise ValueError(f"`byState` must have {', '.join(ALWAYS_COUNTED)}: these states always count")
        if self.exclude_kind and not (self.by_args or self.by_period or self.by_queue):
            raise ValueError("`excludeKind` needs one of `byArgs`, `byPeriod` and `byQueue`")
        if self.unique_for is not None and not self.asked:
            raise ValueError("`uniqueFor` needs one of `byArgs`, `byPeriod`, `byQueue` and `byState`")
        if self.unique_for is not None and self.by_period is not None:
            raise ValueError("`uniqueFor` cannot be given with `byPeriod`, which ends with the period")
        return self
