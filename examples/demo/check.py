"""Checks on what a listener wrote down: nothing missing, nothing out of order, nothing told twice.

The model is small and the demo's own, so that it cannot share a mistake with the service:
defined → pending → running → completed, failed or exception; after an exception, pending with the next run.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from examples.demo.record import Record

DEFINED: Final = "task-defined"
PENDING: Final = "task-pending"
RUNNING: Final = "task-running"
COMPLETED: Final = "task-completed"
FAILED: Final = "task-failed"
EXCEPTION: Final = "task-exception"
GROUP_RESOLVED: Final = "task-group-resolved"

FOLLOWING: Final = {
    "": (DEFINED,),
    DEFINED: (PENDING,),
    PENDING: (RUNNING,),
    RUNNING: (COMPLETED, FAILED, EXCEPTION),
    EXCEPTION: (PENDING,),
}
"""What may come after what, for one task. After completed and failed comes nothing."""


def check_record(records: Sequence[Record], submitted: Mapping[str, Collection[str]]) -> list[str]:
    """Every problem, in words; empty if all tasks completed and every message came in its place.

    ``submitted``: the ids of all tasks, each with the ids of those it depends on.
    """
    problems, fresh = _without_repeats(records)
    lives = {task_id: _Life(f"nothing about {task_id}") for task_id in submitted}
    for record in fresh:
        if record.task is None:
            continue
        task_id = record.task.status.task_id
        if task_id not in lives:
            problems.append(f"{_name(record)}: nobody submitted this task")
            continue
        if record.kind == PENDING and record.run_id == 0:
            unmet = [lives[required] for required in submitted[task_id] if not lives[required].completed]
            problems += [
                f"{_name(record)}: depends on a task that had not completed; last came {life.last}"
                for life in unmet
            ]
        problems += lives[task_id].take(record)
    problems += [f"not completed: last came {life.last}" for life in lives.values() if not life.completed]
    return problems + list(_check_group(fresh))


def check_takeover(records: Sequence[Record], killed: str) -> list[str]:
    """Problems unless a run held by the killed worker expired, and a later run completed elsewhere."""
    expired = {
        record.task.status.task_id
        for record in records
        if record.task
        and record.worker_id == killed
        and record.run
        and record.run.reason_resolved == "claim-expired"
    }
    if not expired:
        return [f"no run of {killed}, the worker that was killed, ended as claim-expired"]
    completed = {
        record.task.status.task_id: record.worker_id
        for record in records
        if record.task and record.kind == COMPLETED
    }
    if not any(completed.get(task_id, killed) != killed for task_id in expired):
        return [f"no task that {killed} lost was completed by another worker"]
    return []


def _without_repeats(records: Sequence[Record]) -> tuple[list[str], list[Record]]:
    """The first arrival of each message. A broker may deliver a message again, with the same id."""
    problems: list[str] = []
    fresh: list[Record] = []
    first: dict[str, Record] = {}
    for record in records:
        earlier = first.get(record.message_id)
        if not record.message_id:
            problems.append(f"{_name(record)}: has no message id")
            fresh.append(record)
        elif earlier is None:
            first[record.message_id] = record
            fresh.append(record)
        elif (record.exchange, record.message) != (earlier.exchange, earlier.message):
            problems.append(f"{_name(record)}: has the message id of {_name(earlier)}")
    return problems, fresh


@dataclass
class _Life:
    """What was told about one task so far."""

    last: str
    kind: str = ""
    run_id: int | None = None
    worker_id: str | None = None

    @property
    def completed(self) -> bool:
        return self.kind == COMPLETED

    def take(self, record: Record) -> Iterator[str]:
        """Go on to what this message tells; yields the problems if it cannot be what comes next."""
        kinds, run_id = FOLLOWING.get(self.kind, ()), self._next_run()
        if record.kind not in kinds or record.run_id != run_id:
            expected = " or ".join(kinds) + _run(run_id) if kinds else "nothing"
            yield f"{_name(record)}: came after {self.last}, expected {expected}"
        elif self.kind == RUNNING and record.worker_id != self.worker_id:
            yield f"{_name(record)}: by {record.worker_id}, but {self.worker_id} held the run"
        if record.run is not None and f"task-{record.run.state}" != record.kind:
            yield f"{_name(record)}: its status says that the run is {record.run.state}"
        self.last, self.kind = _name(record), record.kind
        self.run_id, self.worker_id = record.run_id, record.worker_id

    def _next_run(self) -> int | None:
        if self.kind == DEFINED:
            return 0
        if self.kind == EXCEPTION and self.run_id is not None:
            return self.run_id + 1
        return self.run_id


def _check_group(records: Sequence[Record]) -> Iterator[str]:
    places = [place for place, record in enumerate(records) if record.kind == GROUP_RESOLVED]
    if not places:
        yield f"{GROUP_RESOLVED}: did not come"
        return
    if len(places) > 1:
        yield f"{GROUP_RESOLVED}: came {len(places)} times"
    late = len(records) - 1 - places[0]
    if late:
        yield f"{GROUP_RESOLVED}: came before {_name(records[places[0] + 1])}"


def _name(record: Record) -> str:
    task_id = f" ({record.task.status.task_id})" if record.task else ""
    return f"{record.kind}{_run(record.run_id)} of {record.subject}{task_id}"


def _run(run_id: int | None) -> str:
    return "" if run_id is None else f" run {run_id}"
