"""What a listener must have heard, told from where the tasks stand in the end: pure, apart from the server.

Rules: ``queue-behaviour.md`` 4, 5 and the event table of 10, and the project's own promise: every message at
least once, copies only under the same message-id, and per task in the order of the changes. What each
change tells is the model's matter, which also judges the simulation.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from schemas.task import TaskStatus
from tests.simulation.model import State, events_of, run_of

RESOLVED: Final = ("completed", "failed", "exception")
GROUP_RESOLVED: Final = "task-group-resolved"


@dataclass(frozen=True)
class Heard:
    """One delivery: the last part of the exchange's name, and the payload as JSON values."""

    exchange: str
    message_id: str
    body: Mapping[str, Any]


class Event(NamedTuple):
    """What happened to a task, and in which of its runs."""

    exchange: str
    run_id: int | None

    def __str__(self) -> str:
        return self.exchange.removeprefix("task-") + ("" if self.run_id is None else f" {self.run_id}")


Place = int
"""Of a message among the first copies of all."""


def problems(
    heard: Sequence[Heard],
    statuses: Collection[TaskStatus],
    dependencies: Mapping[str, Collection[str]] = MappingProxyType({}),
    repeated: Collection[str] = (),
) -> list[str]:
    """Everything that is wrong with what was heard, in words; nothing if all is well.

    ``heard`` are all deliveries about these tasks and their groups, in the order of arrival; ``statuses``
    where each task stands now; ``dependencies`` which tasks each task waits for; ``repeated`` about which
    tasks a call was repeated: that tells again, under other ids, what was told before. Nobody may have rerun
    a task, which ends it twice.
    """
    found = list(_unequal_copies(heard))
    firsts = list({message.message_id: message for message in reversed(heard)}.values())[::-1]
    events: dict[str, dict[Event, Place]] = defaultdict(dict)
    told: dict[str, list[Event]] = defaultdict(list)
    group_ends: dict[str, Place] = {}
    for place, message in enumerate(firsts):
        if message.exchange == GROUP_RESOLVED:
            group_ends[message.body["taskGroupId"]] = place  # the last one: the group may have grown
            continue
        event = Event(message.exchange, message.body.get("runId"))
        task_id = message.body["status"]["taskId"]
        if task_id not in repeated or event not in events[task_id]:
            told[task_id].append(event)
        events[task_id].setdefault(event, place)
        found += _untrue(message, event)
    for status in statuses:
        expected = expected_of(status)
        if told[status.task_id] != expected:
            found.append(
                f"{status.task_id}: expected {_words(expected)}; heard {_words(told[status.task_id])}"
            )
    for task_id in told.keys() - {status.task_id for status in statuses}:
        found.append(f"{task_id}: heard {_words(told[task_id])} of a task that does not exist")
    found += _overtaking_dependents(events, dependencies)
    found += _groups_told_wrong(events, statuses, group_ends)
    return found


def copies(heard: Sequence[Heard]) -> int:
    """How many deliveries were not the first of their message."""
    return len(heard) - len({message.message_id for message in heard})


def expected_of(status: TaskStatus) -> list[Event]:
    """The messages that have brought a task to where it stands, in their order."""
    runs = tuple(run_of(run.to_wire()) for run in status.runs)
    return [Event(*told) for told in events_of(None, State(0, 0, "lowest", 0, runs))]


def _unequal_copies(heard: Sequence[Heard]) -> Iterator[str]:
    first: dict[str, Heard] = {}
    for message in heard:
        if first.setdefault(message.message_id, message) != message:
            yield f"message-id {message.message_id} stands for different messages"


def _untrue(message: Heard, event: Event) -> Iterator[str]:
    """The status in a message is the one after the change (section 10)."""
    status = message.body["status"]
    runs = {run["runId"]: run["state"] for run in status["runs"]}
    if event.run_id is None:
        right = status["state"] == "unscheduled" and not runs
    else:
        right = runs.get(event.run_id) == event.exchange.removeprefix("task-")
    if not right:
        yield f"{status['taskId']}: the message {event} says state {status['state']}, runs {runs}"


def _overtaking_dependents(
    events: Mapping[str, Mapping[Event, Place]], dependencies: Mapping[str, Collection[str]]
) -> Iterator[str]:
    """A dependent is pending after the end of everything that it waits for (section 4)."""
    for dependent, required in dependencies.items():
        pending = events[dependent].get(Event("task-pending", 0))
        for task_id in required:
            end = _last_end(events[task_id])
            if pending is not None and (end is None or end > pending):
                yield f"{dependent}: heard pending before the end of {task_id}, which it waits for"


def _groups_told_wrong(
    events: Mapping[str, Mapping[Event, Place]],
    statuses: Collection[TaskStatus],
    group_ends: Mapping[str, Place],
) -> Iterator[str]:
    """A group that is resolved is told so after the ends of all its tasks."""
    members: dict[str, list[TaskStatus]] = defaultdict(list)
    for status in statuses:
        members[status.task_group_id].append(status)
    for group_id, tasks in members.items():
        told = group_ends.get(group_id)
        ends = [_last_end(events[task.task_id]) for task in tasks]
        if any(task.state not in RESOLVED for task in tasks):
            continue  # it may have been resolved before it grew
        if told is None:
            yield f"group {group_id}: nothing heard of its being resolved"
        elif any(end is not None and end > told for end in ends):
            yield f"group {group_id}: heard that it is resolved before the end of its last task"


def _last_end(events: Mapping[Event, Place]) -> Place | None:
    ends = [place for event, place in events.items() if event.exchange.removeprefix("task-") in RESOLVED]
    return max(ends, default=None)


def _words(events: Sequence[Event]) -> str:
    return ", ".join(map(str, events)) or "nothing"
