"""Task queues and workers as they were last seen; which worker has a running run.

Runs that are running at the time of the upgrade get their ``worker`` when they are reclaimed.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
PENDING = sa.text("state = 'pending'")
RUNNING = sa.text("state = 'running'")
EVER_QUARANTINED = sa.text("quarantine_until IS NOT NULL")


def upgrade() -> None:
    op.create_table(
        "task_queues",
        sa.Column("task_queue_id", ID, nullable=False),
        sa.Column("provisioner_id", ID, nullable=False),
        sa.Column("last_date_active", sa.BigInteger(), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("task_queue_id"),
    )
    op.create_index(op.f("ix_task_queues_expires"), "task_queues", ["expires"], unique=False)
    op.create_index(
        "task_queues_provisioner", "task_queues", ["provisioner_id", "task_queue_id"], unique=False
    )
    op.create_table(
        "workers",
        sa.Column("task_queue_id", ID, nullable=False),
        sa.Column("worker_group", ID, nullable=False),
        sa.Column("worker_id", ID, nullable=False),
        sa.Column("first_claim", sa.BigInteger(), nullable=False),
        sa.Column("last_date_active", sa.BigInteger(), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.Column("recent_tasks", sa.Text(), nullable=False, comment="JSON array, oldest first"),
        sa.Column("quarantine_until", sa.BigInteger(), nullable=True),
        sa.Column(
            "quarantine_details",
            sa.Text(),
            nullable=False,
            comment="JSON array, who asked for it and why",
        ),
        sa.PrimaryKeyConstraint("task_queue_id", "worker_group", "worker_id"),
    )
    op.create_index(op.f("ix_workers_expires"), "workers", ["expires"], unique=False)
    op.create_index(
        "workers_quarantined",
        "workers",
        ["quarantine_until"],
        unique=False,
        sqlite_where=EVER_QUARANTINED,
        postgresql_where=EVER_QUARANTINED,
    )
    op.add_column(
        "tasks",
        sa.Column("worker", ID, nullable=True, comment="<workerGroup>/<workerId> that has the running run"),
    )
    op.create_index(
        "tasks_claimed",
        "tasks",
        ["task_queue_id", "worker", "queue_order", "taken_until"],
        unique=False,
        sqlite_where=RUNNING,
        postgresql_where=RUNNING,
    )
    _index_pending("task_queue_id", "priority", "queue_order", "deadline")


def downgrade() -> None:
    _index_pending("task_queue_id", "priority", "queue_order")
    op.drop_index("tasks_claimed", table_name="tasks")
    op.drop_column("tasks", "worker")
    op.drop_index("workers_quarantined", table_name="workers")
    op.drop_index(op.f("ix_workers_expires"), table_name="workers")
    op.drop_table("workers")
    op.drop_index("task_queues_provisioner", table_name="task_queues")
    op.drop_index(op.f("ix_task_queues_expires"), table_name="task_queues")
    op.drop_table("task_queues")


def _index_pending(*columns: str) -> None:
    """With the deadline in it, the index alone tells how many runs wait."""
    op.drop_index("tasks_pending", table_name="tasks")
    op.create_index(
        "tasks_pending",
        "tasks",
        list(columns),
        unique=False,
        sqlite_where=PENDING,
        postgresql_where=PENDING,
    )
