"""Hooks: their definitions, as ``hooks-and-triggers.md`` 1 and 2 have them."""

from typing import Any

import pytest

from tests.api.hooked import GROUP, METADATA, RunningHooks, hook
from tests.api.running_queue import RunningQueue

NIGHTLY = f"/hooks/{GROUP}/nightly"


async def test_a_hook_is_as_it_was_defined_with_every_default(hooks: RunningHooks) -> None:
    created = await hooks.create()
    assert created == {
        "hookGroupId": GROUP,
        "hookId": "nightly",
        "metadata": {**METADATA, "emailOnError": True},
        "task": hook()["task"],
        "schedule": [],
        "triggerSchema": {"type": "object", "additionalProperties": False},
    }
    assert await hooks.get(NIGHTLY) == created


async def test_null_in_a_template_is_kept(hooks: RunningHooks) -> None:
    await hooks.create(task={"$let": {"x": None}, "in": None})
    assert (await hooks.get(NIGHTLY))["task"] == {"$let": {"x": None}, "in": None}


async def test_the_id_of_a_hook_may_have_slashes_which_the_url_encodes(hooks: RunningHooks) -> None:
    created = await hooks.create("nightly%2Flinux%2F64")
    assert created["hookId"] == "nightly/linux/64"
    assert (await hooks.get(f"/hooks/{GROUP}"))["hooks"] == [created]


async def test_groups_and_their_hooks_are_listed_in_order(hooks: RunningHooks) -> None:
    assert await hooks.get("/hooks") == {"groups": []}
    for group, hook_id in (("b", "2"), ("b", "1"), ("a", "3")):
        await hooks.put(f"/hooks/{group}/{hook_id}", hook())
    assert await hooks.get("/hooks") == {"groups": ["a", "b"]}
    assert [one["hookId"] for one in (await hooks.get("/hooks/b"))["hooks"]] == ["1", "2"]


async def test_creating_a_hook_again_must_say_the_same(hooks: RunningHooks) -> None:
    created = await hooks.create()
    assert await hooks.create(bindings=[]) == created
    reply = await hooks.call("PUT", NIGHTLY, hook(schedule=["0 3 * * *"]))
    assert (reply.status, reply.json()["code"]) == (409, "RequestConflict")
    assert await hooks.get(NIGHTLY) == created


async def test_an_update_replaces_all_but_bindings_that_it_does_not_mention(hooks: RunningHooks) -> None:
    bindings = [{"exchange": "exchange/taskcluster-queue/v1/task-completed", "routingKeyPattern": "#"}]
    await hooks.create(schedule=["0 3 * * *"], bindings=bindings)
    updated = await hooks.post(NIGHTLY, hook(triggerSchema={"type": "object"}))
    assert (updated["schedule"], updated["bindings"]) == ([], bindings)
    assert updated["triggerSchema"] == {"type": "object"}
    assert (await hooks.post(NIGHTLY, hook(bindings=[])))["bindings"] == []
    assert await hooks.get(NIGHTLY) == {**updated, "bindings": [], "triggerSchema": hook_schema()}


def hook_schema() -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False}


async def test_a_trigger_token_survives_updates_until_it_is_reset(hooks: RunningHooks) -> None:
    await hooks.create()
    token = await hooks.get(f"{NIGHTLY}/token")
    await hooks.post(NIGHTLY, hook())
    assert await hooks.get(f"{NIGHTLY}/token") == token
    reset = await hooks.post(f"{NIGHTLY}/token", {})
    assert reset != token
    assert await hooks.get(f"{NIGHTLY}/token") == reset


async def test_a_removed_hook_is_gone_with_its_firings(hooks: RunningHooks) -> None:
    await hooks.create()
    await hooks.trigger()
    for _ in range(2):
        reply = await hooks.call("DELETE", NIGHTLY)
        assert (reply.status, reply.json()) == (200, {})
    assert (await hooks.call("GET", NIGHTLY)).status == 404
    await hooks.create()
    assert (await hooks.call("GET", f"{NIGHTLY}/last-fires")).status == 404


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", f"/hooks/{GROUP}"),
        ("GET", NIGHTLY),
        ("GET", f"{NIGHTLY}/status"),
        ("GET", f"{NIGHTLY}/token"),
        ("GET", f"{NIGHTLY}/last-fires"),
        ("POST", NIGHTLY),
        ("POST", f"{NIGHTLY}/token"),
        ("POST", f"{NIGHTLY}/trigger"),
        ("POST", f"{NIGHTLY}/trigger/uO5xXtMBQ2KfGS5lZ1QEmQ"),
    ],
)
async def test_a_hook_that_is_not_there_is_not_found(hooks: RunningHooks, method: str, target: str) -> None:
    body = hook() if target == NIGHTLY and method == "POST" else {}
    reply = await (hooks.call(method, target) if method == "GET" else hooks.call(method, target, body))
    assert (reply.status, reply.json()["code"]) == (404, "ResourceNotFound")


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ({"schedule": ["0 3 * * *", "61 * * * *"]}, "`/schedule/1`: `61 * * * *`"),
        ({"schedule": ["@daily"]}, "`/schedule/0`: `@daily`"),
        ({"triggerSchema": {"type": "objekt"}}, "`/triggerSchema/type`"),
        ({"triggerSchema": {"properties": {"a": {"pattern": 5}}}}, "`/triggerSchema/properties/a/pattern`"),
        ({"triggerSchema": {"properties": {"a": {"pattern": "("}}}}, "`/triggerSchema/properties/a/pattern`"),
        ({"triggerSchema": {"$ref": "http://169.254.169.254/secrets"}}, "must not refer to http"),
        ({"hookId": "another"}, "`hookId` is `another`"),
        ({"hookGroupId": "another"}, "`hookGroupId` is `another`"),
        (
            {
                "bindings": [
                    {"exchange": "exchange/taskcluster-hooks/v1/hook-created", "routingKeyPattern": "#"}
                ]
            },
            "`/bindings/0/exchange`",
        ),
    ],
)
async def test_a_definition_that_cannot_work_is_refused_with_the_place(
    hooks: RunningHooks, members: dict[str, Any], told: str
) -> None:
    reply = await hooks.call("PUT", NIGHTLY, hook(**members))
    assert (reply.status, reply.json()["code"]) == (400, "InputError")
    assert told in reply.json()["message"]
    assert await hooks.get("/hooks") == {"groups": []}


@pytest.mark.parametrize(
    ("definition", "told"),
    [
        ({"task": {}}, "`/metadata`"),
        ({"metadata": METADATA}, "`/task`"),
        (hook(metadata={**METADATA, "owner": "nobody"}), "`/metadata/owner`"),
        (hook(metadata={**METADATA, "more": 1}), "`/metadata/more`"),
        (hook(schedule=["0 3 * * *", "0 3 * * *"]), "`/schedule`"),
        (hook(bindings=[{"exchange": "", "routingKeyPattern": "#"}]), "`/bindings/0/exchange`"),
        (hook(expires="never"), "`/expires`"),
    ],
)
async def test_a_definition_of_another_shape_is_refused_with_every_violation(
    hooks: RunningHooks, definition: dict[str, Any], told: str
) -> None:
    reply = await hooks.call("PUT", NIGHTLY, definition)
    assert (reply.status, reply.json()["code"]) == (400, "InputValidationError")
    assert told in reply.json()["message"]


async def test_every_change_of_a_hook_is_told(hooks: RunningHooks, queue: RunningQueue) -> None:
    await hooks.create()
    await hooks.create()
    await hooks.post(NIGHTLY, hook())
    await hooks.call("DELETE", NIGHTLY)
    await hooks.call("DELETE", NIGHTLY)
    told = await queue.messages()
    assert [(message.exchange, message.routing_key, message.body) for message in told] == [
        (f"exchange/taskcluster-hooks/v1/hook-{change}", "_", {"hookGroupId": GROUP, "hookId": "nightly"})
        for change in ("created", "updated", "deleted")
    ]


@pytest.mark.parametrize(
    ("method", "target", "scopes"),
    [
        ("GET", "/hooks", "hooks:list-hooks:"),
        ("GET", f"/hooks/{GROUP}", f"hooks:list-hooks:{GROUP}"),
        ("GET", NIGHTLY, f"hooks:get:{GROUP}:nightly"),
        ("GET", f"{NIGHTLY}/status", f"hooks:status:{GROUP}/nightly"),
        (
            "PUT",
            NIGHTLY,
            {"AllOf": [f"hooks:modify-hook:{GROUP}/nightly", f"assume:hook-id:{GROUP}/nightly"]},
        ),
        (
            "POST",
            NIGHTLY,
            {"AllOf": [f"hooks:modify-hook:{GROUP}/nightly", f"assume:hook-id:{GROUP}/nightly"]},
        ),
        ("DELETE", NIGHTLY, f"hooks:modify-hook:{GROUP}/nightly"),
        ("POST", f"{NIGHTLY}/trigger", f"hooks:trigger-hook:{GROUP}/nightly"),
        ("GET", f"{NIGHTLY}/token", f"hooks:get-trigger-token:{GROUP}/nightly"),
        ("POST", f"{NIGHTLY}/token", f"hooks:reset-trigger-token:{GROUP}/nightly"),
        ("GET", f"{NIGHTLY}/last-fires", f"hooks:list-last-fires:{GROUP}/nightly"),
    ],
)
async def test_who_lacks_the_scopes_learns_nothing_else(
    hooks: RunningHooks, queue: RunningQueue, method: str, target: str, scopes: object
) -> None:
    queue.permit.deny()
    reply = await hooks.call(method, target, {"no": "hook"})
    assert reply.status == 403
    assert queue.permit.asked == [scopes]
