"""The tables of typed jobs.

What a job is doing is its task's state and kept nowhere else (``seed-systems.md`` J-1, J-2). The events of a
job are numbered in the transaction that makes the change; they are what streams replay.
"""

from sqlalchemy import BigInteger, Column, Index, Integer, SmallInteger, Table, Text, text

from queue_service.store.tables import metadata
from queue_service.store.types import Id, Identity, Milliseconds

STATE_EVENT = "event = 'state'"

job_types = Table(
    "job_types",
    metadata,
    Column("type", Id, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False, comment="counts the replacements"),
    Column("definition", Text, nullable=False, comment="JSON object as it was sent, defaults filled"),
    Column("registered", Milliseconds, nullable=False),
)

job_type_names = Table(
    "job_type_names",
    metadata,
    Column("name", Id, primary_key=True, comment="the type itself, or one of its aliases"),
    Column("type", Id, nullable=False, index=True),
    Column("version", Integer, nullable=False, comment="that new jobs get"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("task_id", Id, primary_key=True, comment="the job's id"),
    Column("type", Id, nullable=False),
    Column("version", Integer, nullable=False, comment="of the type, when the job was submitted"),
    Column("env_id", Id),
    Column("digest", Text, nullable=False, comment="of what was submitted: tells a repeat from another job"),
    Column("secrets", Text, comment="the secret parameters, encrypted"),
    Column("any_order", SmallInteger, nullable=False, comment="whether its steps may run in any order"),
    Column(
        "resumable", SmallInteger, nullable=False, comment="whether a new run keeps the steps that are done"
    ),
    Column("steps", Text, nullable=False, comment="JSON array"),
    Column("progress", Text, comment="JSON object as on the wire: the last that was reported"),
    Column("cursor", Text, comment="JSON value: where the step under way got to"),
    Column("cancel_reason", Text, comment="JSON string: what the caller said who cancelled it"),
    Column("noted", Milliseconds, comment="when progress was last an event"),
    Column("told", Milliseconds, comment="when progress was last a message"),
    Column("created", Milliseconds, nullable=False),
    Column("expires", Milliseconds, nullable=False, index=True, comment="of the task"),
)
Index("jobs_created", jobs.c.created, jobs.c.task_id)
Index("jobs_of_type", jobs.c.type, jobs.c.created, jobs.c.task_id)

job_events = Table(
    "job_events",
    metadata,
    Column("id", Identity, primary_key=True, autoincrement=True, comment="counts the events of all jobs"),
    Column("task_id", Id, nullable=False),
    Column("sequence", BigInteger, nullable=False, comment="counts the events of the job from 1"),
    Column("event", Text, nullable=False, comment="'state', 'step', 'progress', 'log' or 'end'"),
    Column("data", Text, nullable=False, comment="JSON object as on the wire"),
    Column("type", Id, nullable=False, comment="of the job"),
    Column("state", Text, nullable=False, comment="of the job then"),
    Column("created", Milliseconds, nullable=False),
    sqlite_autoincrement=True,
)
Index("job_events_of_job", job_events.c.task_id, job_events.c.sequence, unique=True)
Index("job_events_state", job_events.c.id, sqlite_where=text(STATE_EVENT), postgresql_where=text(STATE_EVENT))
