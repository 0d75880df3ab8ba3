"""Times and pairs as they are typed: ``2026-05-01T12:00:00Z`` or ``10m`` from now, ``NAME=VALUE``."""

from datetime import datetime

from schemas.durations import parse_duration
from schemas.times import parse_time


def moment(text: str, now: datetime, *, option: str) -> datetime:
    """The time that is meant. Raises ValueError that names the option."""
    try:
        return now + parse_duration(text)
    except ValueError:
        pass
    try:
        return parse_time(text)
    except ValueError:
        raise ValueError(
            f"{option}: expected 2026-05-01T12:00:00Z, or a duration such as 10m, got {text!r}"
        ) from None


def pair(text: str) -> tuple[str, str]:
    """Name and value of a tag. Raises ValueError."""
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise ValueError(f"--tag: expected NAME=VALUE, got {text!r}")
    return name, value
