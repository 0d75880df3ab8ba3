"""Events of jobs as streams read them: of many jobs with one statement, and the states of all jobs."""

from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import BigInteger, Integer, Text, bindparam, select

from queue_service.features.jobs.event_store import JobEvent
from queue_service.features.jobs.tables import job_events
from queue_service.store.rows import Rows
from queue_service.store.statements import Connection, Row

_watched = Rows("watched", task_id=Text, last=BigInteger)
_limit = bindparam("wanted", type_=Integer)
NEWS: Final = (
    select(job_events)
    .select_from(
        _watched.join(
            job_events,
            (job_events.c.task_id == _watched.c.task_id) & (job_events.c.sequence > _watched.c.last),
        )
    )
    .order_by(job_events.c.task_id, job_events.c.sequence)
    .limit(_limit)
)
_ids = Rows("late", id=BigInteger)
OF_IDS: Final = (
    select(job_events)
    .select_from(_ids.join(job_events, job_events.c.id == _ids.c.id))
    .order_by(job_events.c.id)
)
IDS_BETWEEN: Final = (
    select(job_events.c.id)
    .where(
        job_events.c.id > bindparam("low", type_=BigInteger),
        job_events.c.id <= bindparam("high", type_=BigInteger),
    )
    .order_by(job_events.c.id)
)


async def news(connection: Connection, last: Mapping[str, int], limit: int) -> Sequence[JobEvent]:
    """The events of these jobs after the last that is known of each; those of a job in their order."""
    rows = await connection.execute(
        NEWS,
        {**_watched.parameters({"task_id": job, "last": at} for job, at in last.items()), "wanted": limit},
    )
    return list(map(_event, rows))


async def of_ids(connection: Connection, ids: Sequence[int]) -> Sequence[JobEvent]:
    """Those of these events that can be seen."""
    return list(map(_event, await connection.execute(OF_IDS, _ids.of(ids))))


async def ids_between(connection: Connection, low: int, high: int) -> Sequence[int]:
    """The ids of all events after ``low``, up to ``high``: what is missing there may still become visible."""
    return (await connection.execute(IDS_BETWEEN, {"low": low, "high": high})).scalars()


def _event(row: Row) -> JobEvent:
    return JobEvent(row.id, row.task_id, row.sequence, row.event, row.data, row.type, row.state, row.created)
