"""The table of gateways: which processes have attached workers, and what these take."""

from sqlalchemy import Column, Table, Text

from queue_service.store.tables import metadata
from queue_service.store.types import Id, Milliseconds

work_gateways = Table(
    "work_gateways",
    metadata,
    Column("gateway", Id, primary_key=True, comment="the workerGroup of its connections"),
    Column("expires", Milliseconds, nullable=False, index=True, comment="unless it is renewed"),
    Column("descriptions", Text, nullable=False, comment="JSON array of what its connections take"),
)
