"""The first schema: tasks, groups, dependencies, the outbox and leases."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
IDENTITY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "leases",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "outbox",
        sa.Column("id", IDENTITY, autoincrement=True, nullable=False, comment="the AMQP message-id"),
        sa.Column("exchange", sa.Text(), nullable=False),
        sa.Column("routing_key", sa.Text(), nullable=False),
        sa.Column("cc", sa.Text(), nullable=False, comment="JSON array of further routing keys"),
        sa.Column(
            "order_keys",
            sa.Text(),
            nullable=False,
            comment="JSON array of keys; `~key` is a shared one",
        ),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "resolutions",
        sa.Column("id", IDENTITY, autoincrement=True, nullable=False),
        sa.Column("task_id", ID, nullable=False, comment="was resolved; dependents and group must look"),
        sa.Column(
            "state",
            sa.Text(),
            nullable=False,
            comment="it was resolved as; a rerun may have changed it since",
        ),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "task_definitions",
        sa.Column("task_id", ID, nullable=False),
        sa.Column(
            "definition", sa.Text(), nullable=False, comment="task.json; its priority is that of creation"
        ),
        sa.PrimaryKeyConstraint("task_id"),
    )
    op.create_table(
        "task_dependencies",
        sa.Column("required_task_id", ID, nullable=False),
        sa.Column("dependent_task_id", ID, nullable=False),
        sa.Column("requires", sa.Text(), nullable=False),
        sa.Column(
            "satisfied", sa.SmallInteger(), nullable=False, comment="sticky: a rerun does not take it back"
        ),
        sa.Column("expires", sa.BigInteger(), nullable=False, comment="of the dependent"),
        sa.PrimaryKeyConstraint("required_task_id", "dependent_task_id"),
    )
    op.create_index(op.f("ix_task_dependencies_expires"), "task_dependencies", ["expires"], unique=False)
    op.create_index(
        "task_dependencies_unsatisfied",
        "task_dependencies",
        ["dependent_task_id"],
        unique=False,
        sqlite_where=sa.text("satisfied = 0"),
        postgresql_where=sa.text("satisfied = 0"),
    )
    op.create_table(
        "task_groups",
        sa.Column("task_group_id", ID, nullable=False),
        sa.Column("scheduler_id", sa.Text(), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("task_group_id"),
    )
    op.create_index(op.f("ix_task_groups_expires"), "task_groups", ["expires"], unique=False)
    op.create_table(
        "tasks",
        sa.Column("task_id", ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False, comment="counts the changes; guards every update"),
        sa.Column("state", sa.Text(), nullable=False, comment="of the last run, or 'unscheduled'"),
        sa.Column("task_queue_id", ID, nullable=False),
        sa.Column("scheduler_id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("task_group_id", ID, nullable=False),
        sa.Column(
            "priority", sa.SmallInteger(), nullable=False, comment="place in PRIORITIES, 0 is the most urgent"
        ),
        sa.Column(
            "queue_order", sa.BigInteger(), nullable=True, comment="age of the pending run among its equals"
        ),
        sa.Column(
            "taken_until", sa.BigInteger(), nullable=True, comment="when the running run's claim expires"
        ),
        sa.Column("deadline", sa.BigInteger(), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.Column("requires", sa.Text(), nullable=False),
        sa.Column("retries", sa.SmallInteger(), nullable=False),
        sa.Column("retries_left", sa.SmallInteger(), nullable=False),
        sa.Column("ever_resolved", sa.SmallInteger(), nullable=False),
        sa.Column("claimed_by_id", sa.SmallInteger(), nullable=False),
        sa.Column("routes", sa.Text(), nullable=False, comment="JSON array"),
        sa.Column("tags", sa.Text(), nullable=False, comment="JSON object"),
        sa.Column("runs", sa.Text(), nullable=False, comment="JSON array of runs as on the wire"),
        sa.PrimaryKeyConstraint("task_id"),
    )
    op.create_index("tasks_expires", "tasks", ["expires"], unique=False)
    op.create_index("tasks_group", "tasks", ["task_group_id", "task_id"], unique=False)
    op.create_index(
        "tasks_group_open",
        "tasks",
        ["task_group_id"],
        unique=False,
        sqlite_where=sa.text("ever_resolved = 0"),
        postgresql_where=sa.text("ever_resolved = 0"),
    )
    op.create_index(
        "tasks_pending",
        "tasks",
        ["task_queue_id", "priority", "queue_order"],
        unique=False,
        sqlite_where=sa.text("state = 'pending'"),
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_index(
        "tasks_running",
        "tasks",
        ["taken_until"],
        unique=False,
        sqlite_where=sa.text("state = 'running'"),
        postgresql_where=sa.text("state = 'running'"),
    )
    op.create_index(
        "tasks_unresolved",
        "tasks",
        ["deadline"],
        unique=False,
        sqlite_where=sa.text("state IN ('unscheduled', 'pending', 'running')"),
        postgresql_where=sa.text("state IN ('unscheduled', 'pending', 'running')"),
    )


def downgrade() -> None:
    op.drop_index("tasks_unresolved", table_name="tasks")
    op.drop_index("tasks_running", table_name="tasks")
    op.drop_index("tasks_pending", table_name="tasks")
    op.drop_index("tasks_group_open", table_name="tasks")
    op.drop_index("tasks_group", table_name="tasks")
    op.drop_index("tasks_expires", table_name="tasks")
    op.drop_table("tasks")
    op.drop_index(op.f("ix_task_groups_expires"), table_name="task_groups")
    op.drop_table("task_groups")
    op.drop_index("task_dependencies_unsatisfied", table_name="task_dependencies")
    op.drop_index(op.f("ix_task_dependencies_expires"), table_name="task_dependencies")
    op.drop_table("task_dependencies")
    op.drop_table("task_definitions")
    op.drop_table("resolutions")
    op.drop_table("outbox")
    op.drop_table("leases")
