"""Artifacts, the objects of the object service, and bytes that are to be deleted."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "artifacts",
        sa.Column("task_id", ID, nullable=False),
        sa.Column("run_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", ID, nullable=False),
        sa.Column("storage_type", sa.Text(), nullable=False),
        sa.Column(
            "details", sa.Text(), nullable=False, comment="JSON object: what its storage type knows of it"
        ),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("content_length", sa.BigInteger(), nullable=True, comment="as announced, never compared"),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.Column("present", sa.SmallInteger(), nullable=False, comment="whether readers see it"),
        sa.PrimaryKeyConstraint("task_id", "run_id", "name"),
    )
    op.create_index(op.f("ix_artifacts_expires"), "artifacts", ["expires"], unique=False)
    op.create_table(
        "objects",
        sa.Column("name", ID, nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("upload_id", ID, nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False, comment="of the bytes in the blob store"),
        sa.Column("upload_until", sa.BigInteger(), nullable=False, comment="when the last upload URL ends"),
        sa.Column("kept_until", sa.BigInteger(), nullable=False, comment="sooner while unfinished"),
        sa.Column(
            "hashes",
            sa.Text(),
            nullable=False,
            comment="JSON object: hexadecimal digests by algorithm",
        ),
        sa.Column("finished", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_index(op.f("ix_objects_kept_until"), "objects", ["kept_until"], unique=False)
    op.create_table(
        "blob_deletions",
        sa.Column("key", ID, nullable=False, comment="of bytes whose record is gone; never used again"),
        sa.Column("due", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_index(op.f("ix_blob_deletions_due"), "blob_deletions", ["due"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_blob_deletions_due"), table_name="blob_deletions")
    op.drop_table("blob_deletions")
    op.drop_index(op.f("ix_objects_kept_until"), table_name="objects")
    op.drop_table("objects")
    op.drop_index(op.f("ix_artifacts_expires"), table_name="artifacts")
    op.drop_table("artifacts")
