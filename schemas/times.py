"""Times on the wire: RFC 3339 in, UTC with exactly three fractional digits and ``Z`` out.

Rules: ``queue-behaviour.md`` 1.5 (millisecond precision is taken *before* storing and comparing).
"""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Final

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND: Final = timedelta(milliseconds=1)

_RFC3339: Final = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:[0-5]\d)", re.ASCII
)


def parse_time(value: object) -> datetime:
    """Read an RFC 3339 string (a zone is mandatory) or an aware datetime; the result is UTC in milliseconds.

    Raises ValueError when the value is anything else.
    """
    if isinstance(value, str):
        return _parse_text(value)
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ValueError("must be a date-time string with a zone")
    return _normal(value)


@lru_cache(maxsize=4096)
def _parse_text(text: str) -> datetime:
    """Cached, because the times of a task are read again at each of its changes."""
    if _RFC3339.fullmatch(text) is None:
        raise ValueError("must be an RFC 3339 date-time with a zone, such as 2024-05-01T12:00:00.123Z")
    try:
        moment = datetime.fromisoformat(text.upper())
    except ValueError as error:
        raise ValueError(f"must be a date-time that exists: {error}") from None
    return _normal(moment)


def _normal(moment: datetime) -> datetime:
    try:
        return truncate(moment.astimezone(UTC))
    except OverflowError:
        raise ValueError("must be a date-time between the years 1 and 9999 in UTC") from None


def truncate(moment: datetime) -> datetime:
    """Drop what is finer than a millisecond."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


@lru_cache(maxsize=4096)
def format_time(moment: datetime) -> str:
    """Write a UTC time as the wire has it, for instance ``2024-05-01T12:00:00.123Z``.

    Cached, because the times of a task are written into the answer, its messages and its row.
    """
    return moment.isoformat(timespec="milliseconds")[:-6] + "Z"


def to_ms(moment: datetime) -> int:
    """Milliseconds since the epoch, exact (no float on the way)."""
    return (moment - EPOCH) // MILLISECOND


def from_ms(milliseconds: int) -> datetime:
    """The UTC time of so many milliseconds since the epoch."""
    return EPOCH + milliseconds * MILLISECOND


Time = Annotated[
    datetime,
    BeforeValidator(parse_time),
    PlainSerializer(format_time, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""A moment: an aware UTC datetime in Python, an RFC 3339 string on the wire."""
