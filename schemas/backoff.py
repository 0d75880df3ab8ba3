"""How long a task waits before its next attempt (``seed-systems.md`` C-7, C-8).

Randomness comes in as a number between 0 and 1, so that the rules are exact: 0.5 gives the middle.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import assert_never

from schemas.durations import LONGEST
from schemas.extensions import Exponential, Fixed, Listed, Polynomial, RetryPolicy
from schemas.times import MILLISECOND


def delay(policy: RetryPolicy, errors: int, jitter: float) -> timedelta:
    """The delay after so many errors (1 or more), to the millisecond. Nothing overflows: it is cut."""
    spread = 1 + policy.jitter * (2 * jitter - 1)
    return _cut(lambda: _middle(policy, errors) / MILLISECOND * spread, LONGEST)


def longest_wait(policy: RetryPolicy, max_attempts: int) -> timedelta:
    """The longest that all attempts together may have to wait, for a comparison with a deadline (C-13)."""
    total = timedelta()
    for errors in range(1, max_attempts):
        total = min(total + delay(policy, errors, 1.0), LONGEST)
    return total


def _middle(policy: RetryPolicy, errors: int) -> timedelta:
    match policy:
        case Polynomial():
            return _cut(lambda: policy.base / MILLISECOND * float(errors) ** policy.power, policy.max)
        case Exponential():
            return _cut(lambda: policy.base / MILLISECOND * policy.factor ** (errors - 1), policy.max)
        case Fixed():
            return policy.delay
        case Listed():
            return policy.delays[min(errors, len(policy.delays)) - 1]
        case _:
            assert_never(policy)


def _cut(milliseconds: Callable[[], float], longest: timedelta | None) -> timedelta:
    """A number of milliseconds as a duration, or the longest there may be when it is more."""
    limit = LONGEST if longest is None else longest
    try:
        return round(min(milliseconds(), limit / MILLISECOND)) * MILLISECOND
    except OverflowError:
        return limit
