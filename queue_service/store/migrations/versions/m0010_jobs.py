"""Types of jobs, their steps and their events."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
IDENTITY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
STATE_EVENT = sa.text("event = 'state'")


def upgrade() -> None:
    op.create_table(
        "job_types",
        sa.Column("type", ID, nullable=False),
        sa.Column(
            "version", sa.Integer(), autoincrement=False, nullable=False, comment="counts the replacements"
        ),
        sa.Column(
            "definition", sa.Text(), nullable=False, comment="JSON object as it was sent, defaults filled"
        ),
        sa.Column("registered", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("type", "version"),
    )
    op.create_table(
        "job_type_names",
        sa.Column("name", ID, nullable=False, comment="the type itself, or one of its aliases"),
        sa.Column("type", ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False, comment="that new jobs get"),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_index(op.f("ix_job_type_names_type"), "job_type_names", ["type"], unique=False)
    op.create_table(
        "jobs",
        sa.Column("task_id", ID, nullable=False, comment="the job's id"),
        sa.Column("type", ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False, comment="of the type, when the job was submitted"),
        sa.Column("env_id", ID, nullable=True),
        sa.Column(
            "digest",
            sa.Text(),
            nullable=False,
            comment="of what was submitted: tells a repeat from another job",
        ),
        sa.Column("secrets", sa.Text(), nullable=True, comment="the secret parameters, encrypted"),
        sa.Column(
            "any_order", sa.SmallInteger(), nullable=False, comment="whether its steps may run in any order"
        ),
        sa.Column(
            "resumable",
            sa.SmallInteger(),
            nullable=False,
            comment="whether a new run keeps the steps that are done",
        ),
        sa.Column("steps", sa.Text(), nullable=False, comment="JSON array"),
        sa.Column(
            "progress",
            sa.Text(),
            nullable=True,
            comment="JSON object as on the wire: the last that was reported",
        ),
        sa.Column("cursor", sa.Text(), nullable=True, comment="JSON value: where the step under way got to"),
        sa.Column(
            "cancel_reason",
            sa.Text(),
            nullable=True,
            comment="JSON string: what the caller said who cancelled it",
        ),
        sa.Column("noted", sa.BigInteger(), nullable=True, comment="when progress was last an event"),
        sa.Column("told", sa.BigInteger(), nullable=True, comment="when progress was last a message"),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False, comment="of the task"),
        sa.PrimaryKeyConstraint("task_id"),
    )
    op.create_index(op.f("ix_jobs_expires"), "jobs", ["expires"], unique=False)
    op.create_index("jobs_created", "jobs", ["created", "task_id"], unique=False)
    op.create_index("jobs_of_type", "jobs", ["type", "created", "task_id"], unique=False)
    op.create_table(
        "job_events",
        sa.Column(
            "id", IDENTITY, autoincrement=True, nullable=False, comment="counts the events of all jobs"
        ),
        sa.Column("task_id", ID, nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False, comment="counts the events of the job from 1"),
        sa.Column("event", sa.Text(), nullable=False, comment="'state', 'step', 'progress', 'log' or 'end'"),
        sa.Column("data", sa.Text(), nullable=False, comment="JSON object as on the wire"),
        sa.Column("type", ID, nullable=False, comment="of the job"),
        sa.Column("state", sa.Text(), nullable=False, comment="of the job then"),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("job_events_of_job", "job_events", ["task_id", "sequence"], unique=True)
    op.create_index(
        "job_events_state", "job_events", ["id"], sqlite_where=STATE_EVENT, postgresql_where=STATE_EVENT
    )


def downgrade() -> None:
    for table in ("job_events", "jobs", "job_type_names", "job_types"):
        op.drop_table(table)
