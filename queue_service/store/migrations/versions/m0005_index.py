"""The index of tasks, and requests to purge caches."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "indexed_tasks",
        sa.Column("namespace", ID, nullable=False, comment="the path without its last word"),
        sa.Column("name", ID, nullable=False, comment="the last word of the path"),
        sa.Column("task_id", ID, nullable=False),
        sa.Column("rank", sa.Double(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False, comment="JSON object"),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("namespace", "name"),
    )
    op.create_index(op.f("ix_indexed_tasks_expires"), "indexed_tasks", ["expires"], unique=False)
    op.create_table(
        "index_namespaces",
        sa.Column("parent", ID, nullable=False),
        sa.Column("name", ID, nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False, comment="not before what is in it"),
        sa.PrimaryKeyConstraint("parent", "name"),
    )
    op.create_index(op.f("ix_index_namespaces_expires"), "index_namespaces", ["expires"], unique=False)
    op.create_table(
        "purge_requests",
        sa.Column("worker_pool_id", ID, nullable=False),
        sa.Column("cache_name", ID, nullable=False),
        sa.Column("before", sa.BigInteger(), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("worker_pool_id", "cache_name"),
    )
    op.create_index(op.f("ix_purge_requests_expires"), "purge_requests", ["expires"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_purge_requests_expires"), table_name="purge_requests")
    op.drop_table("purge_requests")
    op.drop_index(op.f("ix_index_namespaces_expires"), table_name="index_namespaces")
    op.drop_table("index_namespaces")
    op.drop_index(op.f("ix_indexed_tasks_expires"), table_name="indexed_tasks")
    op.drop_table("indexed_tasks")
