"""Keys of unique tasks: their text and how long they are held (``seed-systems.md`` U-1 to U-6)."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from queue_service.core.uniqueness import UniqueKey, canonical, counted_args, period_start, unique_key
from schemas.unique import Unique

NOW: Final = datetime(2026, 1, 2, 13, 5, 7, 250_000, tzinfo=UTC)
QUEUE: Final = "reports/nightly"


def key(asked: dict[str, Any], payload: dict[str, Any], queue: str = QUEUE, starts: datetime = NOW) -> str:
    made = unique_key(Unique.model_validate(asked), payload, queue, starts)
    assert made is not None
    return made.key


@pytest.mark.parametrize(
    ("asked", "args", "digest"),
    [
        (
            {"byArgs": True, "byPeriod": "1d", "byQueue": True},
            {"account_id": 1},
            "61384f5ca5afee4c8fddbc1a6ceb530c823dfa3072bb6277e418b86be1733877",
        ),
        (
            {"byArgs": True},
            {"b": [3, 1], "a": {"y": 2, "x": 1}},
            "c8fc09c1b9018942921566cd432e238ef122f2c5f33f389f3d62dea96f3c38cd",
        ),
    ],
)
def test_the_key_is_that_of_the_vectors(asked: dict[str, Any], args: dict[str, Any], digest: str) -> None:
    assert key(asked, {"kind": "reconcile_account", "args": args}) == digest


def test_without_an_option_a_task_is_not_unique() -> None:
    assert unique_key(None, {}, QUEUE, NOW) is None
    assert unique_key(Unique(), {}, QUEUE, NOW) is None


def test_the_kind_counts_unless_it_is_excluded() -> None:
    one, other = {"kind": "a", "args": {}}, {"kind": "b", "args": {}}
    assert key({"byArgs": True}, one) != key({"byArgs": True}, other)
    excluded = {"byArgs": True, "excludeKind": True}
    assert key(excluded, one) == key(excluded, other)


def test_the_whole_payload_counts_where_there_are_no_args() -> None:
    assert key({"byArgs": True}, {"a": 1}) != key({"byArgs": True}, {"a": 2})
    assert key({"byArgs": True}, {"args": {"a": 1}, "x": 1}) == key(
        {"byArgs": True}, {"args": {"a": 1}, "x": 2}
    )


@pytest.mark.parametrize(
    ("paths", "kept"),
    [
        (["customer"], {"customer": {"id": 7, "name": "x"}}),
        (["customer.id"], {"customer": {"id": 7}}),
        (["customer", "customer.id"], {"customer": {"id": 7, "name": "x"}}),
        (["customer.id", "month", "missing", "month.deeper"], {"customer": {"id": 7}, "month": 4}),
        (["missing"], {}),
    ],
)
def test_only_the_named_members_count_and_a_missing_one_is_left_out(
    paths: list[str], kept: dict[str, Any]
) -> None:
    payload = {"args": {"customer": {"id": 7, "name": "x"}, "month": 4}}
    assert counted_args(payload, paths) == kept
    assert payload == {"args": {"customer": {"id": 7, "name": "x"}, "month": 4}}


@given(st.dictionaries(st.text(), st.dictionaries(st.text(), st.integers() | st.text())))
def test_the_order_of_members_never_counts(value: dict[str, dict[str, Any]]) -> None:
    turned = {name: dict(reversed(inner.items())) for name, inner in reversed(value.items())}
    assert canonical(turned) == canonical(value)


def test_canonical_json_is_utf_8_without_spaces() -> None:
    assert canonical({"b": [1, 1.0, True, None], "a": "ä"}) == '{"a":"ä","b":[1,1.0,true,null]}'


@pytest.mark.parametrize(
    ("moment", "period", "start"),
    [
        (NOW, timedelta(hours=1), "2026-01-02T13:00:00+00:00"),
        (NOW, timedelta(days=7), "2026-01-01T00:00:00+00:00"),
        (NOW, timedelta(seconds=1.5), "2026-01-02T13:05:06+00:00"),
        (datetime(1969, 12, 31, 23, 30, tzinfo=UTC), timedelta(hours=1), "1969-12-31T23:00:00+00:00"),
    ],
)
def test_a_period_begins_at_a_multiple_since_1970(moment: datetime, period: timedelta, start: str) -> None:
    assert period_start(moment, period).isoformat() == start


def test_the_period_is_that_of_the_start() -> None:
    hourly = {"byPeriod": "1h"}
    assert key(hourly, {}, starts=NOW) == key(hourly, {}, starts=NOW + timedelta(minutes=54))
    assert key(hourly, {}, starts=NOW) != key(hourly, {}, starts=NOW + timedelta(minutes=55))


def test_unresolved_tasks_always_hold_their_key() -> None:
    held = UniqueKey("k", Unique(by_args=True).counted).held_by("running", None, NOW)
    assert held is not None
    assert held.until is None


@pytest.mark.parametrize(
    ("asked", "state", "until"),
    [
        ({}, "completed", timedelta(days=1)),
        ({"uniqueFor": "1h"}, "completed", timedelta(hours=1)),
        ({}, "failed", None),
        ({}, "exception", None),
        ({"byState": ["unscheduled", "pending", "running"]}, "completed", None),
        ({"byState": ["unscheduled", "pending", "running", "failed"]}, "failed", timedelta(days=1)),
        ({"byPeriod": "1d"}, "completed", timedelta(hours=10, minutes=54, seconds=52.75)),
    ],
)
def test_a_task_that_ended_holds_its_key_while_its_state_counts(
    asked: dict[str, Any], state: Any, until: timedelta | None
) -> None:
    made = unique_key(Unique.model_validate({"byArgs": True, **asked}), {}, QUEUE, NOW)
    assert made is not None
    held = made.held_by(state, NOW, NOW)
    assert (None if held is None else held.until) == (None if until is None else NOW + until)
    if until is not None:
        assert made.held_by(state, NOW, NOW + until) is None
        assert made.held_by(state, NOW, NOW + until - timedelta(milliseconds=1)) is not None


@pytest.mark.parametrize(
    "wrong",
    [
        {"byArgs": 1},
        {"byArgs": []},
        {"byPeriod": "999ms"},
        {"byPeriod": -1},
        {"byState": ["pending", "running", "completed"]},
        {"byState": ["unscheduled", "pending", "running", "canceled"]},
        {"excludeKind": True},
        {"byState": ["unscheduled", "pending", "running"], "excludeKind": True},
        {"uniqueFor": "1h"},
        {"byPeriod": "1h", "uniqueFor": "1h"},
        {"byArgs": True, "byKind": True},
    ],
)
def test_options_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Unique.model_validate(wrong)
