"""Limits of what may be under way: how many runs at once, and how many starts in a time.

Rules: ``seed-systems.md`` L-1, L-2. A limit with a ``key`` holds for each value of it on its own.
"""

import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, StringConstraints

from schemas.base import INTEGRAL, Request
from schemas.durations import Duration

MEMBER: Final = re.compile(r"\{([A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*)\}")
"""A place in a template: the path of a member of the arguments, or the name of a tag."""
MAX_COUNT: Final = 1_000_000


def _template(value: str) -> str:
    if not MEMBER.search(value) or re.search("[{}]", MEMBER.sub("", value)):
        raise ValueError("must have members in braces, such as {customer} or {order.country}, and no others")
    return value


KeyTemplate = Annotated[
    str,
    StringConstraints(strict=True, max_length=200),
    AfterValidator(_template),
    Field(description="text with members of the arguments, or tags, in braces: `{customer}`"),
]
Limit = Annotated[int, Field(ge=1, le=MAX_COUNT), INTEGRAL]


class ConcurrencyLimit(Request):
    """At most ``limit`` runs at once; with a ``key``, at most so many for each value of it."""

    limit: Limit
    key: KeyTemplate | None = None
    scope: Literal["global"] | None = None
    """Over all workers, which every limit is: the member may be written out."""


class RateLimit(Request):
    """At most ``count`` starts ``per`` duration, up to ``count`` of them at once (a token bucket)."""

    count: Limit
    per: Duration
    key: KeyTemplate | None = None


class TaskLimits(Request):
    """What a task must not exceed together with the others of its kind in its task queue."""

    concurrency: ConcurrencyLimit | None = None
    rate: RateLimit | None = None
