"""The events of jobs in the database: appended with the change they tell of, and read again by streams.

Events of a job are numbered 1, 2, 3 … without gaps (``seed-systems.md`` E-2), because whoever appends holds
the lock of the job's task. ``id`` counts over all jobs; on PostgreSQL an event with a smaller one may become
visible later than one with a larger.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from pydantic_core import from_json, to_json
from sqlalchemy import BigInteger, Integer, Text, bindparam, delete, func, insert, select, text

from queue_service.features.jobs.tables import STATE_EVENT, job_events
from queue_service.store.database import Tx
from queue_service.store.rows import Rows
from queue_service.store.signals import TopicStirred
from queue_service.store.statements import Connection, Row
from schemas.times import to_ms

EventKind = Literal["state", "step", "progress", "log", "end"]

KEPT: Final = 1000
"""The last events of a job; older ones are forgotten (E-4)."""
TOPIC: Final = "jobs"
"""Announced by every transaction that appends events; besides, :func:`topic_of` each job."""
_OF_JOB: Final = "job/"

_given = Rows(
    "given",
    place=Integer,
    task_id=Text,
    nth=Integer,
    event=Text,
    data=Text,
    type=Text,
    state=Text,
    created=BigInteger,
)
_last = (
    select(func.coalesce(func.max(job_events.c.sequence), 0))
    .where(job_events.c.task_id == _given.c.task_id)
    .scalar_subquery()
)
APPEND: Final = (
    insert(job_events)
    .from_select(
        ["task_id", "sequence", "event", "data", "type", "state", "created"],
        select(
            _given.c.task_id,
            _last + _given.c.nth,
            _given.c.event,
            _given.c.data,
            _given.c.type,
            _given.c.state,
            _given.c.created,
        ).order_by(_given.c.place),
    )
    .returning(job_events.c.task_id, job_events.c.sequence)
)
_bounds = Rows("bounds", task_id=Text, first=BigInteger)
FORGET: Final = delete(job_events).where(
    job_events.c.id.in_(
        select(job_events.c.id).select_from(
            _bounds.join(
                job_events,
                (job_events.c.task_id == _bounds.c.task_id) & (job_events.c.sequence < _bounds.c.first),
            )
        )
    )
)
_ids = Rows("ids", task_id=Text)
FORGET_JOBS: Final = delete(job_events).where(job_events.c.task_id.in_(select(_ids.c.task_id)))

_task_id = bindparam("of_task", type_=Text)
_after = bindparam("after", type_=BigInteger)
_limit = bindparam("wanted", type_=Integer)
AFTER: Final = (
    select(job_events)
    .where(job_events.c.task_id == _task_id, job_events.c.sequence > _after)
    .order_by(job_events.c.sequence)
    .limit(_limit)
)
_line = job_events.alias("line")
LAST_LINES: Final = select(
    _ids.c.task_id,
    select(_line.c.created)
    .where(_line.c.task_id == _ids.c.task_id, _line.c.event == "log")
    .order_by(_line.c.sequence.desc())
    .limit(1)
    .scalar_subquery()
    .label("created"),
)
LAST: Final = select(func.max(job_events.c.sequence)).where(job_events.c.task_id == _task_id)
STATES_AFTER: Final = (
    select(job_events)
    .where(text(STATE_EVENT), job_events.c.id > _after)
    .order_by(job_events.c.id)
    .limit(_limit)
)
LAST_STATE: Final = select(func.max(job_events.c.id)).where(text(STATE_EVENT))


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to append. ``state`` is that of the job after it."""

    task_id: str
    event: EventKind
    data: Mapping[str, Any]
    """As on the wire: JSON values, and times as text."""
    type: str
    state: str


@dataclass(frozen=True, slots=True)
class JobEvent:
    """An event as it is kept."""

    id: int
    """Among the events of all jobs."""
    task_id: str
    sequence: int
    """Among the events of the job: 1, 2, 3 …"""
    event: EventKind
    data: str
    """JSON object in one line."""
    type: str
    state: str
    created: datetime

    @property
    def value(self) -> Any:
        return from_json(self.data)


def topic_of(task_id: str) -> str:
    """The topic that is stirred when events of this job were appended."""
    return f"{_OF_JOB}{task_id}"


def job_of(topic: str) -> str:
    """The job that a topic is about; nothing for another topic."""
    return topic.removeprefix(_OF_JOB) if topic.startswith(_OF_JOB) else ""


async def append(tx: Tx, events: Sequence[NewEvent]) -> None:
    """Append events, in this order, to jobs whose tasks are locked; wake those who read them.

    Two statements at most, whatever the number of events and jobs.
    """
    if not events:
        return
    counts: dict[str, int] = {}
    created = to_ms(tx.now)
    rows = []
    for place, event in enumerate(events):
        nth = counts[event.task_id] = counts.get(event.task_id, 0) + 1
        rows.append(
            {
                "place": place,
                "task_id": event.task_id,
                "nth": nth,
                "event": event.event,
                "data": to_json(event.data).decode(),
                "type": event.type,
                "state": event.state,
                "created": created,
            }
        )
    appended = await tx.connection.execute(APPEND, _given.parameters(rows))
    last: dict[str, int] = {}
    for row in appended:
        last[row.task_id] = max(row.sequence, last.get(row.task_id, 0))
    await _forget_old(tx, last)
    tx.announce(TopicStirred(TOPIC))
    for task_id in counts:
        tx.announce(TopicStirred(topic_of(task_id)))


async def _forget_old(tx: Tx, last: Mapping[str, int]) -> None:
    bounds = [
        {"task_id": task_id, "first": sequence - KEPT + 1}
        for task_id, sequence in last.items()
        if sequence > KEPT
    ]
    if bounds:
        await tx.connection.execute(FORGET, _bounds.parameters(bounds))


async def forget(tx: Tx, task_ids: Sequence[str]) -> None:
    """Forget all events of these jobs."""
    if task_ids:
        await tx.connection.execute(FORGET_JOBS, _ids.of(task_ids))


async def after(connection: Connection, task_id: str, sequence: int, limit: int) -> list[JobEvent]:
    """The events of a job that follow this one, oldest first. The first tells whether some are forgotten."""
    rows = await connection.execute(AFTER, {"of_task": task_id, "after": sequence, "wanted": limit})
    return [_event(row) for row in rows]


async def last_sequence(connection: Connection, task_id: str) -> int:
    """The number of the job's last event; 0 when there is none."""
    last: int | None = (await connection.execute(LAST, {"of_task": task_id})).scalar()
    return last or 0


async def last_lines(connection: Connection, task_ids: Sequence[str]) -> dict[str, datetime]:
    """When the last line of each job was told; jobs without one are left out."""
    if not task_ids:
        return {}
    rows = await connection.execute(LAST_LINES, _ids.of(list(dict.fromkeys(task_ids))))
    return {row.task_id: row.created for row in rows if row.created is not None}


async def states_after(connection: Connection, id: int, limit: int) -> list[JobEvent]:
    """The ``state`` events of all jobs that follow this ``id``, oldest first."""
    rows = await connection.execute(STATES_AFTER, {"after": id, "wanted": limit})
    return [_event(row) for row in rows]


async def last_state(connection: Connection) -> int:
    """The ``id`` of the last ``state`` event of all jobs; 0 when there is none."""
    last: int | None = (await connection.execute(LAST_STATE)).scalar()
    return last or 0


def _event(row: Row) -> JobEvent:
    return JobEvent(row.id, row.task_id, row.sequence, row.event, row.data, row.type, row.state, row.created)
