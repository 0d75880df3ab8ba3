"""The numbers the rules use, with the reference's values as defaults (``queue-behaviour.md`` 2)."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Limits:
    """Service constants; a deployment may set others."""

    claim_timeout: timedelta = timedelta(seconds=1200)
    """How long a claim or reclaim lasts."""
    max_deadline: timedelta = timedelta(days=5)
    """How far ahead a deadline may lie."""
    drift: timedelta = timedelta(minutes=15)
    """How wrong the clock of a client may be."""
    deadline_delay: timedelta = timedelta(seconds=60)
    """How long after its deadline a task is resolved by the service."""
    max_dependencies: int = 10_000
    """How many dependencies one task may list."""
    expiry_grace: timedelta = timedelta(minutes=30)
    """How long after ``expires`` a record is deleted."""
    group_expiry_margin: timedelta = timedelta(hours=1)
    """How much longer a task group is kept than its longest-lived task."""
