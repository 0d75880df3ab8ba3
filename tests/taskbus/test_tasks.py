"""Definitions written briefly."""

from datetime import UTC, datetime, timedelta

import pytest

from taskbus.tasks import command_task, parse_duration, task_definition

NOW = datetime(2024, 5, 1, 12, 0, tzinfo=UTC)
OTHER = "VXcJ7lLRTuKhEcZBHVS7Zw"


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("10s", timedelta(seconds=10)),
        ("5m", timedelta(minutes=5)),
        ("1h", timedelta(hours=1)),
        ("2d", timedelta(days=2)),
        ("1.5h", timedelta(minutes=90)),
        (" 3s ", timedelta(seconds=3)),
        (timedelta(seconds=7), timedelta(seconds=7)),
    ],
)
def test_a_duration_is_a_number_with_a_unit(text: str | timedelta, duration: timedelta) -> None:
    assert parse_duration(text) == duration


@pytest.mark.parametrize(
    "text", ["", "5", "h", "5 min", "-1h", "1h30m", "1e3s", "0s", "٣s", timedelta(0), "9" * 30 + "d"]
)
def test_anything_else_is_refused_with_what_was_expected(text: str | timedelta) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        parse_duration(text)


def test_a_definition_counts_its_times_from_its_creation() -> None:
    made = task_definition({"x": 1}, queue="prov/type", created=NOW, deadline="2h", expires="3d")
    assert (made.created, made.deadline, made.expires) == (
        NOW,
        NOW + timedelta(hours=2),
        NOW + timedelta(days=3),
    )


def test_a_definition_is_made_now_unless_told_otherwise() -> None:
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    made = task_definition({}, queue="prov/type")
    assert before <= made.created <= datetime.now(UTC)
    assert made.deadline - made.created == timedelta(hours=1)


def test_what_is_left_out_has_the_servers_default() -> None:
    wire = task_definition({}, queue="prov/type", created=NOW).to_wire()
    assert (wire["schedulerId"], wire["retries"], wire["priority"]) == ("-", 5, "lowest")
    assert not {"expires", "taskGroupId", "provisionerId", "workerType"} & set(wire)


def test_every_option_reaches_the_definition() -> None:
    made = task_definition(
        {"x": 1},
        queue="prov/type",
        name="n",
        description="d",
        owner="o",
        source="https://s",
        created=NOW,
        task_group_id=OTHER,
        scheduler_id="sched",
        project_id="proj",
        dependencies=[OTHER],
        requires="all-resolved",
        routes=["ci.main"],
        priority="high",
        retries=1,
        scopes=["a:b"],
        tags={"k": "v"},
        extra={"e": [1]},
    )
    wire = made.to_wire()
    assert wire["metadata"] == {"name": "n", "description": "d", "owner": "o", "source": "https://s"}
    assert wire["payload"] == {"x": 1}
    assert wire["taskGroupId"] == OTHER
    assert (wire["schedulerId"], wire["projectId"]) == ("sched", "proj")
    assert (wire["dependencies"], wire["requires"]) == ([OTHER], "all-resolved")
    assert (wire["routes"], wire["priority"], wire["retries"]) == (["ci.main"], "high", 1)
    assert (wire["scopes"], wire["tags"], wire["extra"]) == (["a:b"], {"k": "v"}, {"e": [1]})


def test_wrong_members_are_all_named() -> None:
    with pytest.raises(ValueError, match="2 validation errors") as raised:
        task_definition({}, queue="no-type", retries=50)
    assert "retries" in str(raised.value)


def test_a_command_task_has_the_payload_of_the_worker() -> None:
    made = command_task(
        ["make", "all tests"], queue="prov/type", env={"CI": "1"}, max_run_time="90.5s", created=NOW
    )
    assert made.payload == {"command": ["make", "all tests"], "env": {"CI": "1"}, "maxRunTime": 91}
    assert made.metadata.name == "make 'all tests'"


def test_a_command_may_be_a_script_and_the_task_may_have_another_name() -> None:
    made = command_task("echo a | wc", queue="prov/type", name="count", created=NOW)
    assert made.payload == {"command": "echo a | wc"}
    assert made.metadata.name == "count"


def test_a_long_command_gives_a_name_of_the_length_allowed() -> None:
    assert len(command_task("x" * 1000, queue="prov/type").metadata.name) == 255
