"""What ticks, ends of tasks and owners do to a trigger (``seed-systems.md`` TR-1 to TR-7, TR-12)."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from pydantic import ValidationError

from queue_service.core.errors import InputError, RequestConflict
from queue_service.features.triggers import rules
from queue_service.features.triggers.rules import Step, Trigger
from schemas.triggers import CreateTriggerRequest

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
EVERY_MINUTE = {"interval": {"duration": "1m"}}
CONTIGUOUS = {
    "interval": {"duration": "1m", "window": {"size": "1m", "start": {"startTime": "2024-05-01T12:00:00Z"}}}
}


def definition(**members: Any) -> CreateTriggerRequest:
    return CreateTriggerRequest.model_validate({"task": {}, **members})


def trigger(share: float = 0.0, mark: datetime | None = None, **members: Any) -> Trigger:
    wanted = definition(**members)
    return rules.created(("g", "t"), wanted, NOW, rules.drawn(wanted, share), mark)


@pytest.fixture
def new_id() -> Iterator[Any]:
    numbers = map(str, count(1))
    return lambda: next(numbers)  # type: ignore[return-value]


def fired(step: Step) -> list[tuple[str, datetime | None]]:
    return [(firing.task_id, firing.scheduled_for) for firing in step.firings]


def test_the_next_tick_is_counted_from_the_nominal_time(new_id: Any) -> None:
    step = rules.tick(trigger(**EVERY_MINUTE), NOW + 1.4 * MINUTE, new_id)
    assert fired(step) == [("1", NOW + MINUTE)]
    assert step.trigger.due == NOW + 2 * MINUTE


def test_immediately_is_when_it_is_created_and_when_it_is_resumed(new_id: Any) -> None:
    made = trigger(interval={"duration": "1m", "immediate": True})
    assert made.due == NOW
    step = rules.tick(made, NOW, new_id)
    assert fired(step) == [("1", NOW)]
    assert rules.tick(step.trigger, NOW, new_id).firings == ()
    resumed = rules.resumed(rules.paused(step.trigger), NOW + 30 * timedelta(seconds=1))
    assert resumed.due == NOW + 30 * timedelta(seconds=1)


def test_a_random_offset_is_drawn_once(new_id: Any) -> None:
    made = trigger(0.5, interval={"duration": "1h", "randomOffset": "10m"})
    assert made.next_tick == NOW + 65 * MINUTE
    same = rules.edited(
        made, definition(interval={"duration": "2h", "randomOffset": "10m"}), NOW, MINUTE, None
    )
    assert same.next_tick == NOW + 125 * MINUTE
    other = rules.edited(
        made, definition(interval={"duration": "1h", "randomOffset": "9m"}), NOW, MINUTE, None
    )
    assert other.next_tick == NOW + 61 * MINUTE


@pytest.mark.parametrize(("overlap", "after_the_end"), [("skip", []), ("queue-one", [3])])
def test_a_tick_does_not_overlap_the_task_of_the_one_before(
    overlap: str, after_the_end: list[int], new_id: Any
) -> None:
    step = rules.tick(trigger(overlap=overlap, **EVERY_MINUTE), NOW + MINUTE, new_id)
    for late in (2, 3):
        step = rules.tick(step.trigger, NOW + late * MINUTE, new_id)
        assert step.firings == ()
        assert step.trigger.due == NOW + (late + 1) * MINUTE
    ended = rules.task_ended(step.trigger, "1", completed=False)
    again = rules.tick(ended, NOW + 3.2 * MINUTE, new_id)
    assert [moment for _, moment in fired(again)] == [NOW + late * MINUTE for late in after_the_end]


def test_overlapping_ticks_fire_side_by_side(new_id: Any) -> None:
    step = rules.tick(trigger(**EVERY_MINUTE), NOW + MINUTE, new_id)
    assert fired(rules.tick(step.trigger, NOW + 2 * MINUTE, new_id)) == [("2", NOW + 2 * MINUTE)]


def test_a_pause_loses_no_more_ticks_than_the_misfire_rule(new_id: Any) -> None:
    for misfire, expected in (("one", [3]), ("all", [1, 2, 3])):
        paused = rules.paused(trigger(misfire=misfire, **EVERY_MINUTE))
        assert paused.due is None
        assert rules.tick(paused, NOW + 3 * MINUTE, new_id).firings == ()
        step = rules.tick(rules.resumed(paused, NOW + 3 * MINUTE), NOW + 3 * MINUTE, new_id)
        assert [moment for _, moment in fired(step)] == [NOW + late * MINUTE for late in expected]


def test_a_range_that_fails_too_often_blocks_until_somebody_resumes(new_id: Any) -> None:
    step = rules.tick(trigger(retry={"retries": 1}, **CONTIGUOUS), NOW + MINUTE, new_id)
    failed = rules.task_ended(step.trigger, "1", completed=False)
    assert failed.state == "active"
    step = rules.tick(failed, NOW + 2 * MINUTE, new_id)
    assert [(one.window.start, one.again) for one in step.firings if one.window] == [(NOW, True)]
    blocked = rules.task_ended(step.trigger, "2", completed=False)
    assert (blocked.state, blocked.due) == ("blocked", None)
    assert "2024-05-01T12:00:00.000Z to 2024-05-01T12:01:00.000Z" in (blocked.blocked_because or "")
    assert rules.tick(blocked, NOW + 9 * MINUTE, new_id).firings == ()
    resumed = rules.resumed(blocked, NOW + 9 * MINUTE)
    assert [
        one.window.start for one in rules.tick(resumed, NOW + 9 * MINUTE, new_id).firings if one.window
    ] == [NOW]


def test_a_watermark_that_was_kept_is_where_ranges_go_on() -> None:
    coverage = trigger(mark=NOW - MINUTE, **CONTIGUOUS).coverage
    assert coverage is not None
    assert coverage.mark == NOW - MINUTE
    tracked = {"cron": {"cron": "0 3 * * *", "window": {"size": "1d", "start": {"tracked": "daily"}}}}
    made = trigger(**tracked)
    assert made.coverage is not None
    assert (made.coverage.mark, made.watermark_name) == (NOW, "daily")


def test_an_edit_takes_effect_before_the_next_tick_and_keeps_ranges(new_id: Any) -> None:
    step = rules.tick(trigger(**CONTIGUOUS), NOW + MINUTE, new_id)
    wanted = definition(interval={**CONTIGUOUS["interval"], "duration": "30s"})
    edited = rules.edited(step.trigger, wanted, NOW + 1.2 * MINUTE, timedelta(0), None)
    assert edited.next_tick == NOW + 1.5 * MINUTE
    assert edited.coverage == step.trigger.coverage


def test_a_call_fires_whatever_the_state_but_no_range_that_is_not_over(new_id: Any) -> None:
    step = rules.by_hand(rules.paused(trigger(**EVERY_MINUTE)), NOW, new_id)
    assert fired(step) == [("1", None)]
    with pytest.raises(RequestConflict, match="not over yet"):
        rules.by_hand(trigger(**CONTIGUOUS), NOW, new_id)


def test_a_limit_counts_firings() -> None:
    made = trigger(message={"limit": 2})
    once = rules.counted(made)
    assert (once.state, rules.counted(once).state) == ("active", "exhausted")
    assert rules.by_message(rules.counted(once), "1").firings == ()
    with pytest.raises(RequestConflict, match="limit"):
        rules.resumed(rules.counted(once), NOW)
    assert (
        rules.edited(rules.counted(once), definition(message={"limit": 3}), NOW, MINUTE, None).state
        == "active"
    )


def test_very_many_ranges_are_fired_in_parts(new_id: Any) -> None:
    start = {"startTime": "2024-04-01T12:00:00Z"}
    made = trigger(
        misfire="all", interval={"duration": "1m", "window": {"size": "1m", "start": start, "catchUp": 60}}
    )
    step = rules.tick(made, NOW + 10 * MINUTE, new_id)
    assert len(step.firings) == 120
    assert step.trigger.due == NOW + 3 * MINUTE


@pytest.mark.parametrize(
    ("members", "place"),
    [
        ({"interval": {"duration": "999ms"}}, ("interval", "duration")),
        ({"interval": {"duration": "1m", "randomOffset": 0}}, ("interval", "randomOffset")),
        ({"interval": {"duration": "1m", "every": 5}}, ("interval", "every")),
        ({"interval": {"duration": "1m", "window": {"size": 0}}}, ("interval", "window", "size")),
        ({"cron": {"cron": []}}, ("cron", "cron")),
        ({"cron": {"cron": ["0 3 * * *", "0 3 * * *"]}}, ("cron", "cron")),
        ({"interval": {"duration": "1m"}, "cron": {"cron": "0 3 * * *"}}, ()),
        ({}, ()),
        ({"message": {}, "overlap": "skip"}, ()),
        ({"message": {"limit": 0}}, ("message", "limit")),
        ({"message": {"filterSource": ["moon"]}}, ("message", "filterSource", 0)),
        (
            {"cron": {"cron": "0 3 * * *", "window": {"size": "1d", "start": {}}}},
            ("cron", "window", "start"),
        ),
        (
            {"cron": {"cron": "0 3 * * *", "window": {"size": "1d", "start": {"startTime": "yesterday"}}}},
            ("cron", "window", "start", "startTime"),
        ),
        ({"popBatch": {"namespace": "acme", "set": "urls"}}, ("popBatch", "namespace")),
    ],
)
def test_what_has_another_shape_is_named_with_its_place(
    members: dict[str, Any], place: tuple[str | int, ...]
) -> None:
    with pytest.raises(ValidationError) as caught:
        definition(**members)
    assert [error["loc"] for error in caught.value.errors()] == [place]


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ({"cron": {"cron": ["0 3 * * *", "61 * * * *"]}}, "`/cron/cron/1`: `61 [*]"),
        ({"cron": {"cron": "0 3 * * *", "timezone": "Mars/Olympus"}}, "`/cron/timezone`.*Mars"),
        ({"cron": {"cron": "0 3 * * *", "timezone": "../etc"}}, "`/cron/timezone`"),
        ({**EVERY_MINUTE, "payloadSchema": {"type": "objekt"}}, "`/payloadSchema/type`"),
        (
            {"interval": {"duration": "2m", "window": {"size": "1m", "start": {"tracked": "a"}}}},
            "`/interval/window/size`: these ranges cannot be contiguous",
        ),
    ],
)
def test_what_cannot_work_is_refused_with_the_place(members: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        rules.check_definition(definition(**members))


@pytest.mark.parametrize(
    "text", ["2024-05-01 14:00:00.000 +0200", "2024-05-01T12:00:00Z", "2024-05-01 14:00:00 +02:00"]
)
def test_a_start_is_written_as_the_product_does_or_in_iso(text: str) -> None:
    wanted = definition(cron={"cron": "0 3 * * *", "window": {"size": "1d", "start": {"startTime": text}}})
    assert wanted.window is not None
    assert wanted.window.start is not None
    assert wanted.window.start.start_time == NOW
