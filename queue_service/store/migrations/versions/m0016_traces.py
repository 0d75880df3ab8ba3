"""Messages keep the trace of the task that they tell about."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "outbox", sa.Column("traceparent", sa.Text(), comment="the trace of the task that it tells about")
    )


def downgrade() -> None:
    op.drop_column("outbox", "traceparent")
