"""Hooks that fire: by a call, by a token, by messages, by the clock (``hooks-and-triggers.md`` 3 to 6)."""

import json
from datetime import datetime
from typing import Any

import pytest

from schemas.ids import slugid
from schemas.times import format_time
from tests.api.hooked import GROUP, METADATA, ROLE_SCOPES, TASK, RunningHooks, hook
from tests.api.manual_clock import ManualClock
from tests.api.running_queue import RunningQueue

NIGHTLY = f"/hooks/{GROUP}/nightly"
ANYTHING = {"type": "object"}
EXCHANGE = "exchange/taskcluster-queue/v1/task-completed"


async def definition_of(queue: RunningQueue, task_id: str) -> dict[str, Any]:
    return await queue.get(f"/task/{task_id}")


# ---- by a call ---------------------------------------------------------------------------------------


async def test_a_call_creates_the_task_of_the_template(hooks: RunningHooks, queue: RunningQueue) -> None:
    await hooks.create()
    fired = await hooks.trigger()
    task_id = fired["taskId"]
    assert fired == {"taskId": task_id, "status": {"taskId": task_id}}
    task = await definition_of(queue, task_id)
    assert (task["payload"], task["taskGroupId"]) == (TASK["payload"], task_id)
    assert (task["created"], task["deadline"], task["expires"]) == (
        "2024-05-01T12:00:00.000Z",
        "2024-05-02T12:00:00.000Z",
        "2024-06-01T12:00:00.000Z",
    )
    assert (await queue.events())[-2:] == [("task-defined", None), ("task-pending", 0)]


async def test_the_template_knows_why_and_for_which_task_it_is_rendered(
    hooks: RunningHooks, queue: RunningQueue
) -> None:
    template = {
        **TASK,
        "deadline": {"$fromNow": "2 hours"},
        "payload": {
            "by": "${firedBy}",
            "who": "${clientId}",
            "what": {"$eval": "payload"},
            "id": "${taskId}",
            "now": "${now}",
        },
    }
    await hooks.create(task=template, triggerSchema=ANYTHING)
    task_id = (await hooks.trigger({"level": 3}))["taskId"]
    task = await definition_of(queue, task_id)
    assert task["payload"] == {
        "by": "triggerHook",
        "who": "tester",
        "what": {"level": 3},
        "id": task_id,
        "now": "2024-05-01T12:00:00.000Z",
    }
    assert task["deadline"] == "2024-05-01T14:00:00.000Z"


async def test_a_payload_may_choose_the_task_id(hooks: RunningHooks) -> None:
    await hooks.create(triggerSchema=ANYTHING)
    task_id = slugid()
    assert (await hooks.trigger({"taskId": task_id}))["taskId"] == task_id


@pytest.mark.parametrize("task_id", ["short", 5, None, "fN1SbArXAPSVFNUvaOlinQ"])
async def test_a_task_id_that_is_none_is_refused(hooks: RunningHooks, task_id: object) -> None:
    await hooks.create(triggerSchema=ANYTHING)
    reply = await hooks.call("POST", f"{NIGHTLY}/trigger", {"taskId": task_id})
    assert (reply.status, reply.json()["code"]) == (400, "InputError")
    assert "`/taskId`" in reply.json()["message"]


async def test_a_payload_that_violates_the_schema_is_refused_with_all_violations(hooks: RunningHooks) -> None:
    schema = {"type": "object", "properties": {"level": {"type": "integer"}}, "required": ["tree"]}
    await hooks.create(triggerSchema=schema)
    reply = await hooks.call("POST", f"{NIGHTLY}/trigger", {"level": "3"})
    assert (reply.status, reply.json()["code"]) == (400, "InputError")
    assert '`/level`: "3" is not of type "integer"' in reply.json()["message"]
    assert '"tree" is a required property' in reply.json()["message"]
    assert (await hooks.call("GET", f"{NIGHTLY}/last-fires")).status == 404


async def test_a_hook_declines_by_a_template_that_renders_to_nothing(hooks: RunningHooks) -> None:
    await hooks.create(task={"$if": "payload.tree == 'central'", "then": TASK}, triggerSchema=ANYTHING)
    assert await hooks.trigger({"tree": "try"}) == {}
    assert (await hooks.call("GET", f"{NIGHTLY}/last-fires")).status == 404
    assert "taskId" in await hooks.trigger({"tree": "central"})


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ({**TASK, "payload": {"$eval": "nobody.knows"}}, "nobody"),
        ({"$eval": "[1, 2]"}, "expected an object"),
        ({**TASK, "retries": -1}, "`/retries`"),
        ({**TASK, "metadata": METADATA}, "`/metadata/source`"),
        ({**TASK, "deadline": "2020-01-01T00:00:00.000Z"}, "`deadline`"),
        ({**TASK, "dependencies": ["fN1SbArXTPSVFNUvaOlinQ"]}, "fN1SbArXTPSVFNUvaOlinQ"),
    ],
)
async def test_a_task_that_cannot_be_created_is_an_error_that_is_told_and_kept(
    hooks: RunningHooks, template: dict[str, Any], told: str
) -> None:
    await hooks.create(task=template)
    reply = await hooks.call("POST", f"{NIGHTLY}/trigger", {})
    assert (reply.status, reply.json()["code"]) == (400, "InputError")
    assert told in reply.json()["message"]
    (fire,) = await hooks.fires()
    assert (fire["result"], fire["firedBy"], fire["taskState"]) == ("error", "triggerHook", "unknown")
    assert told in fire["error"]


async def test_a_template_that_computes_without_end_is_stopped(hooks: RunningHooks) -> None:
    hooks.sandbox._seconds = 0.2
    endless = {"$map": {"$eval": "range(0, 100000000)"}, "each(x)": {"$eval": "x"}}
    await hooks.create(task={"payload": endless})
    fired = await hooks.messages.handle((GROUP, "nightly"), EXCHANGE, None, b"{}")
    assert fired
    (fire,) = await hooks.fires()
    assert "more than 0.2 s" in fire["error"] or "too much memory" in fire["error"]
    await hooks.create("other")
    assert await hooks.messages.handle((GROUP, "other"), EXCHANGE, None, b"{}")
    assert [fire["result"] for fire in await hooks.fires("other")] == ["success"]


# ---- with a token ------------------------------------------------------------------------------------


async def test_who_knows_the_token_needs_no_credentials(hooks: RunningHooks, queue: RunningQueue) -> None:
    await hooks.create(task={**TASK, "payload": {"by": "${firedBy}"}})
    token = (await hooks.get(f"{NIGHTLY}/token"))["token"]
    queue.permit.distrust()
    fired = await hooks.post(f"{NIGHTLY}/trigger/{token}", {})
    queue.permit.allow()
    assert (await definition_of(queue, fired["taskId"]))["payload"] == {"by": "triggerHookWithToken"}
    reply = await hooks.call("POST", f"{NIGHTLY}/trigger/{slugid()}", {})
    assert (reply.status, reply.json()["code"]) == (401, "AuthenticationFailed")


# ---- with the scopes of its role ---------------------------------------------------------------------


async def test_the_task_of_a_hook_has_the_scopes_of_its_role_at_most(restricted_hooks: RunningHooks) -> None:
    await restricted_hooks.create()
    reply = await restricted_hooks.call("POST", f"{NIGHTLY}/trigger", {})
    assert (reply.status, reply.json()["code"]) == (400, "InputError")
    assert f"`hook-id:{GROUP}/nightly`" in reply.json()["message"]
    assert "queue:scheduler-id:releng-level-3" in reply.json()["message"]
    (fire,) = await restricted_hooks.fires()
    assert json.loads(fire["error"])["code"] == "InsufficientScopes"


async def test_a_role_that_was_given_its_scopes_counts_at_once(restricted_hooks: RunningHooks) -> None:
    await restricted_hooks.create()
    await restricted_hooks.call("POST", f"{NIGHTLY}/trigger", {})
    await restricted_hooks.grant(*ROLE_SCOPES)
    assert "taskId" in await restricted_hooks.trigger()


# ---- by the clock ------------------------------------------------------------------------------------


def scheduled(seconds_ahead: str = "0 3 * * *") -> dict[str, Any]:
    return {"schedule": [seconds_ahead], "task": {**TASK, "payload": {"by": "${firedBy}", "now": "${now}"}}}


async def test_the_clock_fires_at_the_scheduled_date_and_not_before(
    hooks: RunningHooks, queue: RunningQueue, clock: ManualClock
) -> None:
    await hooks.create(**scheduled())
    status = await hooks.get(f"{NIGHTLY}/status")
    assert status == {"lastFire": {"result": "no-fire"}, "nextScheduledDate": "2024-05-02T03:00:00.000Z"}
    clock.set(datetime.fromisoformat("2024-05-02T02:59:59.999Z"))
    assert await hooks.clockwork.run_once() == 0
    clock.set(datetime.fromisoformat("2024-05-02T03:00:07Z"))
    assert await hooks.clockwork.run_once() == 1
    assert await hooks.clockwork.run_once() == 0
    (fire,) = await hooks.fires()
    task = await definition_of(queue, fire["taskId"])
    assert (task["created"], task["payload"]) == (
        "2024-05-02T03:00:00.000Z",
        {"by": "schedule", "now": "2024-05-02T03:00:00.000Z"},
    )
    assert (fire["firedBy"], fire["result"], fire["taskState"]) == ("schedule", "success", "pending")
    assert (await hooks.get(f"{NIGHTLY}/status")) == {
        "lastFire": {"result": "success", "taskId": fire["taskId"], "time": "2024-05-02T03:00:00.000Z"},
        "nextScheduledDate": "2024-05-03T03:00:00.000Z",
    }


async def test_dates_that_were_missed_are_skipped(hooks: RunningHooks, clock: ManualClock) -> None:
    await hooks.create(**scheduled("*/5 * * * *"))
    clock.advance(minutes=17)
    assert await hooks.clockwork.run_once() == 1
    assert await hooks.clockwork.run_once() == 0
    assert len(await hooks.fires()) == 1
    assert (await hooks.get(f"{NIGHTLY}/status"))["nextScheduledDate"] == "2024-05-01T12:20:00.000Z"


async def test_a_date_fires_once_whichever_process_looks(
    hooks: RunningHooks, queue: RunningQueue, second: RunningQueue, clock: ManualClock
) -> None:
    await hooks.create(**scheduled("* * * * *"))
    clock.advance(minutes=1)
    async with hooks.queue.database.read() as connection:
        from queue_service.features.hooks import store

        due = await store.due(connection, clock.now(), 10)
    prepared = [(one, await hooks.firing.prepare(one, _occasion(one))) for one in due]
    carry_out = hooks.clockwork._carry_out
    assert len(await queue.database.write(lambda tx: carry_out(tx, prepared))) == 1
    assert len(await second.database.write(lambda tx: carry_out(tx, prepared))) == 0
    assert len(await hooks.fires()) == 1


def _occasion(one: Any) -> Any:
    from queue_service.features.hooks.clockwork import _occasion as occasion

    return occasion(one)


async def test_a_failure_is_kept_and_the_next_date_comes(hooks: RunningHooks, clock: ManualClock) -> None:
    await hooks.create(schedule=["* * * * *"], task={**TASK, "payload": {"$eval": "payload"}})
    clock.advance(minutes=1)
    await hooks.clockwork.run_once()
    (fire,) = await hooks.fires()
    assert (fire["result"], fire["taskCreateTime"]) == ("error", "2024-05-01T12:01:00.000Z")
    assert (await hooks.get(f"{NIGHTLY}/status"))["lastFire"]["error"]["message"]
    clock.advance(minutes=1)
    await hooks.clockwork.run_once()
    assert len(await hooks.fires()) == 2


async def test_a_changed_schedule_counts_from_now_on(hooks: RunningHooks, clock: ManualClock) -> None:
    await hooks.create(**scheduled("1 12 * * *"))
    await hooks.post(NIGHTLY, hook(schedule=["30 12 * * *"]))
    clock.advance(minutes=1)
    assert await hooks.clockwork.run_once() == 0
    await hooks.post(NIGHTLY, hook())
    assert "nextScheduledDate" not in await hooks.get(f"{NIGHTLY}/status")


async def test_many_hooks_of_one_date_fire_all(hooks: RunningHooks, clock: ManualClock) -> None:
    for number in range(5):
        await hooks.create(f"every-{number}", **scheduled("* * * * *"))
    await hooks.create("broken", schedule=["* * * * *"], task={"$eval": "broken"})
    clock.advance(minutes=1)
    assert await hooks.clockwork.run_once() == 6
    results = [(await hooks.fires(f"every-{number}"))[0]["result"] for number in range(5)]
    assert results == ["success"] * 5
    assert (await hooks.fires("broken"))[0]["result"] == "error"


# ---- by messages -------------------------------------------------------------------------------------


async def test_a_message_fires_the_hook_with_its_body(hooks: RunningHooks, queue: RunningQueue) -> None:
    await hooks.create(
        task={**TASK, "payload": {"by": "${firedBy}", "tree": "${payload.tree}"}}, triggerSchema=ANYTHING
    )
    assert await hooks.messages.handle((GROUP, "nightly"), "exchange/hg/v1", None, b'{"tree": "central"}')
    (fire,) = await hooks.fires()
    task = await definition_of(queue, fire["taskId"])
    assert task["payload"] == {"by": "pulseMessage", "tree": "central"}


async def test_a_message_of_ours_fires_once_however_often_it_comes(hooks: RunningHooks) -> None:
    await hooks.create()
    for exchange in (EXCHANGE, EXCHANGE, "exchange/hg/v1", "exchange/hg/v1"):
        await hooks.messages.handle((GROUP, "nightly"), exchange, "17", b"{}")
    assert len(await hooks.fires()) == 3


@pytest.mark.parametrize("body", [b"no json", b'{"more": 1}', b"[]", b"\xff"])
async def test_a_message_that_does_not_fit_the_schema_is_dropped_without_a_record(
    hooks: RunningHooks, body: bytes
) -> None:
    await hooks.create()
    assert not await hooks.messages.handle((GROUP, "nightly"), EXCHANGE, "1", body)
    assert (await hooks.call("GET", f"{NIGHTLY}/last-fires")).status == 404


async def test_a_message_for_a_hook_that_is_gone_is_dropped(hooks: RunningHooks) -> None:
    assert not await hooks.messages.handle((GROUP, "nightly"), EXCHANGE, "1", b"{}")


# ---- what is known of it -----------------------------------------------------------------------------


async def test_firings_are_listed_newest_first_in_pages(hooks: RunningHooks, clock: ManualClock) -> None:
    await hooks.create()
    fired = []
    for _ in range(5):
        clock.advance(seconds=1)
        fired.append((await hooks.trigger())["taskId"])
    listed: list[str] = []
    token = ""
    while True:
        page = await hooks.get(f"{NIGHTLY}/last-fires?limit=2{token}")
        listed += [fire["taskId"] for fire in page["lastFires"]]
        if "continuationToken" not in page:
            break
        token = f"&continuationToken={page['continuationToken']}"
    assert listed == fired[::-1]


async def test_a_firing_shows_the_state_of_its_task_now(hooks: RunningHooks, queue: RunningQueue) -> None:
    await hooks.create()
    task_id = (await hooks.trigger())["taskId"]
    assert (await hooks.fires())[0]["taskState"] == "pending"
    await queue.post(f"/task/{task_id}/cancel")
    assert (await hooks.fires())[0]["taskState"] == "exception"


async def test_the_next_task_id_and_the_token_are_shown_nowhere(hooks: RunningHooks) -> None:
    await hooks.create(schedule=["* * * * *"])
    async with hooks.queue.database.read() as connection:
        from queue_service.features.hooks import store

        stored = await store.get(connection, (GROUP, "nightly"))
    assert stored is not None
    shown = json.dumps([await hooks.get(NIGHTLY), await hooks.get(f"{NIGHTLY}/status")])
    assert stored.next_task_id not in shown
    assert stored.trigger_token not in shown
    assert stored.next_task_id not in repr(stored)


async def test_firings_are_forgotten_after_a_year(hooks: RunningHooks, clock: ManualClock) -> None:
    from queue_service.features.hooks.feature import HOOKS

    await hooks.create()
    await hooks.trigger()
    clock.advance(days=366)
    (sweep,) = HOOKS.sweeps
    assert await hooks.queue.database.write(lambda tx: sweep(tx, clock.now(), 10)) == 1
    assert format_time(clock.now())
    assert (await hooks.call("GET", f"{NIGHTLY}/last-fires")).status == 404
