"""Pauses, limits and shares of task queues."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
WAITING = sa.text("state = 'pending' AND available_at IS NULL")
PENDING = sa.text("state = 'pending' AND available_at IS NULL AND lane = ''")
IN_LANE = sa.text("state = 'pending' AND available_at IS NULL AND lane <> ''")
IN_ANY_LANE = sa.text("state = 'pending' AND available_at IS NULL AND lane > ''")


def upgrade() -> None:
    op.add_column(
        "task_queues", sa.Column("paused_at", sa.BigInteger(), comment="since when it hands out no work")
    )
    op.add_column(
        "task_queues",
        sa.Column(
            "limits",
            sa.Text(),
            comment="JSON object: how much of its work may be under way, in which order",
        ),
    )
    op.add_column(
        "tasks",
        sa.Column(
            "lane",
            ID,
            server_default=sa.text("''"),
            nullable=False,
            comment="its runs wait there; '' when no limit by key",
        ),
    )
    _index_pending(PENDING)
    op.create_index(
        "tasks_in_lane",
        "tasks",
        ["task_queue_id", "lane", "priority", "queue_order", "deadline"],
        unique=False,
        sqlite_where=IN_LANE,
        postgresql_where=IN_LANE,
    )
    op.create_index(
        "tasks_in_lanes",
        "tasks",
        ["task_queue_id", "priority", "queue_order", "deadline"],
        unique=False,
        sqlite_where=IN_ANY_LANE,
        postgresql_where=IN_ANY_LANE,
    )
    op.create_table(
        "task_lanes",
        sa.Column("task_queue_id", ID, nullable=False),
        sa.Column("lane", ID, nullable=False, comment="JSON array: what its runs count against"),
        sa.Column(
            "priority", sa.SmallInteger(), nullable=False, comment="at least as urgent as any run in it"
        ),
        sa.Column(
            "turn", sa.BigInteger(), nullable=False, comment="age of its last claim, or of its first run"
        ),
        sa.Column("shut_until", sa.BigInteger(), nullable=False, comment="nobody looks into it before"),
        sa.PrimaryKeyConstraint("task_queue_id", "lane"),
    )
    op.create_index(
        "task_lanes_turn", "task_lanes", ["task_queue_id", "priority", "turn", "shut_until"], unique=False
    )
    op.create_table(
        "run_slots",
        sa.Column("task_queue_id", ID, nullable=False),
        sa.Column("bucket", ID, nullable=False, comment="JSON array: which limit, for which key"),
        sa.Column(
            "task_id", ID, nullable=False, comment="holds the slot while its run is running, and no longer"
        ),
        sa.PrimaryKeyConstraint("task_queue_id", "bucket", "task_id"),
    )
    op.create_table(
        "rate_buckets",
        sa.Column("task_queue_id", ID, nullable=False),
        sa.Column("bucket", ID, nullable=False, comment="JSON array: which limit, for which key"),
        sa.Column(
            "spent", sa.BigInteger(), nullable=False, comment="tokens that were missing then, times `per`"
        ),
        sa.Column("counted_at", sa.BigInteger(), nullable=False),
        sa.Column("full_at", sa.BigInteger(), nullable=False, comment="from then on nothing is missing"),
        sa.PrimaryKeyConstraint("task_queue_id", "bucket"),
    )
    op.create_index(op.f("ix_rate_buckets_full_at"), "rate_buckets", ["full_at"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_rate_buckets_full_at"), table_name="rate_buckets")
    op.drop_table("rate_buckets")
    op.drop_table("run_slots")
    op.drop_index("task_lanes_turn", table_name="task_lanes")
    op.drop_table("task_lanes")
    op.drop_index("tasks_in_lanes", table_name="tasks")
    op.drop_index("tasks_in_lane", table_name="tasks")
    _index_pending(WAITING)
    op.drop_column("tasks", "lane")
    op.drop_column("task_queues", "limits")
    op.drop_column("task_queues", "paused_at")


def _index_pending(condition: sa.TextClause) -> None:
    op.drop_index("tasks_pending", table_name="tasks")
    op.create_index(
        "tasks_pending",
        "tasks",
        ["task_queue_id", "priority", "queue_order", "deadline"],
        unique=False,
        sqlite_where=condition,
        postgresql_where=condition,
    )
