"""The delays of retry policies (``seed-systems.md`` C-7, C-8, C-13)."""

from datetime import timedelta
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from schemas.backoff import delay, longest_wait
from schemas.durations import LONGEST
from schemas.extensions import DEFAULT_POLICY, RetryPolicy

POLICY: Final = TypeAdapter[RetryPolicy](RetryPolicy)
MIDDLE: Final = 0.5


def policy(**members: Any) -> RetryPolicy:
    return POLICY.validate_python(members)


def span(days: int = 0, hours: int = 0, minutes: int = 0, seconds: int = 0) -> timedelta:
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


@pytest.mark.parametrize(
    ("errors", "expected", "accuracy"),
    [
        (1, span(seconds=1), span()),
        (2, span(seconds=16), span()),
        (3, span(seconds=81), span()),
        (4, span(minutes=4, seconds=16), span()),
        (5, span(minutes=10, seconds=25), span()),
        (6, span(minutes=21, seconds=36), span()),
        (8, span(hours=1, minutes=8), span(minutes=1)),
        (10, span(hours=2, minutes=47), span(minutes=1)),
        (15, span(hours=14, minutes=4), span(minutes=1)),
        (18, span(hours=29, minutes=10), span(minutes=1)),
        (24, span(days=3, hours=20), span(hours=1)),
    ],
)
def test_the_default_is_the_table_of_delays(errors: int, expected: timedelta, accuracy: timedelta) -> None:
    found = delay(DEFAULT_POLICY, errors, MIDDLE)
    assert found == timedelta(seconds=errors**4)
    assert abs(found - expected) <= accuracy / 2  # the table is rounded


@pytest.mark.parametrize(
    ("errors", "expected", "accuracy"),
    [
        (1, span(seconds=1), span()),
        (2, span(seconds=17), span()),
        (3, span(seconds=98), span()),
        (4, span(minutes=5, seconds=54), span()),
        (5, span(minutes=16, seconds=19), span()),
        (6, span(minutes=37, seconds=55), span()),
        (8, span(hours=2, minutes=26), span(minutes=1)),
        (10, span(hours=7, minutes=2), span(minutes=1)),
        (15, span(days=2, hours=1, minutes=32), span(minutes=1)),
        (18, span(days=5, minutes=6), span(minutes=1)),
        (24, span(days=20, hours=9, minutes=44), span(minutes=1)),
    ],
)
def test_the_default_sums_up_to_the_table(errors: int, expected: timedelta, accuracy: timedelta) -> None:
    found = sum((delay(DEFAULT_POLICY, number, MIDDLE) for number in range(1, errors + 1)), timedelta())
    assert abs(found - expected) <= accuracy / 2  # the table is rounded


@pytest.mark.parametrize(
    ("jitter", "expected"), [(0.0, 0.9), (0.25, 0.95), (0.5, 1.0), (0.75, 1.05), (1.0, 1.1)]
)
def test_the_jitter_is_a_tenth_to_either_side(jitter: float, expected: float) -> None:
    assert delay(DEFAULT_POLICY, 10, jitter) == timedelta(seconds=10_000 * expected)


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"kind": "polynomial"}, [1, 16, 81]),
        ({"kind": "polynomial", "power": 1, "base": "10s"}, [10, 20, 30]),
        ({"kind": "polynomial", "max": 20}, [1, 16, 20]),
        ({"kind": "polynomial", "power": 0.5}, [1, 1.414, 1.732]),
        ({"kind": "polynomial", "power": 0}, [1, 1, 1]),
        ({"kind": "exponential"}, [1, 2, 4]),
        ({"kind": "exponential", "base": 0.5, "factor": 10}, [0.5, 5, 50]),
        ({"kind": "exponential", "base": "1m", "factor": 2, "max": "90s"}, [60, 90, 90]),
        ({"kind": "fixed", "delay": "250ms"}, [0.25, 0.25, 0.25]),
        ({"kind": "fixed", "delay": 0}, [0, 0, 0]),
        ({"kind": "list", "delays": ["1s", "1h"]}, [1, 3600, 3600]),
    ],
    ids=str,
)
def test_a_policy_gives_its_delays(members: dict[str, Any], expected: list[float]) -> None:
    made = policy(**members)
    assert [delay(made, errors, MIDDLE).total_seconds() for errors in (1, 2, 3)] == expected


@pytest.mark.parametrize(
    "members",
    [
        {"kind": "polynomial", "power": 100, "base": "36500d"},
        {"kind": "exponential", "factor": 1000, "base": "36500d"},
        {"kind": "list", "delays": ["36500d"]},
    ],
    ids=str,
)
def test_what_would_overflow_is_cut(members: dict[str, Any]) -> None:
    assert delay(policy(**members), 50, 1.0) == LONGEST


policies = st.one_of(
    st.fixed_dictionaries(
        {"kind": st.just("polynomial"), "power": st.floats(0, 100), "jitter": st.floats(0, 1)},
        optional={"max": st.integers(1, 10**6), "base": st.floats(0.001, 1e9)},
    ),
    st.fixed_dictionaries(
        {"kind": st.just("exponential"), "factor": st.floats(1, 1000), "jitter": st.floats(0, 1)},
        optional={"max": st.integers(1, 10**6), "base": st.floats(0.001, 1e9)},
    ),
    st.fixed_dictionaries({"kind": st.just("fixed"), "delay": st.floats(0, 1e9)}),
    st.fixed_dictionaries(
        {"kind": st.just("list"), "delays": st.lists(st.floats(0, 1e9), min_size=1, max_size=5)}
    ),
).map(POLICY.validate_python)


@given(policies, st.integers(1, 50), st.floats(0, 1))
def test_any_delay_is_within_its_jitter_and_not_endless(
    made: RetryPolicy, errors: int, jitter: float
) -> None:
    middle = delay(made, errors, MIDDLE).total_seconds()
    found = delay(made, errors, jitter).total_seconds()
    assert 0 <= found <= LONGEST.total_seconds()
    assert abs(found - middle) <= middle * made.jitter + 0.002


@given(policies, st.integers(1, 50))
def test_the_longest_wait_is_no_shorter_than_any_other(made: RetryPolicy, attempts: int) -> None:
    total = sum((delay(made, errors, 0.9) for errors in range(1, min(attempts, 20))), timedelta())
    assert longest_wait(made, attempts) >= min(total, LONGEST)


def test_the_longest_wait_of_the_default_shows_what_fits_five_days() -> None:
    assert longest_wait(DEFAULT_POLICY, 1) == timedelta()
    assert longest_wait(DEFAULT_POLICY, 17) < timedelta(days=5) < longest_wait(DEFAULT_POLICY, 19)


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"kind": "linear"},
        {"kind": "polynomial", "power": -1},
        {"kind": "polynomial", "delay": 1},
        {"kind": "exponential", "factor": 0.5},
        {"kind": "exponential", "base": 0},
        {"kind": "exponential", "base": -1},
        {"kind": "fixed"},
        {"kind": "fixed", "delay": "-1s"},
        {"kind": "fixed", "delay": "soon"},
        {"kind": "fixed", "delay": True},
        {"kind": "fixed", "delay": 1, "jitter": 1.5},
        {"kind": "fixed", "delay": "36501d"},
        {"kind": "list", "delays": []},
        {"kind": "list", "delays": [1] * 51},
    ],
    ids=str,
)
def test_a_policy_that_makes_no_sense_is_refused(members: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        policy(**members)
