"""Who may do what: the scopes of each call, what the refused are told, and the order of the checks."""

import json
from typing import Any

import pytest

from tests.api.definitions import QUEUES
from tests.api.running_queue import NOTHING
from tests.api.secured_queue import SecuredQueue, refused
from tests.auth.callers import Caller

BAD: Any = {"x": 1}
CLIENT = {"expires": "2030-01-01T00:00:00Z", "description": "", "scopes": ["s:1", "s:2"]}
ROLE = {"description": "", "scopes": ["s:1", "s:2"]}

CALLS: list[tuple[str, str, object, list[str]]] = [
    ("GET", "/scopes/current", NOTHING, ["auth:current-scopes"]),
    ("POST", "/scopes/expand", {"scopes": ["a"]}, ["auth:expand-scopes"]),
    ("GET", "/clients/", NOTHING, ["auth:list-clients"]),
    ("GET", "/clients/a%2Fb", NOTHING, ["auth:get-client:a/b"]),
    ("PUT", "/clients/new", CLIENT, ["auth:create-client:new", "s:1", "s:2"]),
    ("POST", "/clients/a%2Fb", CLIENT, ["auth:update-client:a/b", "s:2"]),
    ("POST", "/clients/a%2Fb/reset", NOTHING, ["auth:reset-access-token:a/b"]),
    ("POST", "/clients/a%2Fb/enable", NOTHING, ["auth:enable-client:a/b"]),
    ("POST", "/clients/a%2Fb/disable", NOTHING, ["auth:disable-client:a/b"]),
    ("DELETE", "/clients/a%2Fb", NOTHING, ["auth:delete-client:a/b"]),
    ("GET", "/roles/", NOTHING, ["auth:list-roles"]),
    ("GET", "/roles2/", NOTHING, ["auth:list-roles"]),
    ("GET", "/roleids/", NOTHING, ["auth:list-roles"]),
    ("GET", "/roles/r", NOTHING, ["auth:get-role:r"]),
    ("PUT", "/roles/new", ROLE, ["auth:create-role:new", "s:1", "s:2"]),
    ("POST", "/roles/r", ROLE, ["auth:update-role:r", "s:2"]),
    ("DELETE", "/roles/r", NOTHING, ["auth:delete-role:r"]),
]


@pytest.fixture
async def prepared(secured: SecuredQueue) -> SecuredQueue:
    """With the client ``a/b`` that has the scope ``s:1``, and the role ``r`` that gives it."""
    await secured.client("a/b", "s:1")
    await secured.role("r", "assume:inner")
    await secured.role("inner", "s:1")
    await secured.root.delete("/roles/anonymous")
    return secured


@pytest.mark.parametrize(("method", "target", "body", "scopes"), CALLS)
async def test_a_call_needs_each_of_its_scopes_and_no_other(
    prepared: SecuredQueue, method: str, target: str, body: object, scopes: list[str]
) -> None:
    for lacking in scopes:
        caller = await prepared.client("caller", *(scope for scope in scopes if scope != lacking))
        before = await prepared.generation()
        reply = await caller.call(method, target, body)
        refused(reply, 403, "InsufficientScopes", lacking, "`caller`")
        assert await prepared.generation() == before
        await prepared.root.delete("/clients/caller")
    caller = await prepared.client("caller", *scopes)
    assert (await caller.call(method, target, body)).status in (200, 204)


@pytest.mark.parametrize(("method", "target", "body", "scopes"), CALLS)
async def test_who_has_no_credentials_is_told_what_is_needed(
    prepared: SecuredQueue, method: str, target: str, body: object, scopes: list[str]
) -> None:
    reply = await prepared.anonymous.call(method, target, body)
    refused(reply, 403, "InsufficientScopes", "credentials", *scopes)


@pytest.mark.parametrize(("method", "target", "body", "scopes"), CALLS)
async def test_wrong_credentials_are_never_taken_for_none(
    secured: SecuredQueue, method: str, target: str, body: object, scopes: list[str]
) -> None:
    await secured.root.post("/roles/anonymous", {"description": "", "scopes": ["*"]})
    for liar in (Caller("nobody", "x" * 44), Caller("static/taskbus/root", "x" * 44)):
        reply = await secured.root.by(liar).call(method, target, body)
        refused(reply, 401, "AuthenticationFailed")
        assert reply.header("www-authenticate") == "hawk"


async def test_a_refusal_names_client_what_is_missing_and_what_is_required(prepared: SecuredQueue) -> None:
    caller = await prepared.client("caller", "s:2")
    reply = await caller.call("PUT", "/clients/new", CLIENT)
    text = reply.message.partition("\n\n---\n")[0]
    assert text == (
        "Client `caller` does not have sufficient scopes. It is missing:\n\n"
        '```\n{\n  "AllOf": [\n    "auth:create-client:new",\n    "s:1"\n  ]\n}\n```\n\n'
        "The call requires:\n\n"
        '```\n{\n  "AllOf": [\n    "auth:create-client:new",\n    "s:1",\n    "s:2"\n  ]\n}\n```'
    )


async def test_an_update_needs_no_scope_that_the_client_lists_already(prepared: SecuredQueue) -> None:
    caller = await prepared.client("caller", "auth:update-client:a/b")
    body = {**CLIENT, "scopes": ["s:1"]}
    assert (await caller.call("POST", "/clients/a%2Fb", body)).status == 200
    assert (await caller.call("POST", "/clients/a%2Fb", {**CLIENT, "scopes": []})).status == 200
    refused(await caller.call("POST", "/clients/a%2Fb", body), 403, "InsufficientScopes", "s:1")


async def test_an_update_of_a_client_counts_literally_what_it_has(prepared: SecuredQueue) -> None:
    await prepared.client("wide", "w*")
    caller = await prepared.client("caller", "auth:update-client:wide")
    reply = await caller.call("POST", "/clients/wide", {**CLIENT, "scopes": ["w*", "w:1"]})
    refused(reply, 403, "InsufficientScopes", "w:1")


async def test_an_update_of_a_role_needs_no_scope_that_it_gave_already(prepared: SecuredQueue) -> None:
    await prepared.root.put("/roles/wide", {"description": "", "scopes": ["w*", "assume:inner"]})
    caller = await prepared.client("caller", "auth:update-role:wide")
    body = {"description": "", "scopes": ["w:1", "s:1", "w*"]}
    assert (await caller.call("POST", "/roles/wide", body)).status == 200
    refused(
        await caller.call("POST", "/roles/wide", {"description": "", "scopes": ["assume:inner"]}),
        403, "InsufficientScopes", "assume:inner",
    )  # fmt: skip


async def test_scopes_are_expanded(prepared: SecuredQueue) -> None:
    caller = await prepared.client("caller", "auth:expand-scopes")
    reply = await caller.post("/scopes/expand", {"scopes": ["assume:r", "b*", "ba", "assume:r"]})
    assert reply == {"scopes": ["assume:inner", "assume:r", "b*", "s:1"]}
    assert await caller.post("/scopes/expand", {"scopes": []}) == {"scopes": []}


async def test_current_scopes_are_those_of_the_caller_and_of_everybody(secured: SecuredQueue) -> None:
    await secured.root.post("/roles/anonymous", {"description": "", "scopes": ["e", "auth:current-scopes"]})
    caller = await secured.client("caller", "c")
    expected = ["assume:anonymous", "auth:current-scopes", "c", "e"]
    assert await caller.scopes() == expected
    assert caller.caller is not None
    narrowed = caller.by(caller.caller.with_ext({"authorizedScopes": []}))
    assert await narrowed.scopes() == [scope for scope in expected if scope != "c"]


# ---- order of the checks ------------------------------------------------------------------------------


@pytest.mark.parametrize("other", ["unknown", "%0A", "static%2Ftaskbus%2Froot"])
@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/clients/{}"), ("POST", "/clients/{}/reset"), ("POST", "/clients/{}/enable"),
        ("POST", "/clients/{}/disable"), ("DELETE", "/clients/{}"), ("GET", "/roles/{}"),
        ("DELETE", "/roles/{}"),
    ],
)  # fmt: skip
async def test_scopes_of_the_url_come_before_everything_else(
    prepared: SecuredQueue, method: str, target: str, other: str
) -> None:
    caller = await prepared.client("caller")
    refused(await caller.call(method, target.format(other)), 403, "InsufficientScopes")


@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_what_has_a_body_is_checked_before_its_scopes(prepared: SecuredQueue, method: str) -> None:
    caller = await prepared.client("caller")
    for target, body in (("/clients/{}", CLIENT), ("/roles/{}", ROLE)):
        bad = {**body, "scopes": ["s**"]}
        refused(await caller.call(method, target.format("%0A"), body), 400, "InvalidRequestArguments")
        refused(await caller.call(method, target.format("x"), BAD), 400, "InputValidationError")
        refused(await caller.call(method, target.format("x"), bad), 400, "InputError", "**")
        if target.startswith("/clients"):
            refused(await caller.call(method, target.format("static%2Fx"), bad), 400, "InputError", "static")


@pytest.mark.parametrize(("target", "body"), [("/clients/unknown", CLIENT), ("/roles/unknown", ROLE)])
async def test_an_update_finds_its_object_before_it_asks_for_scopes(
    prepared: SecuredQueue, target: str, body: object
) -> None:
    caller = await prepared.client("caller")
    refused(await caller.call("POST", target, body), 404, "ResourceNotFound", "unknown")


async def test_scopes_come_before_conflicts_and_circles(prepared: SecuredQueue) -> None:
    caller = await prepared.client("caller")
    for target, body in (
        ("/clients/a%2Fb", CLIENT),
        ("/roles/r", ROLE),
        ("/roles/inner", {"description": "", "scopes": ["assume:r"]}),
    ):
        refused(await caller.call("PUT", target, body), 403, "InsufficientScopes")


# ---- the other services -------------------------------------------------------------------------------


async def test_everybody_may_look_at_tasks_and_nobody_else_changes_them(secured: SecuredQueue) -> None:
    task = "/task/fN1SbArXTPSVFNUvaOlinQ"
    for target in (task, f"{task}/status"):
        assert (await secured.anonymous.call("GET", target, service="queue")).status == 404
    reply = await secured.anonymous.call("PUT", task, secured.definition(), service="queue")
    refused(reply, 403, "InsufficientScopes", "queue:create-task")


async def test_a_worker_lives_on_the_credentials_of_its_claim(secured: SecuredQueue) -> None:
    """The whole chain: the root client issues what claimWork hands out, and the queue honours it."""
    task_id, body = "fN1SbArXTPSVFNUvaOlinQ", secured.definition(scopes=["x:y"])
    scheduler = await secured.client(
        "scheduler", "queue:create-task:*", "queue:scheduler-id:*", "queue:route:*", "x:y"
    )
    assert (await scheduler.call("PUT", f"/task/{task_id}", body, service="queue")).status == 200
    worker = await secured.client("worker", "queue:claim-work:*", "queue:worker-id:*")
    claim = await worker.call(
        "POST",
        f"/claim-work/{QUEUES['build']}",
        {"workerGroup": "g", "workerId": "w", "tasks": 1},
        service="queue",
    )
    (given,) = claim.json()["tasks"]
    credentials = given["credentials"]
    certificate = json.loads(credentials["certificate"])
    temporary = Caller(credentials["clientId"], credentials["accessToken"])
    holder = worker.by(temporary.with_ext({"certificate": certificate}))
    assert {"x:y", f"queue:resolve-task:{task_id}/0"} <= set(await holder.scopes())
    run = f"/task/{task_id}/runs/0"
    refused(await worker.call("POST", f"{run}/reclaim", service="queue"), 403, "InsufficientScopes")
    assert (await holder.call("POST", f"{run}/reclaim", service="queue")).status == 200
    assert (await holder.call("POST", f"{run}/completed", service="queue")).status == 200
    secured.clock.advance(minutes=30)
    refused(await holder.call("POST", f"{run}/completed", service="queue"), 401, "AuthenticationFailed")
