"""Limits by key: what a run counts against (``seed-systems.md`` L-1, L-2).

A *bucket* is a limit for one value of its key. Runs that count against the same buckets wait in the same
*lane*. So a lane is shut as a whole when one of its buckets is full, and nobody looks at the runs behind its
first one. The name of a lane tells its buckets, so that nothing is stored twice.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal

from queue_service.core.errors import InputError
from schemas.limits import MEMBER, ConcurrencyLimit, RateLimit, TaskLimits
from schemas.task_queues import TaskQueueLimits
from schemas.times import MILLISECOND

CAPPED: Final = "[]"
"""The lane of a run that counts against nothing but a limit of its whole task queue."""
MAX_TEXT: Final = 200
"""Bytes of a part of a name; what is longer is represented by its digest, so that indexes can hold it."""
NO_LIMITS: Final = TaskQueueLimits()
NAMES_AT_HAND: Final = 8192
"""Names that are not read or spelled again; every claim meets the same lanes."""

_Kind = Literal["runs", "starts", "queue runs", "queue starts"]


# ---- buckets ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Slots:
    """So many runs at once."""

    name: str
    limit: int
    whole_queue: bool = False
    """Whether all runs of the task queue count, rather than those that hold a slot of it."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """So many starts per time: full with ``count`` tokens, refilled evenly, one taken by each start."""

    name: str
    count: int
    per_ms: int


Bucket = Slots | Tokens


@dataclass(frozen=True, slots=True)
class Level:
    """How much of a token bucket was spent at a time: missing tokens, times ``per_ms``; exact."""

    spent: int
    at_ms: int

    def later(self, bucket: Tokens, now_ms: int) -> "Level":
        """The level now. Time that runs backwards refills nothing."""
        refilled = max(now_ms - self.at_ms, 0) * bucket.count
        return Level(max(self.spent - refilled, 0), max(now_ms, self.at_ms))

    def room(self, bucket: Tokens) -> int:
        """How many starts are left at this moment."""
        return (bucket.count * bucket.per_ms - self.spent) // bucket.per_ms

    def take(self, bucket: Tokens, starts: int) -> "Level":
        return Level(self.spent + starts * bucket.per_ms, self.at_ms)

    def next_token_ms(self, bucket: Tokens) -> int:
        """When there is room for one start again."""
        lacking = self.spent - (bucket.count - 1) * bucket.per_ms
        return self.at_ms + max(math.ceil(lacking / bucket.count), 0)

    def full_ms(self, bucket: Tokens) -> int:
        """When nothing is spent any more."""
        return self.at_ms + math.ceil(self.spent / bucket.count)


# ---- lanes --------------------------------------------------------------------------------------------


def lane_of(
    own: TaskLimits | None, limits: TaskQueueLimits, payload: Mapping[str, Any], tags: Mapping[str, str]
) -> str:
    """The lane of a task with limits of its own in a task queue with limits; empty when none has a key.

    A limit of the task without key holds for all tasks of its kind. A member that the task does not have is
    the empty text.
    """
    parts: list[tuple[str | int, ...]] = []
    kind = _short(_text(payload.get("kind", "")))
    if own is not None and own.concurrency is not None:
        key = _rendered(own.concurrency.key, payload, tags)
        parts.append(("runs", kind, key, own.concurrency.limit))
    if own is not None and own.rate is not None:
        key = _rendered(own.rate.key, payload, tags)
        parts.append(("starts", kind, key, own.rate.count, own.rate.per // MILLISECOND))
    for name, template in _templates(limits):
        parts.append((name, _short(template), _rendered(template, payload, tags)))
    return _name(*parts) if parts else ""


def check_members(own: TaskLimits, payload: Mapping[str, Any], tags: Mapping[str, str]) -> None:
    """Raise InputError when the key of a limit names a member that the task does not have."""
    for name, limit in (("concurrency", own.concurrency), ("rate", own.rate)):
        for path in MEMBER.findall(limit.key) if limit is not None and limit.key is not None else ():
            if _member(path, payload, tags) is None:
                raise InputError(
                    f"`limits.{name}.key` names `{{{path}}}`: the task has no such member in its arguments, "
                    "and no such tag."
                )


def keyed(limits: TaskQueueLimits) -> bool:
    """Whether every run of a task queue with these limits has to wait in a lane."""
    return bool(_templates(limits))


def is_outdated(lane: str, limits: TaskQueueLimits) -> bool:
    """Whether the lane was named under other keys than those of the task queue's limits."""
    named = [(part[0], part[1]) for part in _parts(lane) if part[0].startswith("queue")]
    return named != [(name, _short(template)) for name, template in _templates(limits)]


def buckets_of(lane: str, limits: TaskQueueLimits) -> tuple[Bucket, ...]:
    """What a run in this lane counts against, beside the limits of the whole task queue."""
    return tuple(_bucket(part, limits) for part in _parts(lane))


def slots_of(lane: str) -> list[str]:
    """The names of the buckets of which a running run of this lane holds a slot."""
    parts = _parts(lane)
    return [_name(*(part[:3] if part[0] == "runs" else part)) for part in parts if part[0].endswith("runs")]


def caps_of(limits: TaskQueueLimits) -> tuple[Bucket, ...]:
    """What every run of the task queue counts against: the limits without key."""
    concurrency, rate = limits.concurrency, limits.rate
    caps: list[Bucket] = []
    if concurrency is not None and concurrency.key is None:
        caps.append(Slots(_name("queue runs"), concurrency.limit, whole_queue=True))
    if rate is not None and rate.key is None:
        caps.append(_tokens(["queue starts"], rate))
    return tuple(caps)


def _templates(limits: TaskQueueLimits) -> list[tuple[_Kind, str]]:
    named: tuple[tuple[_Kind, ConcurrencyLimit | RateLimit | None], ...] = (
        ("queue runs", limits.concurrency),
        ("queue starts", limits.rate),
    )
    return [(name, limit.key) for name, limit in named if limit is not None and limit.key is not None]


def _bucket(part: Sequence[Any], limits: TaskQueueLimits) -> Bucket:
    match part:
        case ["runs", kind, key, limit]:
            return Slots(_name("runs", kind, key), limit)
        case ["starts", _, _, count, per_ms]:
            return Tokens(_name(*part), count, per_ms)
        case ["queue runs", *_] if limits.concurrency is not None:
            return Slots(_name(*part), limits.concurrency.limit)
        case ["queue starts", *_] if limits.rate is not None:
            return _tokens(part, limits.rate)
    raise ValueError(f"{part!r} is no part of a lane under these limits")


def _tokens(part: Sequence[Any], rate: RateLimit) -> Tokens:
    per_ms = rate.per // MILLISECOND
    return Tokens(_name(*part, rate.count, per_ms), rate.count, per_ms)


# ---- keys ---------------------------------------------------------------------------------------------


def _rendered(template: str | None, payload: Mapping[str, Any], tags: Mapping[str, str]) -> str:
    if template is None:
        return ""

    def written(found: re.Match[str]) -> str:
        value = _member(found[1], payload, tags)
        return "" if value is None else _text(value)

    return _short(MEMBER.sub(written, template))


def _member(path: str, payload: Mapping[str, Any], tags: Mapping[str, str]) -> Any:
    value: Any = payload.get("args", payload)
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return tags.get(path) if value is None else value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, separators=(",", ":"))


def _short(text: str) -> str:
    if len(json.dumps(text)) <= MAX_TEXT:
        return text
    return "sha256:" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@lru_cache(NAMES_AT_HAND)
def _parts(lane: str) -> tuple[tuple[Any, ...], ...]:
    return tuple(map(tuple, json.loads(lane)))


@lru_cache(NAMES_AT_HAND)
def _name(*parts: Any) -> str:
    return json.dumps(parts, separators=(",", ":"))
