"""The tables of triggers."""

from sqlalchemy import BigInteger, Column, Index, Integer, SmallInteger, Table, Text, text

from queue_service.store.tables import metadata
from queue_service.store.types import Id, Milliseconds

DUE = "due_at IS NOT NULL"
LISTENING = "listens > 0"

triggers = Table(
    "triggers",
    metadata,
    Column("group_id", Id, primary_key=True),
    Column("trigger_id", Id, primary_key=True),
    Column("definition", Text, nullable=False, comment="JSON as it was sent, defaults filled"),
    Column("state", Text, nullable=False),
    Column("created", Milliseconds, nullable=False, comment="intervals are counted from here"),
    Column("offset_ms", BigInteger, nullable=False, comment="drawn once, added to each tick"),
    Column("next_tick", Milliseconds, comment="the first tick that was not looked at"),
    Column("waiting", Milliseconds, comment="a tick that fires as soon as it may"),
    Column("due_at", Milliseconds, comment="when it must be looked at; NULL for never"),
    Column("listens", SmallInteger, nullable=False, comment="1: messages fire it; 2: it drains a workset"),
    Column("progress", Text, nullable=False, comment="JSON: open ranges, unfinished tasks"),
    Column("fires", BigInteger, nullable=False, comment="number of the last firing"),
    Column("counted", BigInteger, nullable=False, comment="firings that count for its limit"),
    Column("version", Integer, nullable=False, comment="of the row"),
)
Index("triggers_due", triggers.c.due_at, sqlite_where=text(DUE), postgresql_where=text(DUE))
Index(
    "triggers_listening",
    triggers.c.group_id,
    triggers.c.trigger_id,
    sqlite_where=text(LISTENING),
    postgresql_where=text(LISTENING),
)

trigger_queues = Table(
    "trigger_queues",
    metadata,
    Column("group_id", Id, primary_key=True),
    Column("trigger_id", Id, primary_key=True),
    Column("bindings", Text, nullable=False, comment="JSON: what its queue is bound to now"),
)

trigger_fires = Table(
    "trigger_fires",
    metadata,
    Column("group_id", Id, primary_key=True),
    Column("trigger_id", Id, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("occasion", Id, nullable=False, comment="the tick, the message: what fires only once"),
    Column("fired_by", Text, nullable=False),
    Column("task_id", Id, nullable=False, index=True),
    Column("created", Milliseconds, nullable=False),
    Column("scheduled_for", Milliseconds),
    Column("window_from", Milliseconds),
    Column("window_to", Milliseconds),
    Column("outcome", Text, nullable=False),
    Column("error", Text, comment="why there is no task"),
    Column("lease_id", Id, comment="of the batch that the task works on"),
)
Index(
    "trigger_fires_occasion",
    trigger_fires.c.occasion,
    trigger_fires.c.group_id,
    trigger_fires.c.trigger_id,
    unique=True,
)
