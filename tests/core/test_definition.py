"""From what a client sends to the definition that is kept (``queue-behaviour.md`` 3.1 and 3.2)."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from queue_service.core import definition as definitions
from queue_service.core.errors import InputError
from queue_service.core.limits import Limits
from schemas.times import format_time
from tests.core.samples import CREATED, DEADLINE, EXPIRES, GROUP_ID, NOW, TASK_ID, definition, request

LIMITS = Limits()
MILLISECOND = timedelta(milliseconds=1)
LONGEST = LIMITS.max_deadline + LIMITS.drift


def test_absent_members_take_their_defaults() -> None:
    bare = definition(schedulerId=None, expires=None, tags=None)
    assert bare.to_wire() == {
        "provisionerId": "prov",
        "workerType": "type",
        "taskQueueId": "prov/type",
        "schedulerId": "-",
        "projectId": "none",
        "taskGroupId": TASK_ID,
        "dependencies": [],
        "requires": "all-completed",
        "routes": [],
        "priority": "lowest",
        "retries": 5,
        "created": format_time(CREATED),
        "deadline": format_time(DEADLINE),
        "expires": "2025-05-01T16:00:00.123Z",
        "scopes": [],
        "payload": {"command": ["true"]},
        "metadata": {
            "name": "n",
            "description": "d",
            "owner": "o@example.com",
            "source": "https://example.com",
        },
        "tags": {},
        "extra": {},
    }


def test_what_is_given_is_kept() -> None:
    given: dict[str, Any] = {
        "taskGroupId": GROUP_ID,
        "dependencies": [GROUP_ID],
        "requires": "all-resolved",
        "routes": ["a", "b"],
        "priority": "highest",
        "retries": 0,
        "scopes": ["x"],
        "payload": {"a": None, "b": [{"c": None}]},
        "extra": {"e": 1.5},
        "projectId": "p",
    }
    wire = definition(**given).to_wire()
    assert {key: wire[key] for key in given} == given


@pytest.mark.parametrize(
    ("given", "queue"),
    [
        ({"taskQueueId": "a/b"}, ("a", "b")),
        ({"provisionerId": "a", "workerType": "b"}, ("a", "b")),
        ({"provisionerId": "a", "workerType": "b", "taskQueueId": "a/b"}, ("a", "b")),
        ({"provisionerId": "x", "taskQueueId": "a/b"}, ("a", "b")),
        ({"workerType": "x", "taskQueueId": "a/b"}, ("a", "b")),
    ],
    ids=[
        "only the queue",
        "only the pair",
        "all three agree",
        "half a pair beside it",
        "other half beside it",
    ],
)
def test_the_task_queue_is_known(given: dict[str, Any], queue: tuple[str, str]) -> None:
    complete = definition(**({"taskQueueId": None} | given))
    assert (complete.provisioner_id, complete.worker_type) == queue
    assert complete.task_queue_id == "/".join(queue)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"provisionerId": "a"},
        {"workerType": "b"},
        {"provisionerId": "a", "workerType": "c", "taskQueueId": "a/b"},
        {"provisionerId": "c", "workerType": "b", "taskQueueId": "a/b"},
    ],
    ids=["nothing", "only the provisioner", "only the worker type", "other worker type", "other provisioner"],
)
def test_a_missing_or_contradictory_task_queue_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        definition(**({"taskQueueId": None} | given))


def test_dependencies_are_counted_against_the_limit() -> None:
    limits = replace(LIMITS, max_dependencies=2)
    definitions.check_dependency_count(request(dependencies=[TASK_ID, GROUP_ID]), limits)
    with pytest.raises(InputError, match="`dependencies` lists 2 tasks; at most 1 are allowed"):
        definitions.check_dependency_count(
            request(dependencies=[TASK_ID, GROUP_ID]), replace(LIMITS, max_dependencies=1)
        )


# Times: what is allowed at the very limit, and the first of several faults that is named


@pytest.mark.parametrize(
    "times",
    [
        {"created": NOW - LIMITS.drift},
        {"created": NOW + LIMITS.drift, "deadline": NOW + LIMITS.drift},
        {"created": NOW, "deadline": NOW},
        {"deadline": NOW},
        {"deadline": NOW + LONGEST},
        {"deadline": DEADLINE, "expires": DEADLINE},
    ],
    ids=[
        "created as old as may be",
        "created as new as may be",
        "deadline at created",
        "deadline now",
        "deadline as far as may be",
        "expires at the deadline",
    ],
)
def test_equal_times_are_allowed(times: dict[str, datetime]) -> None:
    definitions.check_times(timed(**times), NOW, LIMITS)


TOO_OLD = {"created": NOW - LIMITS.drift - MILLISECOND}
TOO_NEW = {"created": NOW + LIMITS.drift + MILLISECOND, "deadline": DEADLINE}
BEFORE_CREATED = {"created": NOW, "deadline": NOW - MILLISECOND}
PASSED = {"created": CREATED, "deadline": NOW - MILLISECOND}
TOO_FAR = {"deadline": NOW + LONGEST + MILLISECOND}
TOO_SHORT = {"expires": DEADLINE - MILLISECOND}


@pytest.mark.parametrize(
    ("times", "text"),
    [
        (TOO_OLD, "`created` is 2024-05-01T11:45:00.122Z and must not be more than 15 minutes in the past"),
        (TOO_NEW, "`created` is 2024-05-01T12:15:00.124Z and must not be more than 15 minutes in the future"),
        (BEFORE_CREATED, "`deadline` .* must not be before `created`"),
        (PASSED, "`deadline` .* must be in the future"),
        (TOO_FAR, "`deadline` .* must be at most 5 days in the future"),
        (TOO_SHORT, "`expires` .* must not be before `deadline`"),
        (TOO_OLD | {"deadline": CREATED - timedelta(hours=1)}, "`created` .* in the past"),
        (TOO_NEW | {"deadline": NOW}, "`created` .* in the future"),
        (BEFORE_CREATED | {"expires": CREATED}, "`deadline` .* before `created`"),
        (PASSED | {"expires": CREATED}, "`deadline` .* in the future"),
        (TOO_FAR | {"expires": CREATED}, "`deadline` .* at most 5 days"),
    ],
    ids=[
        "created too old",
        "created too new",
        "deadline before created",
        "deadline passed",
        "deadline too far",
        "expires before the deadline",
        "1 before 3: created too old, deadline before it",
        "2 before 3: created too new, deadline before it",
        "3 before 4: deadline before created and passed",
        "4 before 6: deadline passed, expires before it",
        "5 before 6: deadline too far, expires before it",
    ],
)
def test_the_first_wrong_time_is_refused(times: dict[str, datetime], text: str) -> None:
    with pytest.raises(InputError, match=text):
        definitions.check_times(timed(**times), NOW, LIMITS)


def timed(**times: datetime) -> Any:
    given = {"created": CREATED, "deadline": DEADLINE, "expires": EXPIRES} | times
    return definition(**{name: format_time(moment) for name, moment in given.items()})


@pytest.mark.parametrize(
    ("moment", "later"),
    [
        (datetime(2023, 5, 1, 12, 0, 0, 5000, tzinfo=UTC), datetime(2024, 5, 1, 12, 0, 0, 5000, tzinfo=UTC)),
        (datetime(2024, 2, 29, 23, 59, tzinfo=UTC), datetime(2025, 3, 1, 23, 59, tzinfo=UTC)),
        (datetime(2023, 2, 28, tzinfo=UTC), datetime(2024, 2, 28, tzinfo=UTC)),
        (datetime(9999, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)),
    ],
    ids=["same day", "leap day", "before a leap day", "end of time"],
)
def test_one_year_later(moment: datetime, later: datetime) -> None:
    assert definitions.one_year_after(moment) == later


@pytest.mark.parametrize("scope", ["**", "a**", "queue:*:**", "***"])
def test_a_scope_that_ends_in_two_stars_is_refused(scope: str) -> None:
    with pytest.raises(InputError, match=r"must not end with `\*\*`"):
        definitions.check_scopes(definition(scopes=["fine", scope]))


def test_other_stars_in_scopes_are_allowed() -> None:
    definitions.check_scopes(definition(scopes=["*", "a*", "**a", "a**b", ""]))


# Equality of normalised definitions


@pytest.mark.parametrize(
    "members",
    [
        {"payload": {"a": 1, "b": {"x": [1, 2], "y": None}}},
        {"payload": {"b": {"y": None, "x": [1, 2]}, "a": 1}},
        {"payload": {"a": 1.0, "b": {"x": [1, 2], "y": None}}},
        {"payload": {"a": 1, "b": {"x": [1, 2], "y": None}}, "taskGroupId": TASK_ID},
        {"payload": {"a": 1, "b": {"x": [1, 2], "y": None}}, "provisionerId": "prov", "workerType": "type"},
        {"payload": {"a": 1, "b": {"x": [1, 2], "y": None}}, "created": "2024-05-01T13:50:00.1239+02:00"},
    ],
    ids=[
        "itself",
        "members in other order",
        "1 is 1.0",
        "default written out",
        "queue spelled",
        "other zone",
    ],
)
def test_definitions_that_are_equal(members: dict[str, Any]) -> None:
    stored = definition(payload={"a": 1, "b": {"x": [1, 2], "y": None}})
    assert definitions.equal(stored, definition(**members))


@pytest.mark.parametrize(
    "members",
    [
        {"routes": ["b", "a"]},
        {"routes": ["a"]},
        {"payload": {"a": True}},
        {"payload": {"a": 1, "b": None}},
        {"payload": {"a": "1"}},
        {"payload": {"a": [1]}},
        {"priority": "low"},
        {"created": format_time(CREATED + MILLISECOND)},
        {"retries": 4},
    ],
    ids=[
        "arrays are ordered",
        "an element less",
        "true is not 1",
        "null is not absent",
        "text is not a number",
        "a list is not its element",
        "priority",
        "a millisecond",
        "retries",
    ],
)
def test_definitions_that_differ(members: dict[str, Any]) -> None:
    stored: dict[str, Any] = {"routes": ["a", "b"], "payload": {"a": 1}}
    assert not definitions.equal(definition(**stored), definition(**(stored | members)))


def test_a_new_task_has_all_its_retries_and_no_run() -> None:
    made = definition(retries=7, routes=["r"], requires="all-resolved", priority="high")
    task = definitions.unscheduled_task(TASK_ID, made)
    assert (task.retries, task.retries_left, task.runs, task.state) == (7, 7, (), "unscheduled")
    assert (task.routes, task.requires, task.priority, task.version) == (("r",), "all-resolved", "high", 0)
    assert not task.ever_resolved
