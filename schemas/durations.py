"""Durations on the wire: seconds, or a number with its unit, such as ``500ms``, ``2s`` or ``1.5h``.

Rules: ``seed-systems.md`` G-6. What is written back is the number of seconds.
"""

import math
import re
from datetime import timedelta
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from schemas.times import MILLISECOND

LONGEST: Final = timedelta(days=36_500)
"""A hundred years: no rule needs more, and any time of this century plus it is a date that exists."""

_UNITS: Final = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_TEXT: Final = re.compile(r"(\d{1,15}(?:\.\d{1,15})?)(ms|s|m|h|d)", re.ASCII)
_SCHEMA: Final[dict[str, Any]] = {
    "anyOf": [
        {"type": "number", "minimum": 0},
        {"type": "string", "pattern": f"^{_TEXT.pattern}$"},
    ]
}


def parse_duration(value: object) -> timedelta:
    """Read a duration, to the millisecond. Raises ValueError for what is none, and for a negative one."""
    if isinstance(value, timedelta):
        milliseconds = value / MILLISECOND
    elif isinstance(value, str) and (match := _TEXT.fullmatch(value)):
        milliseconds = float(match[1]) * _UNITS[match[2]]
    elif isinstance(value, int | float) and not isinstance(value, bool):
        milliseconds = value * 1000.0 if abs(value) < 1e15 else math.inf
    else:
        raise ValueError("must be a number of seconds, or a number with one of the units ms, s, m, h and d")
    if not 0 <= milliseconds <= LONGEST / MILLISECOND:
        raise ValueError("must be between 0 and 36500 days")
    return round(milliseconds) * MILLISECOND


def _parse_some(value: object) -> timedelta:
    duration = parse_duration(value)
    if not duration:
        raise ValueError("must be longer than nothing")
    return duration


def seconds_of(value: timedelta) -> int | float:
    """The number of seconds, an integer where it is whole."""
    seconds = value.total_seconds()
    return int(seconds) if seconds.is_integer() else seconds


_WRITTEN: Final = PlainSerializer(seconds_of, return_type=int | float, when_used="json")

Duration = Annotated[timedelta, BeforeValidator(_parse_some), _WRITTEN, WithJsonSchema(_SCHEMA)]
"""How long something takes: more than nothing."""

DurationOrZero = Annotated[timedelta, BeforeValidator(parse_duration), _WRITTEN, WithJsonSchema(_SCHEMA)]
"""How long something takes, which may be no time at all."""
