"""Triggers, their queues and their firings."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
DUE = sa.text("due_at IS NOT NULL")
LISTENING = sa.text("listens > 0")


def upgrade() -> None:
    op.create_table(
        "triggers",
        sa.Column("group_id", ID, nullable=False),
        sa.Column("trigger_id", ID, nullable=False),
        sa.Column("definition", sa.Text(), nullable=False, comment="JSON as it was sent, defaults filled"),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False, comment="intervals are counted from here"),
        sa.Column("offset_ms", sa.BigInteger(), nullable=False, comment="drawn once, added to each tick"),
        sa.Column("next_tick", sa.BigInteger(), comment="the first tick that was not looked at"),
        sa.Column("waiting", sa.BigInteger(), comment="a tick that fires as soon as it may"),
        sa.Column("due_at", sa.BigInteger(), comment="when it must be looked at; NULL for never"),
        sa.Column(
            "listens",
            sa.SmallInteger(),
            nullable=False,
            comment="1: messages fire it; 2: it drains a workset",
        ),
        sa.Column("progress", sa.Text(), nullable=False, comment="JSON: open ranges, unfinished tasks"),
        sa.Column("fires", sa.BigInteger(), nullable=False, comment="number of the last firing"),
        sa.Column("counted", sa.BigInteger(), nullable=False, comment="firings that count for its limit"),
        sa.Column("version", sa.Integer(), nullable=False, comment="of the row"),
        sa.PrimaryKeyConstraint("group_id", "trigger_id"),
    )
    op.create_index("triggers_due", "triggers", ["due_at"], sqlite_where=DUE, postgresql_where=DUE)
    op.create_index(
        "triggers_listening",
        "triggers",
        ["group_id", "trigger_id"],
        sqlite_where=LISTENING,
        postgresql_where=LISTENING,
    )
    op.create_table(
        "trigger_queues",
        sa.Column("group_id", ID, nullable=False),
        sa.Column("trigger_id", ID, nullable=False),
        sa.Column("bindings", sa.Text(), nullable=False, comment="JSON: what its queue is bound to now"),
        sa.PrimaryKeyConstraint("group_id", "trigger_id"),
    )
    op.create_table(
        "trigger_fires",
        sa.Column("group_id", ID, nullable=False),
        sa.Column("trigger_id", ID, nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("occasion", ID, nullable=False, comment="the tick, the message: what fires only once"),
        sa.Column("fired_by", sa.Text(), nullable=False),
        sa.Column("task_id", ID, nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("scheduled_for", sa.BigInteger()),
        sa.Column("window_from", sa.BigInteger()),
        sa.Column("window_to", sa.BigInteger()),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), comment="why there is no task"),
        sa.Column("lease_id", ID, comment="of the batch that the task works on"),
        sa.PrimaryKeyConstraint("group_id", "trigger_id", "number"),
    )
    op.create_index(op.f("ix_trigger_fires_task_id"), "trigger_fires", ["task_id"], unique=False)
    op.create_index(
        "trigger_fires_occasion", "trigger_fires", ["occasion", "group_id", "trigger_id"], unique=True
    )


def downgrade() -> None:
    op.drop_table("trigger_fires")
    op.drop_table("trigger_queues")
    op.drop_table("triggers")
