"""What a run counts against: lanes, buckets, keys and tokens (``seed-systems.md`` L-1, L-2)."""

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queue_service.core.errors import InputError
from queue_service.core.lanes import (
    NO_LIMITS,
    Level,
    Slots,
    Tokens,
    buckets_of,
    caps_of,
    check_members,
    is_outdated,
    keyed,
    lane_of,
)
from schemas.limits import TaskLimits
from schemas.task_queues import TaskQueueLimits

JOB = {"kind": "send", "args": {"customer": 7, "order": {"country": "de"}, "draft": False, "none": None}}


def own(**members: Any) -> TaskLimits:
    return TaskLimits.model_validate(members)


def queue(**members: Any) -> TaskQueueLimits:
    return TaskQueueLimits.model_validate(members)


def key_of(template: str, payload: Any = None, **tags: str) -> str:
    lane = lane_of(None, queue(concurrency={"limit": 1, "key": template}), payload or JOB, tags)
    return str(json.loads(lane)[0][2])


@pytest.mark.parametrize(
    ("template", "key"),
    [
        ("{customer}", "7"),
        ("{order.country}-{customer}", "de-7"),
        ("{order}", '{"country":"de"}'),
        ("{draft}", "false"),
        ("x{none}y", "xy"),
        ("{customer.name}", ""),
        ("{region}", "eu"),
        ("{kind}", "a tag"),
    ],
)
def test_a_key_is_written_from_arguments_and_else_from_tags(template: str, key: str) -> None:
    assert key_of(template, region="eu", kind="a tag") == key


def test_a_payload_without_arguments_is_all_arguments() -> None:
    assert key_of("{customer}{kind}", {"customer": "x", "kind": "k"}) == "xk"


def test_a_long_key_becomes_a_digest_and_stays_one_of_its_own() -> None:
    one, other = (key_of("{customer}", {"customer": "x" * 1000 + end}) for end in "ab")
    assert one.startswith("sha256:")
    assert len(one) == len("sha256:") + 64
    assert one != other


def test_a_task_without_limits_by_key_has_no_lane() -> None:
    assert lane_of(None, NO_LIMITS, JOB, {}) == ""
    assert lane_of(None, queue(concurrency={"limit": 1}, rate={"count": 1, "per": 1}), JOB, {}) == ""
    assert lane_of(own(), NO_LIMITS, JOB, {}) == ""


def test_the_kind_is_the_scope_of_a_task_s_own_limit() -> None:
    limits = own(concurrency={"limit": 2})
    send, other = (lane_of(limits, NO_LIMITS, {"kind": kind}, {}) for kind in ("send", "print"))
    assert send != other
    assert buckets_of(send, NO_LIMITS)[0].name != buckets_of(other, NO_LIMITS)[0].name


def test_tasks_with_other_numbers_count_against_the_same_bucket() -> None:
    two, three = (lane_of(own(concurrency={"limit": n}), NO_LIMITS, JOB, {}) for n in (2, 3))
    assert two != three
    assert [bucket.name for bucket in buckets_of(two, NO_LIMITS)] == [
        bucket.name for bucket in buckets_of(three, NO_LIMITS)
    ]
    assert [bucket.limit for bucket in buckets_of(three, NO_LIMITS) if isinstance(bucket, Slots)] == [3]


def test_a_lane_counts_against_all_its_limits() -> None:
    of_task = own(concurrency={"limit": 2, "key": "{customer}"}, rate={"count": 5, "per": "1m"})
    of_queue = queue(concurrency={"limit": 9, "key": "{order.country}"}, rate={"count": 1, "per": 1})
    buckets = buckets_of(lane_of(of_task, of_queue, JOB, {}), of_queue)
    assert [type(bucket) for bucket in buckets] == [Slots, Tokens, Slots]
    assert len({bucket.name for bucket in buckets}) == 3
    assert [type(cap) for cap in caps_of(of_queue)] == [Tokens]


def test_a_lane_is_outdated_when_the_keys_of_the_task_queue_are_others() -> None:
    by_customer = queue(concurrency={"limit": 1, "key": "{customer}"})
    lane = lane_of(own(concurrency={"limit": 1}), by_customer, JOB, {})
    assert not is_outdated(lane, by_customer)
    assert not is_outdated(lane, queue(concurrency={"limit": 5, "key": "{customer}"}))
    assert is_outdated(lane, queue(concurrency={"limit": 1, "key": "{order}"}))
    assert is_outdated(lane, NO_LIMITS)
    assert is_outdated(lane_of(own(concurrency={"limit": 1}), NO_LIMITS, JOB, {}), by_customer)
    assert keyed(by_customer)
    assert not keyed(queue(concurrency={"limit": 1}, fairShare=0.1))


@pytest.mark.parametrize("name", ["concurrency", "rate"])
def test_a_member_that_the_task_does_not_have_is_named(name: str) -> None:
    number = {"limit": 1} if name == "concurrency" else {"count": 1, "per": 1}
    limits = own(**{name: {**number, "key": "{customer}-{region}"}})
    check_members(limits, JOB, {"region": "eu"})
    with pytest.raises(InputError, match=rf"`limits\.{name}\.key` names `{{region}}`"):
        check_members(limits, JOB, {})


# ---- tokens -------------------------------------------------------------------------------------------

THREE_IN_TEN = Tokens("bucket", 3, 10_000)


def test_a_fresh_bucket_is_full_and_refills_evenly() -> None:
    level = Level(0, 0)
    assert level.room(THREE_IN_TEN) == 3
    level = level.take(THREE_IN_TEN, 3)
    assert level.room(THREE_IN_TEN) == 0
    assert level.next_token_ms(THREE_IN_TEN) == 3334
    assert level.later(THREE_IN_TEN, 3333).room(THREE_IN_TEN) == 0
    assert level.later(THREE_IN_TEN, 3334).room(THREE_IN_TEN) == 1
    assert level.later(THREE_IN_TEN, 10_000).room(THREE_IN_TEN) == 3
    assert level.full_ms(THREE_IN_TEN) == 10_000


def test_a_clock_that_goes_back_refills_nothing() -> None:
    level = Level(0, 5000).take(THREE_IN_TEN, 3)
    assert level.later(THREE_IN_TEN, 0) == level


@given(
    count=st.integers(1, 20),
    per_ms=st.integers(1, 5000),
    steps=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 30)), max_size=40),
)
def test_no_time_sees_more_starts_than_its_tokens(
    count: int, per_ms: int, steps: list[tuple[int, int]]
) -> None:
    """In each stretch of time there are at most ``count`` starts, and those earned meanwhile."""
    bucket, level, now = Tokens("bucket", count, per_ms), Level(0, 0), 0
    starts: list[tuple[int, int]] = []
    for wait, wanted in steps:
        now += wait
        level = level.later(bucket, now)
        taken = min(wanted, level.room(bucket))
        level = level.take(bucket, taken)
        starts.append((now, taken))
        assert (level.room(bucket) > 0) == (level.next_token_ms(bucket) <= now)
    for first in range(len(starts)):
        total = 0
        for at, taken in starts[first:]:
            total += taken
            assert total * per_ms <= count * per_ms + (at - starts[first][0]) * count


def test_the_rate_of_a_task_queue_is_the_one_of_its_limits() -> None:
    (tokens,) = caps_of(queue(rate={"count": 100, "per": "1.5m"}))
    assert isinstance(tokens, Tokens)
    assert (tokens.count, tokens.per_ms) == (100, timedelta(minutes=1.5) // timedelta(milliseconds=1))
