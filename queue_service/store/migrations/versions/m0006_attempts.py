"""Attempts, their errors and delays."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
WAITING = sa.text("state = 'pending'")
PENDING = sa.text("state = 'pending' AND available_at IS NULL")
DELAYED = sa.text("available_at IS NOT NULL")


def upgrade() -> None:
    op.add_column(
        "tasks",
        sa.Column(
            "available_at",
            sa.BigInteger(),
            comment="no claim gives it away before; None when nothing delays it",
        ),
    )
    op.add_column(
        "tasks", sa.Column("extras", sa.Text(), comment="JSON object: what it has beyond a plain task")
    )
    _index_pending(PENDING)
    op.create_index(
        "tasks_delayed",
        "tasks",
        ["available_at", "queue_order"],
        unique=False,
        sqlite_where=DELAYED,
        postgresql_where=DELAYED,
    )
    op.create_index(
        "tasks_delayed_in_queue",
        "tasks",
        ["task_queue_id", "available_at", "queue_order"],
        unique=False,
        sqlite_where=DELAYED,
        postgresql_where=DELAYED,
    )
    op.create_table(
        "attempt_errors",
        sa.Column("task_id", ID, nullable=False),
        sa.Column(
            "run_id",
            sa.Integer(),
            autoincrement=False,
            nullable=False,
            comment="a run ends with one at most",
        ),
        sa.Column("error", sa.Text(), nullable=False, comment="JSON object as on the wire"),
        sa.PrimaryKeyConstraint("task_id", "run_id"),
    )
    op.create_table(
        "task_outputs",
        sa.Column("task_id", ID, nullable=False),
        sa.Column("output", sa.Text(), nullable=False, comment="JSON value"),
        sa.PrimaryKeyConstraint("task_id"),
    )


def downgrade() -> None:
    op.drop_table("task_outputs")
    op.drop_table("attempt_errors")
    op.drop_index("tasks_delayed_in_queue", table_name="tasks")
    op.drop_index("tasks_delayed", table_name="tasks")
    _index_pending(WAITING)
    op.drop_column("tasks", "extras")
    op.drop_column("tasks", "available_at")


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
