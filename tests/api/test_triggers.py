"""Triggers: their definitions and what their owners do with them (``seed-systems.md`` D.5)."""

from typing import Any

import pytest

from tests.api.running_queue import RunningQueue
from tests.api.triggered import EVERY_MINUTE, GROUP, PATH, TASK, RunningTriggers, trigger

CONTIGUOUS = {
    "interval": {
        "duration": "1h",
        "window": {"size": "1h", "start": {"startTime": "2024-05-01T12:00:00.000Z"}},
    }
}


async def test_a_trigger_is_as_it_was_defined_with_every_default(triggers: RunningTriggers) -> None:
    created = await triggers.create(**EVERY_MINUTE)
    assert created == {
        "group": GROUP,
        "id": "nightly",
        "state": "active",
        "created": "2024-05-01T12:00:00.000Z",
        "nextTick": "2024-05-01T12:01:00.000Z",
        "fires": 0,
        "description": "",
        "interval": {"duration": 60, "immediate": False},
        "misfire": "one",
        "overlap": "allow",
        "retry": {"timeout": 30, "retries": 0},
        "payloadSchema": {"type": "object", "additionalProperties": False},
        "task": TASK,
    }
    assert await triggers.get(PATH) == created


async def test_creating_a_trigger_again_must_say_the_same(triggers: RunningTriggers) -> None:
    created = await triggers.create(**EVERY_MINUTE)
    assert await triggers.create(**EVERY_MINUTE) == created
    status, code, _ = await triggers.refused("PUT", PATH, trigger(interval={"duration": "2m"}))
    assert (status, code) == (409, "RequestConflict")
    assert await triggers.get(PATH) == created


async def test_an_update_replaces_the_definition(triggers: RunningTriggers) -> None:
    await triggers.create(**EVERY_MINUTE)
    updated = await triggers.post(PATH, trigger(cron={"cron": "0 3 * * *", "timezone": "Europe/Berlin"}))
    assert (updated["cron"]["cron"], updated["nextTick"]) == (["0 3 * * *"], "2024-05-02T01:00:00.000Z")
    assert "interval" not in updated
    assert await triggers.get(PATH) == updated


async def test_triggers_are_listed_in_pages_in_order(triggers: RunningTriggers) -> None:
    assert await triggers.get("/triggers") == {"triggers": []}
    for group, trigger_id in (("b", "2"), ("b", "1"), ("a", "3")):
        await triggers.put(f"/{group}/{trigger_id}", trigger(**EVERY_MINUTE))
    first = await triggers.get("/triggers?limit=2")
    second = await triggers.get(f"/triggers?limit=2&continuationToken={first['continuationToken']}")
    listed = [(one["group"], one["id"]) for one in first["triggers"] + second["triggers"]]
    assert listed == [("a", "3"), ("b", "1"), ("b", "2")]
    assert "continuationToken" not in second


async def test_a_deleted_trigger_is_gone_with_its_firings(triggers: RunningTriggers) -> None:
    await triggers.create(**EVERY_MINUTE)
    await triggers.fire()
    for deleted in (True, False):
        assert (await triggers.call("DELETE", PATH)).json() == {"deleted": deleted}
    assert (await triggers.call("GET", PATH)).status == 404
    await triggers.create(**EVERY_MINUTE)
    assert await triggers.fires() == []


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", PATH),
        ("GET", f"{PATH}/fires"),
        ("POST", PATH),
        ("POST", f"{PATH}/pause"),
        ("POST", f"{PATH}/resume"),
        ("POST", f"{PATH}/fire"),
    ],
)
async def test_a_trigger_that_is_not_there_is_not_found(
    triggers: RunningTriggers, method: str, target: str
) -> None:
    body = trigger(**EVERY_MINUTE) if target == PATH else {}
    reply = await (triggers.call(method, target) if method == "GET" else triggers.call(method, target, body))
    assert (reply.status, reply.json()["code"]) == (404, "ResourceNotFound")


@pytest.mark.parametrize(
    ("members", "code", "told"),
    [
        ({"cron": {"cron": ["61 * * * *"]}}, "InputError", "`/cron/cron/0`: `61 * * * *`"),
        ({"cron": {"cron": "0 3 * * *", "timezone": "Nowhere"}}, "InputError", "`/cron/timezone`"),
        ({**EVERY_MINUTE, "payloadSchema": {"type": "objekt"}}, "InputError", "`/payloadSchema/type`"),
        ({**CONTIGUOUS, "retry": {"again": 1}}, "InputValidationError", "`/retry/again`"),
        ({"interval": {"duration": "0.5s"}}, "InputValidationError", "`/interval/duration`"),
        ({"interval": {"duration": -1}}, "InputValidationError", "`/interval/duration`"),
        ({**EVERY_MINUTE, "cron": {"cron": "0 3 * * *"}}, "InputValidationError", "exactly one of"),
        ({}, "InputValidationError", "exactly one of"),
        ({**EVERY_MINUTE, "every": 5}, "InputValidationError", "`/every`"),
        ({**EVERY_MINUTE, "misfire": "never"}, "InputValidationError", "`/misfire`"),
        (
            {"interval": {"duration": "2h", "window": {"size": "1h", "start": {"tracked": "a"}}}},
            "InputError",
            "cannot be contiguous",
        ),
    ],
)
async def test_a_definition_that_cannot_work_is_refused_with_the_place(
    triggers: RunningTriggers, members: dict[str, Any], code: str, told: str
) -> None:
    status, found, text = await triggers.refused("PUT", PATH, trigger(**members))
    assert (status, found) == (400, code)
    assert told in text
    assert await triggers.get("/triggers") == {"triggers": []}


@pytest.mark.parametrize(
    ("method", "target", "scopes"),
    [
        ("GET", "/triggers", "triggers:list:"),
        ("GET", PATH, f"triggers:get:{GROUP}/nightly"),
        ("GET", f"{PATH}/fires", f"triggers:get:{GROUP}/nightly"),
        (
            "PUT",
            PATH,
            {"AllOf": [f"triggers:create:{GROUP}/nightly", f"assume:trigger-id:{GROUP}/nightly"]},
        ),
        (
            "POST",
            PATH,
            {"AllOf": [f"triggers:create:{GROUP}/nightly", f"assume:trigger-id:{GROUP}/nightly"]},
        ),
        ("DELETE", PATH, f"triggers:create:{GROUP}/nightly"),
        ("POST", f"{PATH}/pause", f"triggers:create:{GROUP}/nightly"),
        ("POST", f"{PATH}/resume", f"triggers:create:{GROUP}/nightly"),
        ("POST", f"{PATH}/fire", f"triggers:fire:{GROUP}/nightly"),
    ],
)
async def test_who_lacks_the_scopes_learns_nothing_else(
    triggers: RunningTriggers, queue: RunningQueue, method: str, target: str, scopes: object
) -> None:
    queue.permit.deny()
    reply = await triggers.call(method, target, {"no": "trigger"})
    assert reply.status == 403
    assert queue.permit.asked == [scopes]
