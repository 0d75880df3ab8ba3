"""Gateways of attached workers, and what these take."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "work_gateways",
        sa.Column("gateway", ID, nullable=False, comment="the workerGroup of its connections"),
        sa.Column("expires", sa.BigInteger(), nullable=False, comment="unless it is renewed"),
        sa.Column(
            "descriptions", sa.Text(), nullable=False, comment="JSON array of what its connections take"
        ),
        sa.PrimaryKeyConstraint("gateway"),
    )
    op.create_index(op.f("ix_work_gateways_expires"), "work_gateways", ["expires"], unique=False)


def downgrade() -> None:
    op.drop_table("work_gateways")
