"""The figures of a run of the demo, from the listener's record."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from math import ceil
from statistics import median

from examples.demo.check import COMPLETED, DEFINED, EXCEPTION, RUNNING
from examples.demo.record import Record

Arrivals = dict[str, datetime]
"""When the messages about one task came, by their kinds."""


def figures(records: Sequence[Record], submitted: datetime) -> dict[str, str]:
    """Figures by name. ``submitted``: when the first task was about to be created."""
    if not records:
        return {"events": "none"}
    first: dict[str, Arrivals] = defaultdict(dict)
    last: dict[str, Arrivals] = defaultdict(dict)
    for record in records:
        if record.task is not None:
            first[record.task.status.task_id].setdefault(record.kind, record.arrived)
            last[record.task.status.task_id][record.kind] = record.arrived
    waited = [_between(arrivals, DEFINED, RUNNING) for arrivals in first.values()]
    worked = [_between(arrivals, RUNNING, COMPLETED) for arrivals in last.values()]
    lost = Counter(
        record.run.reason_resolved for record in records if record.kind == EXCEPTION and record.run
    )
    return {
        "first event": f"{_seconds(submitted, records[0].arrived):.3f} s after the first call",
        "created to running": _spread(waited) + ", waiting in line included",
        "running to completed": _spread(worked),
        "total": f"{_seconds(submitted, records[-1].arrived):.1f} s from the first call to the last event",
        "events": str(len(records)),
        "retries": ", ".join(f"{count} after {reason}" for reason, count in lost.items()) or "none",
    }


def _between(arrivals: Arrivals, start: str, end: str) -> float | None:
    return _seconds(arrivals[start], arrivals[end]) if start in arrivals and end in arrivals else None


def _spread(values: Iterable[float | None]) -> str:
    seconds = sorted(value for value in values if value is not None)
    if not seconds:
        return "never"
    return f"median {median(seconds):.2f} s, 95 % within {seconds[ceil(0.95 * len(seconds)) - 1]:.2f} s"


def _seconds(start: datetime, end: datetime) -> float:
    return (end - start).total_seconds()
