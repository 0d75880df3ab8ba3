"""The ranges of time that the firings of a trigger cover (``seed-systems.md`` TR-5).

Contiguous ranges never overlap and never leave a hole: a new one begins where the last one ends, and the
watermark moves over a range when its task has completed, and those of all ranges before it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Literal

from schemas.triggers import Window

MAX_OPEN: Final = 1000
"""Ranges beyond the watermark; further ones wait until it has moved."""

RangeState = Literal["running", "failed", "completed"]


@dataclass(frozen=True, slots=True)
class Range:
    """A half-open range [start, end) of time."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Covered:
    """A range beyond the watermark, and what became of the last of its ``tries``."""

    range: Range
    task_id: str
    state: RangeState = "running"
    tries: int = 1


@dataclass(frozen=True, slots=True)
class Coverage:
    """How far contiguous ranges have come: all before ``mark``, and these beyond it, without a gap."""

    mark: datetime
    ranges: tuple[Covered, ...] = ()

    @property
    def end(self) -> datetime:
        """Where the next new range begins."""
        return self.ranges[-1].range.end if self.ranges else self.mark


def range_at(window: Window, tick: datetime) -> Range:
    """The range of a tick, of a window without a start."""
    end = tick - window.offset
    return Range(end - window.size, end)


def due_ranges(coverage: Coverage, window: Window, tick: datetime) -> list[Range]:
    """What to cover at a tick: what has failed, then whole ranges that are over; bounded by catch-up."""
    due = [covered.range for covered in coverage.ranges if covered.state == "failed"]
    start = coverage.end
    room = MAX_OPEN - len(coverage.ranges)
    while len(due) < window.catch_up and room and start + window.size + window.offset <= tick:
        due.append(Range(start, start + window.size))
        start += window.size
        room -= 1
    return due[: window.catch_up]


def begun(coverage: Coverage, range_: Range, task_id: str) -> Coverage:
    """A task covers this range now: one of those that were due, in their order."""
    known = [covered.range for covered in coverage.ranges]
    if range_ not in known:
        assert range_.start == coverage.end
        return replace(coverage, ranges=(*coverage.ranges, Covered(range_, task_id)))
    return _changed(
        coverage,
        lambda covered: covered.range == range_,
        lambda covered: replace(covered, task_id=task_id, state="running", tries=covered.tries + 1),
    )


def ended(coverage: Coverage, task_id: str, *, completed: bool) -> Coverage:
    """The task of a range has ended; the watermark moves over what is completed without a gap."""
    state: RangeState = "completed" if completed else "failed"
    after = _changed(
        coverage,
        lambda covered: covered.task_id == task_id and covered.state != "completed",
        lambda covered: replace(covered, state=state),
    )
    mark, ranges = after.mark, after.ranges
    while ranges and ranges[0].state == "completed":
        mark, ranges = ranges[0].range.end, ranges[1:]
    return Coverage(mark, ranges)


def renamed(coverage: Coverage, task_id: str, existing: str) -> Coverage:
    """Another task covers the range of this one."""
    return _changed(
        coverage,
        lambda covered: covered.task_id == task_id,
        lambda covered: replace(covered, task_id=existing),
    )


def exhausted(coverage: Coverage, retries: int) -> Range | None:
    """The first range that has failed and may not be tried again; None when there is none."""
    for covered in coverage.ranges:
        if covered.state == "failed" and covered.tries > retries:
            return covered.range
    return None


def forgiven(coverage: Coverage) -> Coverage:
    """What has failed may be tried as often again."""
    return _changed(
        coverage, lambda covered: covered.state == "failed", lambda covered: replace(covered, tries=0)
    )


def _changed(
    coverage: Coverage, which: Callable[[Covered], bool], how: Callable[[Covered], Covered]
) -> Coverage:
    ranges = tuple(how(covered) if which(covered) else covered for covered in coverage.ranges)
    return replace(coverage, ranges=ranges)
