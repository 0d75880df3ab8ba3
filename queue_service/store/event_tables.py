"""The tables of the log of events (``event_log.py``)."""

from sqlalchemy import BigInteger, Column, SmallInteger, Table, Text

from queue_service.store.tables import metadata
from queue_service.store.types import Identity, Milliseconds

event_log = Table(
    "event_log",
    metadata,
    Column("position", Identity, primary_key=True, autoincrement=False, comment="counts without gaps"),
    Column("message_id", BigInteger, nullable=False, comment="of the outbox"),
    Column("exchange", Text, nullable=False),
    Column("routing_key", Text, nullable=False),
    Column("cc", Text, nullable=False, comment="JSON array of further routing keys"),
    Column("body", Text, nullable=False),
    Column("logged", Milliseconds, nullable=False),
)

event_log_state = Table(
    "event_log_state",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False, comment="always 1"),
    Column("position", BigInteger, nullable=False, comment="of the last event"),
    Column("floor", BigInteger, nullable=False, comment="all events after this position are there"),
    Column("kept_until", Milliseconds, comment="when keeping ends unless renewed; null while none are kept"),
)
