"""The log of events that streams read."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "event_log",
        sa.Column(
            "position",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
            comment="counts without gaps",
        ),
        sa.Column("message_id", sa.BigInteger(), nullable=False, comment="of the outbox"),
        sa.Column("exchange", sa.Text(), nullable=False),
        sa.Column("routing_key", sa.Text(), nullable=False),
        sa.Column("cc", sa.Text(), nullable=False, comment="JSON array of further routing keys"),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("logged", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("position"),
    )
    op.create_table(
        "event_log_state",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False, comment="always 1"),
        sa.Column("position", sa.BigInteger(), nullable=False, comment="of the last event"),
        sa.Column(
            "floor", sa.BigInteger(), nullable=False, comment="all events after this position are there"
        ),
        sa.Column(
            "kept_until",
            sa.BigInteger(),
            nullable=True,
            comment="when keeping ends unless renewed; null while none are kept",
        ),
        sa.PrimaryKeyConstraint("id"),
    )


def downgrade() -> None:
    # Rows in the log have a lane of their own in the outbox, which an older program does not know.
    op.execute("UPDATE outbox SET set_aside = 0 WHERE set_aside < 0")
    op.drop_table("event_log_state")
    op.drop_table("event_log")
