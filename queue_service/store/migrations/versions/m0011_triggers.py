"""Hooks, their queues and their firings."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
IDENTITY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
SCHEDULED = sa.text("next_date IS NOT NULL")
FROM_MESSAGE = sa.text("message IS NOT NULL")


def upgrade() -> None:
    op.create_table(
        "hooks",
        sa.Column("hook_group_id", ID, nullable=False),
        sa.Column("hook_id", ID, nullable=False),
        sa.Column("definition", sa.Text(), nullable=False, comment="JSON as it was sent, defaults filled"),
        sa.Column("trigger_token", sa.Text(), nullable=False, comment="secret"),
        sa.Column(
            "next_task_id", ID, nullable=False, comment="secret: of the task that the schedule creates next"
        ),
        sa.Column("next_date", sa.BigInteger(), comment="when that is; NULL without a schedule"),
        sa.PrimaryKeyConstraint("hook_group_id", "hook_id"),
    )
    op.create_index(
        "hooks_scheduled", "hooks", ["next_date"], sqlite_where=SCHEDULED, postgresql_where=SCHEDULED
    )
    op.create_table(
        "hook_queues",
        sa.Column("hook_group_id", ID, nullable=False),
        sa.Column("hook_id", ID, nullable=False),
        sa.Column("bindings", sa.Text(), nullable=False, comment="JSON: what its queue is bound to now"),
        sa.PrimaryKeyConstraint("hook_group_id", "hook_id"),
    )
    op.create_table(
        "hook_fires",
        sa.Column("id", IDENTITY, nullable=False, autoincrement=True),
        sa.Column("hook_group_id", ID, nullable=False),
        sa.Column("hook_id", ID, nullable=False),
        sa.Column("fired_by", sa.Text(), nullable=False),
        sa.Column("task_id", ID, nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False, comment="empty when the task was created"),
        sa.Column("message", ID, comment="exchange and message-id, of a message that fired it"),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_hook_fires_created"), "hook_fires", ["created"], unique=False)
    op.create_index("hook_fires_of_hook", "hook_fires", ["hook_group_id", "hook_id", "id"], unique=False)
    op.create_index(
        "hook_fires_message",
        "hook_fires",
        ["hook_group_id", "hook_id", "message"],
        unique=True,
        sqlite_where=FROM_MESSAGE,
        postgresql_where=FROM_MESSAGE,
    )


def downgrade() -> None:
    op.drop_table("hook_fires")
    op.drop_table("hook_queues")
    op.drop_table("hooks")
