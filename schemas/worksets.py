"""Bodies and messages of worksets: sets from which consumers lease members (``seed-systems.md`` D.4)."""

from datetime import timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, StringConstraints

from schemas.base import INTEGRAL, Document, Integer, Request, Text
from schemas.durations import DurationOrZero
from schemas.ids import SET_PATTERN, Slugid
from schemas.kv import Key, NamespaceName, Tenant
from schemas.messages import Message
from schemas.task import Priority
from schemas.times import Time

MAX_MEMBERS: Final = 1000
"""Members of one call."""
MAX_WAIT: Final = timedelta(seconds=20)

AckMode = Literal["ack-batch", "ack-each"]
Count = Annotated[int, Field(ge=0), INTEGRAL]
LeaseTtl = Annotated[int, Field(ge=1000, le=86_400_000, description="milliseconds"), INTEGRAL]
SetName = Annotated[str, StringConstraints(pattern=f"^(?:{SET_PATTERN})$", strict=True)]
Reason = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$", max_length=4096, strict=True)]
Consumer = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f-\x9f]*$", max_length=200, strict=True)]
Ids = Annotated[tuple[Key, ...], Field(min_length=1, max_length=MAX_MEMBERS)]


def _short(value: timedelta) -> timedelta:
    if value > MAX_WAIT:
        raise ValueError("must be at most 20 seconds")
    return value


class WorksetSettings(Request):
    """How often a member is delivered before it is put aside as dead; 0 is for ever."""

    schema_name = "workset-settings"

    max_deliveries: Annotated[int, Field(ge=0, le=1000), INTEGRAL] = 0


class WorksetResponse(Document):
    """How many members a set has in each state; ``oldestAvailable`` is since when one waits."""

    schema_name = "workset-response"

    set: Text
    max_deliveries: Count
    available: Count
    delayed: Count
    leased: Count
    dead: Count
    oldest_available: Time | None = None


class NewMember(Request):
    """A member to add: work that is named by its id."""

    id: Key
    payload: Any = None
    available_at: Time | None = None
    priority: Priority = "lowest"


class AddMembersRequest(Request):
    schema_name = "add-members-request"

    members: Annotated[tuple[NewMember, ...], Field(min_length=1, max_length=MAX_MEMBERS)]


class AddMembersResponse(Document):
    """How many are new; which were present already; which are leased and come back after their ack."""

    schema_name = "add-members-response"

    added: Count
    existing: tuple[Text, ...]
    requeued: tuple[Text, ...]


class PopRequest(Request):
    """How many members to lease and for how long; ``wait`` is for how long to wait for the first."""

    schema_name = "pop-request"

    limit: Annotated[int, Field(ge=1, le=MAX_MEMBERS), INTEGRAL] = 1
    lease_ttl_ms: LeaseTtl = 60_000
    ack_mode: AckMode = "ack-batch"
    consumer: Consumer | None = None
    wait: Annotated[DurationOrZero, AfterValidator(_short)] | None = None


class PoppedMember(Document):
    """A leased member. ``token`` grows with each delivery; ``error`` is why the last one was not acked."""

    id: Text
    payload: Any = None
    deliveries: Count
    token: Integer
    error: Text | None = None


class PopResponse(Document):
    """Members and their lease; without members there is no lease."""

    schema_name = "pop-response"

    lease_id: Slugid | None = None
    expires: Time | None = None
    ack_mode: AckMode | None = None
    members: tuple[PoppedMember, ...]


class AckRequest(Request):
    """Which members are done; all of the lease when none is named."""

    schema_name = "ack-request"

    ids: Ids | None = None


class AckResponse(Document):
    """How many members were removed, and how many the lease still has."""

    schema_name = "ack-response"

    lease_id: Slugid
    acked: Count
    left: Count


class NackRequest(Request):
    """Which members go back, when, and why; all of the lease when none is named."""

    schema_name = "nack-request"

    ids: Ids | None = None
    delay: DurationOrZero | None = None
    error: Reason | None = None


class NackResponse(Document):
    """How many members went back, how many of them died, and how many the lease still has."""

    schema_name = "nack-response"

    lease_id: Slugid
    returned: Count
    dead: Count
    left: Count


class ExtendRequest(Request):
    schema_name = "extend-request"

    lease_ttl_ms: LeaseTtl


class ExtendResponse(Document):
    schema_name = "extend-response"

    lease_id: Slugid
    expires: Time


class WorksetMemberDeadMessage(Message):
    """A member was delivered as often as its set allows, and is in ``<set>.dead`` now."""

    schema_name = "workset-member-dead-message"

    tenant: Tenant
    namespace: NamespaceName
    set: SetName
    member_id: Key
    deliveries: Count
    error: Text
