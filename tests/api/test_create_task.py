"""createTask: what is filled in, what is refused, in which order (``queue-behaviour.md`` 3.1, 3.3)."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from queue_service.core.limits import Limits
from schemas.ids import slugid
from schemas.times import format_time
from tests.api.asgi import Reply
from tests.api.manual_clock import START
from tests.api.running_queue import RunningQueue

TASK_ID: Final = "VXcJ7lLRTuKhEcZBHVS7Zw"
OTHER_ID: Final = "fN1SbArXTPSVFNUvaOlinQ"
MINUTE: Final = timedelta(minutes=1)
DAY: Final = timedelta(days=1)

on_sqlite = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)


async def create(queue: RunningQueue, **members: Any) -> Reply:
    return await queue.call("PUT", f"/task/{TASK_ID}", queue.definition(**members))


# ---- what is stored -----------------------------------------------------------------------------------


async def test_a_small_definition_is_stored_with_every_default(queue: RunningQueue) -> None:
    sent = {
        "taskQueueId": "prov/type",
        "created": "2024-05-01T12:00:00Z",
        "deadline": "2024-05-01T13:00:00Z",
        "payload": {},
        "metadata": {
            "name": "",
            "description": "",
            "owner": "",
            "source": "https://example.com",
        },
    }
    reply = await queue.call("PUT", f"/task/{TASK_ID}", sent)
    assert reply.status == 200
    assert await queue.get(f"/task/{TASK_ID}") == {
        **sent,
        "provisionerId": "prov",
        "workerType": "type",
        "schedulerId": "-",
        "projectId": "none",
        "taskGroupId": TASK_ID,
        "dependencies": [],
        "requires": "all-completed",
        "routes": [],
        "priority": "lowest",
        "retries": 5,
        "created": "2024-05-01T12:00:00.000Z",
        "deadline": "2024-05-01T13:00:00.000Z",
        "expires": "2025-05-01T13:00:00.000Z",
        "scopes": [],
        "tags": {},
        "extra": {},
    }


@pytest.mark.parametrize("kind", ["build", "test", "decision"])
async def test_what_was_sent_comes_back_unchanged(queue: RunningQueue, kind: Any) -> None:
    sent = queue.definition(kind, expires="2024-06-01T00:00:00.000Z", taskGroupId=OTHER_ID)
    assert (await queue.call("PUT", f"/task/{TASK_ID}", sent)).status == 200
    stored = await queue.get(f"/task/{TASK_ID}")
    assert {name: stored[name] for name in sent} == sent


async def test_the_reply_is_the_status_after_scheduling(queue: RunningQueue) -> None:
    assert (await create(queue)).json() == {
        "status": {
            "taskId": TASK_ID,
            "provisionerId": "taskbus-ci",
            "workerType": "b-linux-medium",
            "taskQueueId": "taskbus-ci/b-linux-medium",
            "schedulerId": "taskbus-level-3",
            "projectId": "taskbus",
            "taskGroupId": TASK_ID,
            "priority": "medium",
            "deadline": "2024-05-01T14:00:00.000Z",
            "expires": "2025-05-01T14:00:00.000Z",
            "retriesLeft": 5,
            "state": "pending",
            "runs": [
                {
                    "runId": 0,
                    "state": "pending",
                    "reasonCreated": "scheduled",
                    "scheduled": "2024-05-01T12:00:00.000Z",
                }
            ],
        }
    }


@on_sqlite
@pytest.mark.parametrize(
    ("deadline", "expires"),
    [
        ("2024-02-28T12:00:00Z", "2025-02-28T12:00:00.000Z"),
        ("2024-02-29T12:00:00Z", "2025-03-01T12:00:00.000Z"),
        ("2024-03-01T00:00:00Z", "2025-03-01T00:00:00.000Z"),
    ],
)
async def test_a_task_expires_one_calendar_year_after_its_deadline(
    queue: RunningQueue, deadline: str, expires: str
) -> None:
    queue.clock.set(datetime(2024, 2, 28, 10, tzinfo=UTC))
    await create(queue, deadline=deadline)
    assert (await queue.status(TASK_ID))["expires"] == expires


@on_sqlite
async def test_a_task_may_be_kept_until_the_end_of_time(queue: RunningQueue) -> None:
    assert (await create(queue, expires="9999-12-31T23:59:59.999Z")).status == 200
    assert (await queue.get(f"/task-group/{TASK_ID}"))["expires"] == "9999-12-31T23:59:59.999Z"


# ---- 1. the schema ------------------------------------------------------------------------------------


@on_sqlite
@pytest.mark.parametrize(
    ("members", "place"),
    [
        ({"payload": None}, "/payload"),
        ({"payload": []}, "/payload"),
        ({"metadata": None}, "/metadata"),
        ({"created": None}, "/created"),
        ({"deadline": None}, "/deadline"),
        ({"surprise": 1}, "/surprise"),
        ({"state": "pending"}, "/state"),
        ({"retries": -1}, "/retries"),
        ({"retries": "5"}, "/retries"),
        ({"priority": "normal"}, "/priority"),
        ({"routes": [""]}, "/routes/0"),
        ({"routes": ["x" * 250]}, "/routes/0"),
        ({"routes": [f"r{number}" for number in range(65)]}, "/routes"),
        ({"dependencies": [TASK_ID, TASK_ID]}, "/dependencies"),
        ({"dependencies": ["short"]}, "/dependencies/0"),
        ({"tags": {"k": "v" * 4097}}, "/tags/k"),
        ({"scopes": ["ü"]}, "/scopes/0"),
        ({"workerType": "Upper"}, "/workerType"),
        ({"schedulerId": "x" * 39}, "/schedulerId"),
        ({"projectId": ""}, "/projectId"),
        ({"requires": "some"}, "/requires"),
        ({"taskGroupId": "group"}, "/taskGroupId"),
    ],
)
async def test_a_member_out_of_form_is_refused_and_named(
    queue: RunningQueue, members: dict[str, Any], place: str
) -> None:
    reply = await create(queue, **members)
    assert (reply.status, reply.code) == (400, "InputValidationError")
    assert f"`{place}`" in reply.message
    assert set((await queue.stored()).values()) == {0}


@on_sqlite
async def test_null_is_not_a_way_to_leave_a_member_out(queue: RunningQueue) -> None:
    reply = await queue.call("PUT", f"/task/{TASK_ID}", {**queue.definition(), "taskGroupId": None})
    assert reply.code == "InputValidationError"
    assert "`/taskGroupId`" in reply.message


# ---- 2. and 3. the task queue, the number of dependencies ---------------------------------------------


@on_sqlite
@pytest.mark.parametrize(
    "ids",
    [
        ("prov", "type", "prov/type"),
        ("prov", "type", None),
        (None, None, "prov/type"),
        ("prov", None, "prov/type"),
        (None, "type", "prov/type"),
    ],
)
async def test_the_task_queue_and_the_pair_are_derived_from_each_other(
    queue: RunningQueue, ids: tuple[str | None, str | None, str | None]
) -> None:
    provisioner_id, worker_type, task_queue_id = ids
    reply = await create(
        queue, provisionerId=provisioner_id, workerType=worker_type, taskQueueId=task_queue_id
    )
    assert reply.status == 200
    for shown in (reply.json()["status"], await queue.get(f"/task/{TASK_ID}")):
        assert (shown["provisionerId"], shown["workerType"], shown["taskQueueId"]) == (
            "prov",
            "type",
            "prov/type",
        )


@on_sqlite
@pytest.mark.parametrize(
    "ids",
    [
        (None, None, None),
        ("prov", None, None),
        (None, "type", None),
        ("prov", "type", "prov/other"),
        ("prov", "type", "other/type"),
    ],
)
async def test_a_task_without_one_clear_task_queue_is_refused(
    queue: RunningQueue, ids: tuple[str | None, str | None, str | None]
) -> None:
    provisioner_id, worker_type, task_queue_id = ids
    reply = await create(
        queue, provisionerId=provisioner_id, workerType=worker_type, taskQueueId=task_queue_id
    )
    assert (reply.status, reply.code) == (400, "InputError")
    assert "`taskQueueId`" in reply.message
    assert set((await queue.stored()).values()) == {0}


@on_sqlite
@pytest.mark.parametrize("limits", [Limits(max_dependencies=2)])
async def test_the_configured_number_of_dependencies_is_enforced(queue: RunningQueue) -> None:
    required = [await queue.create() for _ in range(3)]
    assert (await create(queue, dependencies=required[:2])).status == 200
    reply = await queue.call("PUT", f"/task/{OTHER_ID}", queue.definition(dependencies=required))
    assert (reply.status, reply.code) == (400, "InputError")
    assert "at most 2" in reply.message


# ---- 6. times -----------------------------------------------------------------------------------------


@on_sqlite
@pytest.mark.parametrize(
    "times",
    [
        {"created": START - 15 * MINUTE},
        {"created": START + 15 * MINUTE},
        {"created": START, "deadline": START},
        {"deadline": START + 5 * DAY + 15 * MINUTE},
        {"deadline": START + DAY, "expires": START + DAY},
    ],
)
async def test_times_at_their_limit_are_allowed(queue: RunningQueue, times: dict[str, datetime]) -> None:
    assert (await create(queue, **times)).status == 200


MILLISECOND: Final = timedelta(milliseconds=1)
WRONG_TIMES: Final = {
    "created too old": ({"created": START - 15 * MINUTE - MILLISECOND}, "`created`", "in the past"),
    "created too new": ({"created": START + 15 * MINUTE + MILLISECOND}, "`created`", "in the future"),
    "deadline before created": ({"created": START + MINUTE, "deadline": START}, "`deadline`", "`created`"),
    "deadline passed": (
        {"created": START - MINUTE, "deadline": START - MILLISECOND},
        "`deadline`",
        "in the future",
    ),
    "deadline too far": (
        {"deadline": START + 5 * DAY + 15 * MINUTE + MILLISECOND},
        "`deadline`",
        "at most 5 days",
    ),
    "expires before deadline": (
        {"deadline": START + DAY, "expires": START + DAY - MILLISECOND},
        "`expires`",
        "`deadline`",
    ),
}


@on_sqlite
@pytest.mark.parametrize(("times", "named", "rule"), WRONG_TIMES.values(), ids=WRONG_TIMES)
async def test_a_wrong_time_is_an_input_error_that_names_it(
    queue: RunningQueue, times: dict[str, datetime], named: str, rule: str
) -> None:
    reply = await create(queue, **times)
    assert (reply.status, reply.code) == (400, "InputError")
    first_line = reply.message.splitlines()[0]
    assert first_line.startswith(named)
    assert rule in first_line
    assert set((await queue.stored()).values()) == {0}


@on_sqlite
async def test_times_are_checked_in_the_order_of_the_wire(queue: RunningQueue) -> None:
    """Each body violates one rule less than the one before; the first rule of those left is told."""
    bodies: list[tuple[dict[str, datetime], str]] = [
        ({"created": START - DAY, "deadline": START - 2 * DAY, "expires": START - 3 * DAY}, "`created`"),
        ({"created": START + DAY, "deadline": START - DAY, "expires": START - 3 * DAY}, "`created`"),
        ({"created": START, "deadline": START - DAY, "expires": START - 3 * DAY}, "not be before `created`"),
        (
            {"created": START - 10 * MINUTE, "deadline": START - MINUTE, "expires": START - 3 * DAY},
            "be in the future",
        ),
        ({"created": START, "deadline": START + 9 * DAY, "expires": START - 3 * DAY}, "at most 5 days"),
        ({"created": START, "deadline": START + DAY, "expires": START - 3 * DAY}, "`expires`"),
    ]
    for times, told in bodies:
        assert told in (await create(queue, **times)).message.splitlines()[0]


@on_sqlite
@pytest.mark.parametrize("extreme", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z"])
@pytest.mark.parametrize("name", ["created", "deadline"])
async def test_times_at_the_ends_of_the_calendar_are_input_errors(
    queue: RunningQueue, name: str, extreme: str
) -> None:
    assert (await create(queue, **{name: extreme})).code == "InputError"


@on_sqlite
@pytest.mark.parametrize("limits", [Limits(max_deadline=timedelta(days=30))])
async def test_how_far_a_deadline_may_lie_is_configurable(queue: RunningQueue) -> None:
    assert (await create(queue, deadline=START + 30 * DAY)).status == 200


# ---- 7. scopes, 8. the group, 9. the id ---------------------------------------------------------------


@on_sqlite
@pytest.mark.parametrize("scope", ["**", "a:b**", "a***"])
async def test_a_scope_with_two_final_stars_is_refused(queue: RunningQueue, scope: str) -> None:
    reply = await create(queue, scopes=["a:*", scope])
    assert (reply.status, reply.code) == (400, "InputError")
    assert f"`{scope}`" in reply.message
    assert (await queue.stored())["task_groups"] == 0


@on_sqlite
async def test_stars_elsewhere_in_a_scope_are_allowed(queue: RunningQueue) -> None:
    assert (await create(queue, scopes=["**a", "a:*", "*", ""])).status == 200


async def test_a_group_belongs_to_the_scheduler_of_its_first_task(queue: RunningQueue) -> None:
    group_id = await queue.create()
    reply = await create(queue, taskGroupId=group_id, schedulerId="somebody-else")
    assert (reply.status, reply.code) == (409, "RequestConflict")
    assert "taskbus-level-3" in reply.message
    assert "somebody-else" in reply.message
    assert (await queue.call("GET", f"/task/{TASK_ID}")).status == 404


async def test_a_sealed_group_takes_no_task_and_no_repeat(queue: RunningQueue) -> None:
    body = queue.definition()
    assert (await queue.call("PUT", f"/task/{TASK_ID}", body)).status == 200
    await queue.post(f"/task-group/{TASK_ID}/seal")
    await queue.messages()
    added = await queue.call("PUT", f"/task/{OTHER_ID}", queue.definition(taskGroupId=TASK_ID))
    repeated = await queue.call("PUT", f"/task/{TASK_ID}", body)
    assert (added.code, repeated.code) == ("RequestConflict", "RequestConflict")
    assert await queue.events() == []


async def test_an_id_that_is_taken_by_another_definition_is_a_conflict(queue: RunningQueue) -> None:
    await create(queue)
    reply = await create(queue, retries=4)
    assert (reply.status, reply.code) == (409, "RequestConflict")
    assert (await queue.get(f"/task/{TASK_ID}"))["retries"] == 5
    assert [event for event, _ in await queue.events()] == ["task-defined", "task-pending"]


async def test_a_group_may_be_left_without_a_task(queue: RunningQueue) -> None:
    reply = await create(queue, taskGroupId=OTHER_ID, dependencies=[slugid()])
    assert reply.status == 400
    group = await queue.get(f"/task-group/{OTHER_ID}/list")
    assert (group["schedulerId"], group["tasks"]) == ("taskbus-level-3", [])


# ---- 3.3 the status in task-defined -------------------------------------------------------------------


@pytest.mark.parametrize("retries", [0, 3, 49])
async def test_task_defined_shows_the_status_before_scheduling(queue: RunningQueue, retries: int) -> None:
    await create(queue, retries=retries)
    defined, pending = await queue.messages()
    assert defined.event == ("task-defined", None)
    assert (defined.body["status"]["state"], defined.body["status"]["runs"]) == ("unscheduled", [])
    assert defined.body["status"]["retriesLeft"] == retries
    assert pending.event == ("task-pending", 0)
    assert pending.body["status"] == await queue.status(TASK_ID)


# ---- limits of what a task may be ---------------------------------------------------------------------


async def test_a_task_with_everything_at_its_limit_lives(queue: RunningQueue) -> None:
    members: dict[str, Any] = {
        "routes": [f"{number:02}" + "x" * 247 for number in range(64)],
        "retries": 49,
        "schedulerId": "s" * 38,
        "projectId": "p" * 500,
        "provisionerId": "P" * 38,
        "workerType": "w" * 38,
        "tags": {"k": "v" * 4096},
        "metadata": {
            "name": "n" * 255,
            "description": "d" * 32768,
            "owner": "o" * 255,
            "source": "https://" + "s" * 4088,
        },
        "expires": format_time(START + timedelta(days=3650)),
    }
    assert (await create(queue, **members)).status == 200
    body = {"workerGroup": "g" * 38, "workerId": "i" * 38, "tasks": 32}
    reply = await queue.post(f"/claim-work/{'P' * 38}/{'w' * 38}", body)
    (claim,) = reply["tasks"]
    assert {name: claim["task"][name] for name in members} == members
    assert [event for event, _ in await queue.events()] == ["task-defined", "task-pending", "task-running"]
