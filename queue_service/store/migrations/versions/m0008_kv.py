"""Values by key, and worksets."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
EXPIRING = sa.text("expires IS NOT NULL")
LIVING = sa.text("doomed = 0")
DOOMED = sa.text("doomed = 1")
LEASED = sa.text("lease_id IS NOT NULL")


def upgrade() -> None:
    op.create_table(
        "kv_namespaces",
        sa.Column("namespace", ID, nullable=False, comment="<tenant>:<namespace>"),
        sa.Column(
            "version",
            sa.BigInteger(),
            nullable=False,
            comment="of the last write; its lock orders all writes",
        ),
        sa.PrimaryKeyConstraint("namespace"),
    )
    op.create_table(
        "kv_entries",
        sa.Column("namespace", ID, nullable=False),
        sa.Column("key", ID, nullable=False),
        sa.Column("value", sa.Text(), nullable=False, comment="JSON text, or the raw string"),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False, comment="bytes of the value"),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("updated", sa.BigInteger(), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("namespace", "key"),
    )
    _index("kv_entries_expiring", "kv_entries", ["expires"], EXPIRING)
    op.create_table(
        "worksets",
        sa.Column("namespace", ID, nullable=False),
        sa.Column("name", ID, nullable=False),
        sa.Column("max_deliveries", sa.Integer(), nullable=False, comment="0 is for ever"),
        sa.PrimaryKeyConstraint("namespace", "name"),
    )
    op.create_table(
        "workset_members",
        sa.Column("namespace", ID, nullable=False),
        sa.Column("set_name", ID, nullable=False),
        sa.Column("member_id", ID, nullable=False),
        sa.Column(
            "priority",
            sa.SmallInteger(),
            nullable=False,
            comment="place in PRIORITIES, 0 is the most urgent",
        ),
        sa.Column("available_at", sa.BigInteger(), nullable=False, comment="when a pop may take it"),
        sa.Column("place", sa.BigInteger(), nullable=False, comment="order of insertion"),
        sa.Column("payload", sa.Text(), nullable=True, comment="JSON text"),
        sa.Column("size", sa.Integer(), nullable=False, comment="bytes of the payload"),
        sa.Column("deliveries", sa.Integer(), nullable=False),
        sa.Column(
            "token",
            sa.BigInteger(),
            nullable=False,
            comment="of the last delivery, larger than all before",
        ),
        sa.Column("lease_id", ID, nullable=True, comment="of the last delivery, until it is nacked"),
        sa.Column(
            "doomed",
            sa.SmallInteger(),
            nullable=False,
            comment="whether the delivery under way is the last",
        ),
        sa.Column(
            "again", sa.Text(), nullable=True, comment="JSON object: what was added while it was leased"
        ),
        sa.Column("error", sa.Text(), nullable=True, comment="why the last delivery was not acked"),
        sa.PrimaryKeyConstraint("namespace", "set_name", "member_id"),
    )
    _index(
        "workset_members_order",
        "workset_members",
        ["namespace", "set_name", "priority", "available_at", "place"],
        LIVING,
    )
    _index("workset_members_doomed", "workset_members", ["available_at"], DOOMED)
    _index("workset_members_leased", "workset_members", ["lease_id", "member_id"], LEASED)
    op.create_table(
        "workset_leases",
        sa.Column("lease_id", ID, nullable=False),
        sa.Column("namespace", ID, nullable=False),
        sa.Column("set_name", ID, nullable=False),
        sa.Column("ack_mode", sa.Text(), nullable=False),
        sa.Column("consumer", sa.Text(), nullable=True),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.Column("remaining", sa.Integer(), nullable=False, comment="members that it still has"),
        sa.Column("outcome", sa.Text(), nullable=True, comment="how it ended: 'acked' or 'nacked'"),
        sa.PrimaryKeyConstraint("lease_id"),
    )
    op.create_index(op.f("ix_workset_leases_expires"), "workset_leases", ["expires"], unique=False)


def downgrade() -> None:
    for table in ("workset_leases", "workset_members", "worksets", "kv_entries", "kv_namespaces"):
        op.drop_table(table)


def _index(name: str, table: str, columns: list[str], where: sa.TextClause) -> None:
    op.create_index(name, table, columns, unique=False, sqlite_where=where, postgresql_where=where)
