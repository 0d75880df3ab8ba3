"""Triggers a second time, to judge the first: written from ``seed-systems.md`` TR-1, TR-5, TR-12, R-5 alone.

Imports nothing of the service. Times are milliseconds. What a look at the clock may do depends on nothing but
the trigger, the ticks that it passed over, and the ids that the new tasks got.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from tests.simulation.model import ms

PUNCTUAL: Final = 30_000
MOST_MISSED: Final = 100

Span = tuple[int, int]


@dataclass(frozen=True)
class Wanted:
    """What its owner asked for."""

    duration: int
    immediate: bool
    misfire: str
    overlap: str
    retries: int
    size: int | None
    delay: int
    start: int | None
    catch_up: int
    task: dict[str, Any]


@dataclass(frozen=True)
class Covered:
    """A range that is not behind the watermark yet."""

    span: Span
    task_id: str
    state: str = "running"
    tries: int = 1


@dataclass(frozen=True)
class Standing:
    """A trigger between two commits."""

    state: str
    next_tick: int
    waiting: int | None
    unfinished: tuple[str, ...] = ()
    mark: int | None = None
    ranges: tuple[Covered, ...] = ()


Fired = tuple[int, Span | None]
"""The tick of a firing, and the range that it covers."""


def wanted_of(body: dict[str, Any]) -> Wanted:
    """The definition as it is sent, of an interval."""
    interval = body["interval"]
    window = interval.get("window", {})
    start = window.get("start")
    return Wanted(
        duration=interval["duration"] * 1000,
        immediate=interval.get("immediate", False),
        misfire=body["misfire"],
        overlap=body["overlap"],
        retries=body["retry"]["retries"],
        size=window["size"] * 1000 if window else None,
        delay=window.get("offset", 0) * 1000,
        start=None if start is None else ms(start["startTime"]),
        catch_up=window.get("catchUp", 1),
        task=body["task"],
    )


def chosen(wanted: Wanted, ticks: Sequence[int], punctual: bool) -> Sequence[int]:
    """Those that count of the ticks that were passed over (R-5)."""
    if wanted.misfire == "all":
        return ticks[-MOST_MISSED:]
    return ticks[-1:] if wanted.misfire == "one" or punctual else ()


def look(
    wanted: Wanted, before: Standing, ticks: Sequence[int], after: int, ids: Sequence[str]
) -> tuple[Standing, list[Fired]]:
    """Fire these ticks; the next one is ``after``. ``ids``: of the tasks, in order, as far as known."""
    standing = replace(before, next_tick=after, waiting=None)
    moments = [*([] if before.waiting is None else [before.waiting]), *ticks]
    fired: list[Fired] = []
    for moment in moments:
        if standing.unfinished and wanted.overlap != "allow":
            standing = replace(standing, waiting=moment if wanted.overlap == "queue-one" else None)
            continue
        for span in _spans(wanted, standing, moment):
            task_id = ids[len(fired)] if len(fired) < len(ids) else ""
            fired.append((moment, span))
            standing = _begun(wanted, standing, span, task_id)
    return standing, fired


def _spans(wanted: Wanted, standing: Standing, tick: int) -> list[Span | None]:
    """What a tick covers (TR-5): what has failed first, then whole ranges that are over."""
    if wanted.size is None:
        return [None]
    if wanted.start is None:
        end = tick - wanted.delay
        return [(end - wanted.size, end)]
    assert standing.mark is not None
    due: list[Span | None] = [one.span for one in standing.ranges if one.state == "failed"]
    begin = standing.ranges[-1].span[1] if standing.ranges else standing.mark
    while len(due) < wanted.catch_up and begin + wanted.size + wanted.delay <= tick:
        due.append((begin, begin + wanted.size))
        begin += wanted.size
    return due[: wanted.catch_up]


def _begun(wanted: Wanted, standing: Standing, span: Span | None, task_id: str) -> Standing:
    unfinished = standing.unfinished
    if wanted.overlap != "allow":
        unfinished = (*unfinished, task_id)
    ranges = standing.ranges
    if wanted.start is not None and span is not None:
        again = {one.span: one.tries for one in ranges}
        if span in again:
            fresh = Covered(span, task_id, tries=again[span] + 1)
            ranges = tuple(fresh if one.span == span else one for one in ranges)
        else:
            ranges = (*ranges, Covered(span, task_id))
    return replace(standing, unfinished=unfinished, ranges=ranges)


def ended(wanted: Wanted, standing: Standing, task_id: str, *, completed: bool) -> Standing:
    """A task has ended: its range is done, or to be covered again; the watermark moves over what is done."""
    ranges = tuple(
        replace(one, state="completed" if completed else "failed")
        if one.task_id == task_id and one.state != "completed"
        else one
        for one in standing.ranges
    )
    mark = standing.mark
    while ranges and ranges[0].state == "completed":
        mark, ranges = ranges[0].span[1], ranges[1:]
    unfinished = tuple(one for one in standing.unfinished if one != task_id)
    blocked = any(one.state == "failed" and one.tries > wanted.retries for one in ranges)
    state = "blocked" if blocked and standing.state == "active" else standing.state
    return replace(standing, state=state, unfinished=unfinished, mark=mark, ranges=ranges)


def resumed(wanted: Wanted, standing: Standing, now: int) -> Standing:
    """Active again; what has failed may be tried as often again (TR-12)."""
    ranges = tuple(replace(one, tries=0) if one.state == "failed" else one for one in standing.ranges)
    waiting = now if wanted.immediate else standing.waiting
    return replace(standing, state="active", ranges=ranges, waiting=waiting)
