"""Messages that the broker refuses are set aside, so that they do not hold up the others."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "outbox",
        sa.Column(
            "set_aside",
            sa.BigInteger(),
            nullable=False,
            server_default="0",
            comment="when it was last refused, or stood behind one that was; 0 for one that may be sent",
        ),
    )
    op.create_index("outbox_lanes", "outbox", ["set_aside", "id"])
    op.create_table(
        "outbox_barriers",
        sa.Column("order_key", sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=False),
        sa.Column("exclusive", sa.SmallInteger(), nullable=False),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False, comment="of the outbox"),
        sa.PrimaryKeyConstraint("order_key", "exclusive", "id"),
    )
    op.create_index("outbox_barriers_of_row", "outbox_barriers", ["id"])


def downgrade() -> None:
    op.drop_table("outbox_barriers")
    op.drop_index("outbox_lanes", "outbox")
    op.drop_column("outbox", "set_aside")
