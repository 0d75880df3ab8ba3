"""Keys of unique tasks; since when a task is in its state; the group of a task that ended and is deleted."""

import json
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
HOLDS_KEY = sa.text("unique_key IS NOT NULL")
LETS_GO = sa.text("unique_until IS NOT NULL")
BATCH = 1000
"""Rows read and written at a time."""


def upgrade() -> None:
    op.add_column("tasks", sa.Column("unique_key", ID, comment="no other task of its project may hold it"))
    op.add_column(
        "tasks",
        sa.Column("unique_until", sa.BigInteger(), comment="when a task that has ended lets go of its key"),
    )
    op.add_column(
        "tasks",
        sa.Column(
            "since",
            sa.BigInteger(),
            server_default="0",
            nullable=False,
            comment="when it got into its state",
        ),
    )
    op.create_index(
        "tasks_unique",
        "tasks",
        ["unique_key", "project_id"],
        unique=True,
        sqlite_where=HOLDS_KEY,
        postgresql_where=HOLDS_KEY,
    )
    op.create_index(
        "tasks_letting_go",
        "tasks",
        ["unique_until"],
        unique=False,
        sqlite_where=LETS_GO,
        postgresql_where=LETS_GO,
    )
    op.add_column(
        "resolutions",
        sa.Column("task_group_id", ID, comment="its group; the task may be deleted meanwhile"),
    )
    _tell_since(op.get_bind())
    op.create_index("tasks_since", "tasks", ["state", "since", "task_id"], unique=False)


def downgrade() -> None:
    op.drop_index("tasks_since", table_name="tasks")
    op.drop_column("resolutions", "task_group_id")
    op.drop_index("tasks_letting_go", table_name="tasks")
    op.drop_index("tasks_unique", table_name="tasks")
    op.drop_column("tasks", "since")
    op.drop_column("tasks", "unique_until")
    op.drop_column("tasks", "unique_key")


def _tell_since(connection: sa.Connection) -> None:
    """Of the tasks that are there already, by their last run; one without a run stays at 1970."""
    page = sa.text("SELECT task_id, runs FROM tasks WHERE task_id > :after ORDER BY task_id LIMIT :wanted")
    write = sa.text("UPDATE tasks SET since = :since WHERE task_id = :task_id")
    after = ""
    while rows := connection.execute(page, {"after": after, "wanted": BATCH}).all():
        connection.execute(
            write, [{"task_id": row.task_id, "since": _since(json.loads(row.runs))} for row in rows]
        )
        after = rows[-1].task_id


def _since(runs: list[dict[str, Any]]) -> int:
    if not runs:
        return 0
    last = runs[-1]
    moment = last.get("resolved") or last.get("started") or last["scheduled"]
    return round(datetime.fromisoformat(moment).timestamp() * 1000)
