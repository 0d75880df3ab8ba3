"""Options are checked where they are written down, and become members of createTask."""

from datetime import timedelta
from typing import Any

import pytest

from taskbus.jobs import (
    JobOptions,
    Limit,
    Rate,
    Retention,
    Unique,
    delays,
    exponential,
    fixed,
    polynomial,
)


def test_plain_options_ask_for_attempts_only() -> None:
    assert JobOptions().extensions == {"maxAttempts": 10}


def test_every_option_has_its_member() -> None:
    options = JobOptions(
        max_attempts=3,
        retry=exponential(base="2s", factor=3, max="1h"),
        retention=Retention(completed="1d", shorten=True),
        unique=Unique(by_args=["customer"], by_period="1h", by_queue=True),
        concurrency=Limit(2, key="{customer}"),
        rate=Rate(100, per="1m"),
    )
    assert options.extensions == {
        "maxAttempts": 3,
        "unique": {"byArgs": ["customer"], "byPeriod": 3600, "byQueue": True, "excludeKind": False},
        "limits": {
            "concurrency": {"limit": 2, "key": "{customer}"},
            "rate": {"count": 100, "per": 60},
        },
        "retryPolicy": {"kind": "exponential", "base": 2, "factor": 3, "max": 3600, "jitter": 0.1},
        "retention": {"completed": 86400, "shorten": True},
    }


@pytest.mark.parametrize(
    ("policy", "wire"),
    [
        (polynomial(), {"kind": "polynomial", "power": 4, "base": 1, "jitter": 0.1}),
        (
            polynomial(power=2, base="10s", jitter=0),
            {"kind": "polynomial", "power": 2, "base": 10, "jitter": 0},
        ),
        (fixed(timedelta(minutes=5)), {"kind": "fixed", "delay": 300, "jitter": 0.1}),
        (delays("1s", 2.5, "1m"), {"kind": "list", "delays": [1, 2.5, 60], "jitter": 0.1}),
    ],
)
def test_every_policy_has_its_shape(policy: Any, wire: dict[str, Any]) -> None:
    assert JobOptions(retry=policy).extensions["retryPolicy"] == wire


def test_a_function_is_no_policy_of_the_queue() -> None:
    assert "retryPolicy" not in JobOptions(retry=lambda errors, error: "1s").extensions


@pytest.mark.parametrize(
    ("priority", "level"), [(1, "high"), (2, "medium"), (3, "low"), (4, "very-low"), ("highest", "highest")]
)
def test_priorities_of_river_are_levels_of_the_queue(priority: Any, level: str) -> None:
    assert JobOptions(priority=priority).level == level


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"max_attemps": 3}, "max_attemps"),
        ({"max_attempts": 0}, "maxAttempts|max_attempts"),
        ({"max_attempts": 51}, "maxAttempts|max_attempts"),
        ({"queue": "mail"}, "should match pattern"),
        ({"priority": 5}, "priority: must be 1 to 4, or one of highest"),
        ({"priority": "urgent"}, "priority: must be 1 to 4"),
        ({"timeout": 0}, "timeout: must be longer than nothing"),
        ({"timeout": -2}, "timeout: must be between"),
        ({"deadline": "-1h"}, "deadline: must be a number of seconds"),
        ({"deadline": 0}, "deadline: must be longer than nothing"),
        ({"retention": Retention(completed=-1)}, "retention"),
        ({"unique": Unique(by_args=True, by_period="10ms")}, "at least one second"),
        ({"unique": Unique(by_args=True, by_state=["completed"])}, "these states always count"),
        ({"concurrency": Limit(0)}, r"limits\.concurrency\.limit"),
        ({"concurrency": Limit(1, key="customer")}, "must have members in braces"),
        ({"rate": Rate(5, per=0)}, r"limits\.rate\.per"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], problem: str) -> None:
    with pytest.raises((ValueError, TypeError), match=problem):
        JobOptions(**options)


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        ({"max_attempts": 8, "deadline": "1h"}, "8 attempts may have to wait 1:25:43.600000 .* is 1:00:00"),
        ({"max_attempts": 3, "retry": fixed("1h", jitter=0), "deadline": "119m"}, "wait 2:00:00 .* 1:59:00"),
        ({"max_attempts": 20, "deadline": "5d"}, "20 attempts may have to wait .* the deadline is 5 days"),
    ],
)
def test_a_policy_that_cannot_fit_its_deadline_is_refused_with_the_numbers(
    options: dict[str, Any], numbers: str
) -> None:
    with pytest.raises(ValueError, match=numbers):
        JobOptions(**options)


def test_a_policy_that_just_fits_its_deadline_is_taken() -> None:
    JobOptions(max_attempts=3, retry=fixed("1h", jitter=0), deadline="2h")
    JobOptions(max_attempts=1, retry=fixed("1d"), deadline="1m")
    JobOptions(max_attempts=50, retry=lambda errors, error: "1s", deadline="1m")


@pytest.mark.parametrize(
    "policy",
    [
        lambda: fixed("-1s"),
        lambda: fixed(-1),
        lambda: exponential(factor=0.5),
        lambda: exponential(base=0),
        lambda: polynomial(jitter=2),
        lambda: delays(),
        lambda: delays("1 s"),
    ],
)
def test_a_wrong_policy_is_refused(policy: Any) -> None:
    with pytest.raises(ValueError, match="validation error"):
        policy()
