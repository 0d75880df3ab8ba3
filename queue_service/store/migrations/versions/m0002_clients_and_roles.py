"""Clients and roles of the auth service."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "access_state",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False, comment="always 1"),
        sa.Column(
            "generation", sa.BigInteger(), nullable=False, comment="counts the changes of clients and roles"
        ),
        sa.Column("created", sa.BigInteger(), nullable=False, comment="when the service started first"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "clients",
        sa.Column("client_id", ID, nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False, comment="JSON array"),
        sa.Column("sealed_token", sa.Text(), nullable=False, comment="the access token, encrypted"),
        sa.Column("key_id", sa.Text(), nullable=False, comment="which key it was encrypted with"),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("last_modified", sa.BigInteger(), nullable=False),
        sa.Column("last_date_used", sa.BigInteger(), nullable=False),
        sa.Column("last_rotated", sa.BigInteger(), nullable=False),
        sa.Column("disabled", sa.SmallInteger(), nullable=False),
        sa.Column("delete_on_expiration", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("client_id"),
    )
    op.create_index(
        "clients_expires",
        "clients",
        ["expires"],
        unique=False,
        sqlite_where=sa.text("delete_on_expiration = 1"),
        postgresql_where=sa.text("delete_on_expiration = 1"),
    )
    op.create_table(
        "roles",
        sa.Column("role_id", ID, nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False, comment="JSON array, sorted"),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("last_modified", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("role_id"),
    )


def downgrade() -> None:
    op.drop_table("roles")
    op.drop_index("clients_expires", table_name="clients")
    op.drop_table("clients")
    op.drop_table("access_state")
