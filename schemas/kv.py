"""Bodies and messages of values by key, in the namespaces of tenants (``seed-systems.md`` D.2, D.3)."""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, field_validator

from schemas.base import INTEGRAL, Document, Request, Text
from schemas.durations import Duration
from schemas.ids import KEY_PATTERN, TENANT_PATTERN
from schemas.messages import Message
from schemas.times import Time

ValueFormat = Literal["json", "raw-string"]
Version = Annotated[int, Field(ge=0), INTEGRAL]
Tenant = Annotated[str, StringConstraints(pattern=f"^(?:{TENANT_PATTERN})$", strict=True)]
NamespaceName = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)*$", max_length=200, strict=True)
]
Key = Annotated[str, StringConstraints(pattern=f"^(?:{KEY_PATTERN})$", strict=True)]


class PutValueRequest(Request):
    """A value to store; ``null`` is a value, too. ``ifVersion: 0`` says that the key must not exist."""

    schema_name = "put-value-request"

    value: Any
    value_format: ValueFormat = "json"
    ttl: Duration | None = None
    if_version: Version | None = None

    @field_validator("value_format", "ttl", "if_version", mode="before")
    @classmethod
    def _left_out_instead_of_null(cls, value: object) -> object:
        if value is None:
            raise ValueError("must be left out instead of null")
        return value


class EntryResponse(Document):
    """What is known of a key besides its value."""

    schema_name = "entry-response"

    key: Text
    value_format: ValueFormat
    version: Version
    expires: Time | None = None
    updated: Time


class ValueResponse(EntryResponse):
    """A key and its value."""

    schema_name = "value-response"

    value: Any = None


class DeleteValueResponse(Document):
    """Whether there was a value."""

    schema_name = "delete-value-response"

    key: Text
    deleted: bool


class ListValuesResponse(Document):
    """A page of keys in the order of their bytes, with their values if they were asked for."""

    schema_name = "list-values-response"

    entries: tuple[ValueResponse, ...]
    continuation_token: Text | None = None


class KvChangedMessage(Message):
    """A value was put, deleted, or expired. The value itself is not told."""

    schema_name = "kv-changed-message"

    tenant: Tenant
    namespace: NamespaceName
    key: Text
    op: Literal["put", "delete", "expire"]
    entry_version: Version
    value_format: ValueFormat | None = None
    expires: Time | None = None
