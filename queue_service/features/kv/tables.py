"""The tables of values and worksets.

Of a member, ``available_at`` is when the next pop may take it: a lease is a member whose time is the end of
the lease. So a pop finds what is free, what was delayed and what was given up by the same index.
"""

from sqlalchemy import BigInteger, Column, Index, Integer, SmallInteger, Table, Text, text

from queue_service.store.tables import metadata
from queue_service.store.types import Id, Milliseconds

EXPIRING = "expires IS NOT NULL"
LIVING = "doomed = 0"
DOOMED = "doomed = 1"
LEASED = "lease_id IS NOT NULL"

kv_namespaces = Table(
    "kv_namespaces",
    metadata,
    Column("namespace", Id, primary_key=True, comment="<tenant>:<namespace>"),
    Column("version", BigInteger, nullable=False, comment="of the last write; its lock orders all writes"),
)

kv_entries = Table(
    "kv_entries",
    metadata,
    Column("namespace", Id, primary_key=True),
    Column("key", Id, primary_key=True),
    Column("value", Text, nullable=False, comment="JSON text, or the raw string"),
    Column("format", Text, nullable=False),
    Column("size", Integer, nullable=False, comment="bytes of the value"),
    Column("version", BigInteger, nullable=False),
    Column("updated", Milliseconds, nullable=False),
    Column("expires", Milliseconds),
)
Index(
    "kv_entries_expiring",
    kv_entries.c.expires,
    sqlite_where=text(EXPIRING),
    postgresql_where=text(EXPIRING),
)

worksets = Table(
    "worksets",
    metadata,
    Column("namespace", Id, primary_key=True),
    Column("name", Id, primary_key=True),
    Column("max_deliveries", Integer, nullable=False, comment="0 is for ever"),
)

workset_members = Table(
    "workset_members",
    metadata,
    Column("namespace", Id, primary_key=True),
    Column("set_name", Id, primary_key=True),
    Column("member_id", Id, primary_key=True),
    Column("priority", SmallInteger, nullable=False, comment="place in PRIORITIES, 0 is the most urgent"),
    Column("available_at", Milliseconds, nullable=False, comment="when a pop may take it"),
    Column("place", BigInteger, nullable=False, comment="order of insertion"),
    Column("payload", Text, comment="JSON text"),
    Column("size", Integer, nullable=False, comment="bytes of the payload"),
    Column("deliveries", Integer, nullable=False),
    Column("token", BigInteger, nullable=False, comment="of the last delivery, larger than all before"),
    Column("lease_id", Id, comment="of the last delivery, until it is nacked"),
    Column("doomed", SmallInteger, nullable=False, comment="whether the delivery under way is the last"),
    Column("again", Text, comment="JSON object: what was added while it was leased"),
    Column("error", Text, comment="why the last delivery was not acked"),
)
Index(
    "workset_members_order",
    workset_members.c.namespace,
    workset_members.c.set_name,
    workset_members.c.priority,
    workset_members.c.available_at,
    workset_members.c.place,
    sqlite_where=text(LIVING),
    postgresql_where=text(LIVING),
)
Index(
    "workset_members_doomed",
    workset_members.c.available_at,
    sqlite_where=text(DOOMED),
    postgresql_where=text(DOOMED),
)
Index(
    "workset_members_leased",
    workset_members.c.lease_id,
    workset_members.c.member_id,
    sqlite_where=text(LEASED),
    postgresql_where=text(LEASED),
)

workset_leases = Table(
    "workset_leases",
    metadata,
    Column("lease_id", Id, primary_key=True),
    Column("namespace", Id, nullable=False),
    Column("set_name", Id, nullable=False),
    Column("ack_mode", Text, nullable=False),
    Column("consumer", Text),
    Column("expires", Milliseconds, nullable=False, index=True),
    Column("remaining", Integer, nullable=False, comment="members that it still has"),
    Column("outcome", Text, comment="how it ended: 'acked' or 'nacked'"),
)
