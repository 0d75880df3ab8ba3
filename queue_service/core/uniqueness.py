"""Unique tasks: the key by which two are equal, and how long it is held (``seed-systems.md`` U-1 to U-11)."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from schemas.durations import Duration
from schemas.task import TaskState
from schemas.times import EPOCH, Time, format_time
from schemas.unique import CountedState, Unique

KEPT: Final = timedelta(days=1)
"""How long a task counts after its end unless it says otherwise (U-11)."""


@dataclass(frozen=True, slots=True)
class UniqueKey:
    """The key of a unique task, and in which states of the task it is held."""

    key: str
    states: tuple[CountedState, ...]
    kept: Duration = KEPT
    """How long it is held after the end of the task."""
    period_ends: Time | None = None
    """The end of the task's period, which counts in place of ``kept``."""

    def held_by(self, state: TaskState, resolved: datetime | None, now: datetime) -> "HeldKey | None":
        """What a task holds that is in this state, and ended then if it has ended."""
        if state not in self.states:
            return None
        if resolved is None:
            return HeldKey(self.key, None)
        until = self.period_ends if self.period_ends is not None else resolved + self.kept
        return HeldKey(self.key, until) if until > now else None


@dataclass(frozen=True, slots=True)
class HeldKey:
    """A key that a task holds; once the task has ended, until then."""

    key: str
    until: datetime | None


def unique_key(
    asked: Unique | None,
    payload: Mapping[str, Any],
    task_queue_id: str,
    starts: datetime,
) -> UniqueKey | None:
    """The key of a task that starts then; None when it does not ask to be unique."""
    if asked is None or not asked.asked:
        return None
    period_starts = None if asked.by_period is None else period_start(starts, asked.by_period)
    parts = {
        "kind": None if asked.exclude_kind else _kind(payload),
        "args": canonical(counted_args(payload, asked.by_args)) if asked.by_args else None,
        "period": None if period_starts is None else _period_text(period_starts),
        "queue": task_queue_id if asked.by_queue else None,
    }
    text = "".join(f"&{name}={value}" for name, value in parts.items() if value is not None)
    return UniqueKey(
        key=hashlib.sha256(text.encode()).hexdigest(),
        states=asked.counted,
        kept=asked.unique_for or KEPT,
        period_ends=period_starts + asked.by_period if period_starts and asked.by_period else None,
    )


def canonical(value: Any) -> str:
    """JSON text that is the same for equal values: keys sorted at every depth, no spaces (U-3)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def counted_args(payload: Mapping[str, Any], by_args: bool | Sequence[str]) -> Any:
    """The arguments of a task, or those members of them that are named; one that is missing is left out."""
    args = payload.get("args", payload)
    if isinstance(by_args, bool):
        return args
    kept: dict[str, Any] = {}
    for path in sorted(by_args):  # a member comes before what is in it
        _copy(args, path.split("."), kept)
    return kept


def _copy(source: Any, path: Sequence[str], target: Any) -> None:
    *inner, last = path
    for name in inner:
        if not isinstance(source, Mapping) or name not in source or not isinstance(target, dict):
            return
        source = source[name]
        if not isinstance(source, Mapping):
            return
        if target.get(name) is source:  # it was named as a whole
            return
        target = target.setdefault(name, {})
    if isinstance(source, Mapping) and last in source:
        target[last] = source[last]


def period_start(moment: datetime, period: timedelta) -> datetime:
    """The moment, rounded down to a multiple of the period since 1970 (U-5)."""
    return moment - (moment - EPOCH) % period


def _period_text(start: datetime) -> str:
    """RFC 3339 in UTC, with a fraction only where there is one."""
    return format_time(start).replace(".000Z", "Z")


def _kind(payload: Mapping[str, Any]) -> str:
    kind = payload.get("kind", "")
    return kind if isinstance(kind, str) else canonical(kind)
