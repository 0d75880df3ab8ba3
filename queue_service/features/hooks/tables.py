"""The tables of hooks."""

from sqlalchemy import Column, Index, Table, Text, text

from queue_service.store.tables import metadata
from queue_service.store.types import Id, Identity, Milliseconds

SCHEDULED = "next_date IS NOT NULL"
FROM_MESSAGE = "message IS NOT NULL"

hooks = Table(
    "hooks",
    metadata,
    Column("hook_group_id", Id, primary_key=True),
    Column("hook_id", Id, primary_key=True),
    Column("definition", Text, nullable=False, comment="JSON as it was sent, defaults filled"),
    Column("trigger_token", Text, nullable=False, comment="secret"),
    Column("next_task_id", Id, nullable=False, comment="secret: of the task that the schedule creates next"),
    Column("next_date", Milliseconds, comment="when that is; NULL without a schedule"),
)
Index("hooks_scheduled", hooks.c.next_date, sqlite_where=text(SCHEDULED), postgresql_where=text(SCHEDULED))

hook_queues = Table(
    "hook_queues",
    metadata,
    Column("hook_group_id", Id, primary_key=True),
    Column("hook_id", Id, primary_key=True),
    Column("bindings", Text, nullable=False, comment="JSON: what its queue is bound to now"),
)

hook_fires = Table(
    "hook_fires",
    metadata,
    Column("id", Identity, primary_key=True, autoincrement=True),
    Column("hook_group_id", Id, nullable=False),
    Column("hook_id", Id, nullable=False),
    Column("fired_by", Text, nullable=False),
    Column("task_id", Id, nullable=False),
    Column("created", Milliseconds, nullable=False, index=True),
    Column("error", Text, nullable=False, comment="empty when the task was created"),
    Column("message", Id, comment="exchange and message-id, of a message that fired it"),
    sqlite_autoincrement=True,
)
Index("hook_fires_of_hook", hook_fires.c.hook_group_id, hook_fires.c.hook_id, hook_fires.c.id)
Index(
    "hook_fires_message",
    hook_fires.c.hook_group_id,
    hook_fires.c.hook_id,
    hook_fires.c.message,
    unique=True,
    sqlite_where=text(FROM_MESSAGE),
    postgresql_where=text(FROM_MESSAGE),
)
