"""The tables. Columns repeated out of JSON exist for indexes and guards only.

A task has one narrow row that every transition updates (``tasks``) and one row with its definition that is
never updated (``task_definitions``). Timers are columns with partial indexes: an expired claim is a
running row whose ``taken_until`` has passed, and a delayed run is a row with an ``available_at``, which is
taken away when that time has come. The conditions of partial indexes are literals, so that PostgreSQL's
generic plans use them.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    Table,
    Text,
    text,
)

from queue_service.store.types import Id, Identity, Milliseconds

metadata = MetaData()

PENDING = "state = 'pending' AND available_at IS NULL AND lane = ''"
IN_LANE = "state = 'pending' AND available_at IS NULL AND lane <> ''"
# The same runs in other words: an index of all lanes must not look usable to who asks for one of them.
IN_ANY_LANE = "state = 'pending' AND available_at IS NULL AND lane > ''"
DELAYED = "available_at IS NOT NULL"
RUNNING = "state = 'running'"
UNRESOLVED = "state IN ('unscheduled', 'pending', 'running')"
NEVER_RESOLVED = "ever_resolved = 0"
UNSATISFIED = "satisfied = 0"
HOLDS_KEY = "unique_key IS NOT NULL"
LETS_GO = "unique_until IS NOT NULL"
EVER_QUARANTINED = "quarantine_until IS NOT NULL"
DELETED_ON_EXPIRATION = "delete_on_expiration = 1"

task_definitions = Table(
    "task_definitions",
    metadata,
    Column("task_id", Id, primary_key=True),
    Column("definition", Text, nullable=False, comment="task.json; its priority is that of creation"),
)

tasks = Table(
    "tasks",
    metadata,
    Column("task_id", Id, primary_key=True),
    Column("version", Integer, nullable=False, comment="counts the changes; guards every update"),
    Column("state", Text, nullable=False, comment="of the last run, or 'unscheduled'"),
    Column("task_queue_id", Id, nullable=False),
    Column("scheduler_id", Text, nullable=False),
    Column("project_id", Text, nullable=False),
    Column("task_group_id", Id, nullable=False),
    Column("priority", SmallInteger, nullable=False, comment="place in PRIORITIES, 0 is the most urgent"),
    # A claim takes a place of its own: among running runs it is the age of the claim.
    Column("queue_order", BigInteger, comment="age of the pending run among its equals"),
    Column("taken_until", Milliseconds, comment="when the running run's claim expires"),
    Column("deadline", Milliseconds, nullable=False),
    Column("expires", Milliseconds, nullable=False),
    Column("requires", Text, nullable=False),
    Column("retries", SmallInteger, nullable=False),
    Column("retries_left", SmallInteger, nullable=False),
    Column("ever_resolved", SmallInteger, nullable=False),
    Column("claimed_by_id", SmallInteger, nullable=False),
    Column("routes", Text, nullable=False, comment="JSON array"),
    Column("tags", Text, nullable=False, comment="JSON object"),
    Column("runs", Text, nullable=False, comment="JSON array of runs as on the wire"),
    Column("worker", Id, comment="<workerGroup>/<workerId> that has the running run"),
    Column(
        "available_at", Milliseconds, comment="no claim gives it away before; None when nothing delays it"
    ),
    Column("extras", Text, comment="JSON object: what it has beyond a plain task"),
    Column("unique_key", Id, comment="no other task of its project may hold it"),
    Column("unique_until", Milliseconds, comment="when a task that has ended lets go of its key"),
    Column("since", Milliseconds, nullable=False, server_default="0", comment="when it got into its state"),
    Column(
        "lane",
        Id,
        nullable=False,
        server_default=text("''"),
        comment="its runs wait there; '' when no limit by key",
    ),
)
Index(
    "tasks_pending",
    tasks.c.task_queue_id,
    tasks.c.priority,
    tasks.c.queue_order,
    tasks.c.deadline,
    sqlite_where=text(PENDING),
    postgresql_where=text(PENDING),
)
Index(
    "tasks_delayed",
    tasks.c.available_at,
    tasks.c.queue_order,
    sqlite_where=text(DELAYED),
    postgresql_where=text(DELAYED),
)
Index(
    "tasks_delayed_in_queue",
    tasks.c.task_queue_id,
    tasks.c.available_at,
    tasks.c.queue_order,
    sqlite_where=text(DELAYED),
    postgresql_where=text(DELAYED),
)
Index(
    "tasks_in_lane",
    tasks.c.task_queue_id,
    tasks.c.lane,
    tasks.c.priority,
    tasks.c.queue_order,
    tasks.c.deadline,
    sqlite_where=text(IN_LANE),
    postgresql_where=text(IN_LANE),
)
Index(
    "tasks_in_lanes",
    tasks.c.task_queue_id,
    tasks.c.priority,
    tasks.c.queue_order,
    tasks.c.deadline,
    sqlite_where=text(IN_ANY_LANE),
    postgresql_where=text(IN_ANY_LANE),
)
Index("tasks_running", tasks.c.taken_until, sqlite_where=text(RUNNING), postgresql_where=text(RUNNING))
Index(
    "tasks_claimed",
    tasks.c.task_queue_id,
    tasks.c.worker,
    tasks.c.queue_order,
    tasks.c.taken_until,
    sqlite_where=text(RUNNING),
    postgresql_where=text(RUNNING),
)
Index("tasks_unresolved", tasks.c.deadline, sqlite_where=text(UNRESOLVED), postgresql_where=text(UNRESOLVED))
Index("tasks_group", tasks.c.task_group_id, tasks.c.task_id)
Index(
    "tasks_group_open",
    tasks.c.task_group_id,
    sqlite_where=text(NEVER_RESOLVED),
    postgresql_where=text(NEVER_RESOLVED),
)
Index("tasks_expires", tasks.c.expires)
Index(
    "tasks_unique",
    tasks.c.unique_key,
    tasks.c.project_id,
    unique=True,
    sqlite_where=text(HOLDS_KEY),
    postgresql_where=text(HOLDS_KEY),
)
Index("tasks_letting_go", tasks.c.unique_until, sqlite_where=text(LETS_GO), postgresql_where=text(LETS_GO))
Index("tasks_since", tasks.c.state, tasks.c.since, tasks.c.task_id)

task_groups = Table(
    "task_groups",
    metadata,
    Column("task_group_id", Id, primary_key=True),
    Column("scheduler_id", Text, nullable=False),
    Column("expires", Milliseconds, nullable=False, index=True),
    Column("sealed", Milliseconds),
)

task_dependencies = Table(
    "task_dependencies",
    metadata,
    Column("required_task_id", Id, primary_key=True),
    Column("dependent_task_id", Id, primary_key=True),
    Column("requires", Text, nullable=False),
    Column("satisfied", SmallInteger, nullable=False, comment="sticky: a rerun does not take it back"),
    Column("expires", Milliseconds, nullable=False, index=True, comment="of the dependent"),
)
Index(
    "task_dependencies_unsatisfied",
    task_dependencies.c.dependent_task_id,
    sqlite_where=text(UNSATISFIED),
    postgresql_where=text(UNSATISFIED),
)

attempt_errors = Table(
    "attempt_errors",
    metadata,
    Column("task_id", Id, primary_key=True),
    Column("run_id", Integer, primary_key=True, autoincrement=False, comment="a run ends with one at most"),
    Column("error", Text, nullable=False, comment="JSON object as on the wire"),
)

task_outputs = Table(
    "task_outputs",
    metadata,
    Column("task_id", Id, primary_key=True),
    Column("output", Text, nullable=False, comment="JSON value"),
)

resolutions = Table(
    "resolutions",
    metadata,
    Column("id", Identity, primary_key=True, autoincrement=True),
    Column("task_id", Id, nullable=False, comment="was resolved; dependents and group must look"),
    Column("state", Text, nullable=False, comment="it was resolved as; a rerun may have changed it since"),
    Column("task_group_id", Id, comment="its group; the task may be deleted meanwhile"),
    sqlite_autoincrement=True,
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", Identity, primary_key=True, autoincrement=True, comment="the AMQP message-id"),
    Column("exchange", Text, nullable=False),
    Column("routing_key", Text, nullable=False),
    Column("cc", Text, nullable=False, comment="JSON array of further routing keys"),
    Column("order_keys", Text, nullable=False, comment="JSON array of keys; `~key` is a shared one"),
    Column("body", Text, nullable=False),
    Column("created", Milliseconds, nullable=False),
    Column(
        "set_aside",
        BigInteger,
        nullable=False,
        server_default="0",
        comment="when it was last refused, or stood behind one that was; 0 for one that may be sent",
    ),
    Column("traceparent", Text, comment="the trace of the task that it tells about"),
    sqlite_autoincrement=True,
)
Index("outbox_lanes", outbox.c.set_aside, outbox.c.id)

# What must not be overtaken: the order keys of messages that are set aside.
outbox_barriers = Table(
    "outbox_barriers",
    metadata,
    Column("order_key", Id, primary_key=True),
    Column("exclusive", SmallInteger, primary_key=True, autoincrement=False),
    Column("id", BigInteger, primary_key=True, autoincrement=False, comment="of the outbox"),
)
Index("outbox_barriers_of_row", outbox_barriers.c.id)

leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("expires", Milliseconds, nullable=False),
)

access_state = Table(
    "access_state",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False, comment="always 1"),
    Column("generation", BigInteger, nullable=False, comment="counts the changes of clients and roles"),
    Column("created", Milliseconds, nullable=False, comment="when the service started first"),
)

clients = Table(
    "clients",
    metadata,
    Column("client_id", Id, primary_key=True),
    Column("description", Text, nullable=False),
    Column("scopes", Text, nullable=False, comment="JSON array"),
    Column("sealed_token", Text, nullable=False, comment="the access token, encrypted"),
    Column("key_id", Text, nullable=False, comment="which key it was encrypted with"),
    Column("expires", Milliseconds, nullable=False),
    Column("created", Milliseconds, nullable=False),
    Column("last_modified", Milliseconds, nullable=False),
    Column("last_date_used", Milliseconds, nullable=False),
    Column("last_rotated", Milliseconds, nullable=False),
    Column("disabled", SmallInteger, nullable=False),
    Column("delete_on_expiration", SmallInteger, nullable=False),
)
Index(
    "clients_expires",
    clients.c.expires,
    sqlite_where=text(DELETED_ON_EXPIRATION),
    postgresql_where=text(DELETED_ON_EXPIRATION),
)

roles = Table(
    "roles",
    metadata,
    Column("role_id", Id, primary_key=True),
    Column("scopes", Text, nullable=False, comment="JSON array, sorted"),
    Column("description", Text, nullable=False),
    Column("created", Milliseconds, nullable=False),
    Column("last_modified", Milliseconds, nullable=False),
)


# ---- workers -----------------------------------------------------------------------------------------

task_queues = Table(
    "task_queues",
    metadata,
    Column("task_queue_id", Id, primary_key=True),
    Column("provisioner_id", Id, nullable=False),
    Column("last_date_active", Milliseconds, nullable=False),
    Column("expires", Milliseconds, nullable=False, index=True),
    Column("paused_at", Milliseconds, comment="since when it hands out no work"),
    Column("limits", Text, comment="JSON object: how much of its work may be under way, in which order"),
)
Index("task_queues_provisioner", task_queues.c.provisioner_id, task_queues.c.task_queue_id)

task_lanes = Table(
    "task_lanes",
    metadata,
    Column("task_queue_id", Id, primary_key=True),
    Column("lane", Id, primary_key=True, comment="JSON array: what its runs count against"),
    Column("priority", SmallInteger, nullable=False, comment="at least as urgent as any run in it"),
    Column("turn", BigInteger, nullable=False, comment="age of its last claim, or of its first run"),
    Column("shut_until", Milliseconds, nullable=False, comment="nobody looks into it before"),
)
Index(
    "task_lanes_turn",
    task_lanes.c.task_queue_id,
    task_lanes.c.priority,
    task_lanes.c.turn,
    task_lanes.c.shut_until,
)

run_slots = Table(
    "run_slots",
    metadata,
    Column("task_queue_id", Id, primary_key=True),
    Column("bucket", Id, primary_key=True, comment="JSON array: which limit, for which key"),
    Column("task_id", Id, primary_key=True, comment="holds the slot while its run is running, and no longer"),
)

rate_buckets = Table(
    "rate_buckets",
    metadata,
    Column("task_queue_id", Id, primary_key=True),
    Column("bucket", Id, primary_key=True, comment="JSON array: which limit, for which key"),
    Column("spent", BigInteger, nullable=False, comment="tokens that were missing then, times `per`"),
    Column("counted_at", Milliseconds, nullable=False),
    Column("full_at", Milliseconds, nullable=False, index=True, comment="from then on nothing is missing"),
)

workers = Table(
    "workers",
    metadata,
    Column("task_queue_id", Id, primary_key=True),
    Column("worker_group", Id, primary_key=True),
    Column("worker_id", Id, primary_key=True),
    Column("first_claim", Milliseconds, nullable=False),
    Column("last_date_active", Milliseconds, nullable=False),
    Column("expires", Milliseconds, nullable=False, index=True),
    Column("recent_tasks", Text, nullable=False, comment="JSON array, oldest first"),
    Column("quarantine_until", Milliseconds),
    Column("quarantine_details", Text, nullable=False, comment="JSON array, who asked for it and why"),
)
Index(
    "workers_quarantined",
    workers.c.quarantine_until,
    sqlite_where=text(EVER_QUARANTINED),
    postgresql_where=text(EVER_QUARANTINED),
)


# ---- artifacts ---------------------------------------------------------------------------------------

artifacts = Table(
    "artifacts",
    metadata,
    Column("task_id", Id, primary_key=True),
    Column("run_id", Integer, primary_key=True, autoincrement=False),
    Column("name", Id, primary_key=True),
    Column("storage_type", Text, nullable=False),
    Column("details", Text, nullable=False, comment="JSON object: what its storage type knows of it"),
    Column("content_type", Text, nullable=False),
    Column("content_length", BigInteger, comment="as announced, never compared"),
    Column("expires", Milliseconds, nullable=False, index=True),
    Column("present", SmallInteger, nullable=False, comment="whether readers see it"),
)

objects = Table(
    "objects",
    metadata,
    Column("name", Id, primary_key=True),
    Column("project_id", Text, nullable=False),
    Column("upload_id", Id, nullable=False),
    Column("expires", Milliseconds, nullable=False),
    Column("key", Text, nullable=False, comment="of the bytes in the blob store"),
    Column("upload_until", Milliseconds, nullable=False, comment="when the last upload URL ends"),
    Column("kept_until", Milliseconds, nullable=False, index=True, comment="sooner while unfinished"),
    Column("hashes", Text, nullable=False, comment="JSON object: hexadecimal digests by algorithm"),
    Column("finished", SmallInteger, nullable=False),
)

blob_deletions = Table(
    "blob_deletions",
    metadata,
    Column("key", Id, primary_key=True, comment="of bytes whose record is gone; never used again"),
    Column("due", Milliseconds, nullable=False, index=True),
)


# ---- index and purge-cache ---------------------------------------------------------------------------

indexed_tasks = Table(
    "indexed_tasks",
    metadata,
    Column("namespace", Id, primary_key=True, comment="the path without its last word"),
    Column("name", Id, primary_key=True, comment="the last word of the path"),
    Column("task_id", Id, nullable=False),
    Column("rank", Double, nullable=False),
    Column("data", Text, nullable=False, comment="JSON object"),
    Column("expires", Milliseconds, nullable=False, index=True),
)

index_namespaces = Table(
    "index_namespaces",
    metadata,
    Column("parent", Id, primary_key=True),
    Column("name", Id, primary_key=True),
    Column("expires", Milliseconds, nullable=False, index=True, comment="not before what is in it"),
)

purge_requests = Table(
    "purge_requests",
    metadata,
    Column("worker_pool_id", Id, primary_key=True),
    Column("cache_name", Id, primary_key=True),
    Column("before", Milliseconds, nullable=False),
    Column("expires", Milliseconds, nullable=False, index=True),
)
