"""Rules of values: versions, expiry and formats (``seed-systems.md`` KV-3 to KV-11)."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from queue_service.core.errors import (
    DecodeError,
    InputError,
    InputTooLarge,
    InvalidRequestArguments,
    RequestConflict,
)
from schemas.kv import ValueFormat

MAX_VALUE: Final = 256 * 1024
"""Bytes of a value."""
MAX_KEY: Final = 512
"""Bytes of a key."""
MAX_TTL: Final = timedelta(days=3650)
_LAST_LETTER: Final = "\U0010ffff"


@dataclass(frozen=True, slots=True)
class Place:
    """A key in a namespace, which is written ``tenant:namespace``."""

    namespace: str
    key: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A stored value; ``text`` is the JSON text or the raw string."""

    place: Place
    text: str
    value_format: ValueFormat
    version: int
    updated: datetime
    expires: datetime | None


@dataclass(frozen=True, slots=True)
class Put:
    """Store this at a place, if the version there is the expected one; 0 means that there must be none."""

    place: Place
    text: str
    value_format: ValueFormat
    ttl: timedelta | None = None
    if_version: int | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove what is at a place, if the version there is the expected one."""

    place: Place
    if_version: int | None = None


def visible(entry: Entry | None, now: datetime) -> Entry | None:
    """The entry, unless it has expired (KV-10)."""
    return None if entry is None or (entry.expires is not None and entry.expires <= now) else entry


def put(call: Put, present: Entry | None, version: int, now: datetime) -> Entry:
    """What is stored after this call. Raises RequestConflict with the present version (KV-7)."""
    check_version(call.place, call.if_version, present)
    expires = None if call.ttl is None else now + call.ttl
    return Entry(call.place, call.text, call.value_format, version, now, expires)


def check_version(place: Place, if_version: int | None, present: Entry | None) -> None:
    """Pass if the present version is the expected one, 0 for none. Raises RequestConflict."""
    version = 0 if present is None else present.version
    if if_version is not None and if_version != version:
        there = f"has version {version}" if version else "does not exist (version 0)"
        raise RequestConflict(f"`{place.key}` {there} and `ifVersion` is {if_version}.")


def check_key(key: str) -> str:
    """The key. Raises InvalidRequestArguments for one that is too long; its form is checked before (KV-3)."""
    if len(key.encode()) > MAX_KEY:
        raise InvalidRequestArguments(f"`key` has {len(key.encode())} bytes and must have 1 to {MAX_KEY}.")
    return key


def check_ttl(ttl: timedelta | None) -> None:
    """Raises InputError for a lifetime that is too long."""
    if ttl is not None and ttl > MAX_TTL:
        raise InputError(f"`ttl` must be at most {MAX_TTL.days} days.")


def stored_text(value: Any, value_format: ValueFormat) -> str:
    """The text of a value. Raises InputError for one that is none, InputTooLarge (KV-3, KV-4)."""
    if value_format == "raw-string":
        if not isinstance(value, str):
            raise InputError("`value` must be a string when `valueFormat` is `raw-string`.")
        if "\x00" in value:
            raise InputError("`value` must not have the character NUL.")
        text = value
    else:
        text = json_text(value, "value")
    if (size := len(text.encode())) > MAX_VALUE:
        raise InputTooLarge(f"`value` has {size} bytes and must have at most {MAX_VALUE}.")
    return text


def json_text(value: Any, member: str) -> str:
    """JSON of this value, as short as it can be. Raises InputError for a number beyond all floats."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except ValueError:
        raise InputError(f"`{member}` has a number that is too large.") from None


def read_as(entry: Entry, value_format: ValueFormat) -> Any:
    """The value in a format. Raises DecodeError for a raw string that is not JSON (KV-4)."""
    if value_format == "raw-string":
        return entry.text
    try:
        return json.loads(entry.text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise DecodeError(f"The value of `{entry.place.key}` is a raw string that is not JSON.") from None


def end_of(prefix: str) -> str:
    """A text after all keys that begin with the prefix, in the order of bytes."""
    kept = prefix.rstrip(_LAST_LETTER)
    if not kept:
        return _LAST_LETTER * (MAX_KEY // 4 + 1)
    following = ord(kept[-1]) + 1
    return kept[:-1] + chr(0xE000 if 0xD800 <= following <= 0xDFFF else following)


def _refuse(constant: str) -> None:
    raise ValueError(constant)
