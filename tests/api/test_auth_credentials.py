"""Judging credentials for others, and the test endpoints of clients (``auth.md`` 4.3, 4.4)."""

from typing import Any

import pytest

from schemas.times import format_time
from tests.api.running_queue import NOTHING
from tests.api.secured_queue import SecuredQueue, refused
from tests.auth.callers import Caller, hash_of, header

TESTER = Caller("tester", "no-secret")
HASH = hash_of(b"{}", "application/json")


# ---- authenticateHawk ---------------------------------------------------------------------------------


async def judged(secured: SecuredQueue, caller: Caller | None, **members: Any) -> dict[str, Any]:
    """What we say about a request that another service received."""
    body = {"method": "post", "resource": "/api/x/v1/y%2Fz?a=1", "host": "X.example", "port": 8080, **members}
    if caller is not None:
        attributes = caller.attributes(
            body["method"].upper(),
            body["resource"],
            host=body["host"].lower(),
            port=body["port"],
            ts=int(secured.clock.now().timestamp()),
            hash=HASH,
        )
        body["authorization"] = header(attributes)
    return dict(await secured.anonymous.post("/authenticate-hawk", body))


async def test_a_request_to_another_service_is_judged(secured: SecuredQueue) -> None:
    await secured.role("r", "z")
    caller = await secured.client("c", "assume:r")
    expires = (await secured.root.get("/clients/c"))["expires"]
    found = await judged(secured, caller.caller, sourceIp="10.0.0.1")
    scopes = found.pop("scopes")
    assert found == {
        "status": "auth-success", "scheme": "hawk", "clientId": "c", "expires": expires, "hash": HASH
    }  # fmt: skip
    assert {"assume:r", "z", "assume:anonymous", "queue:status:*"} <= set(scopes)


async def test_temporary_credentials_are_judged_too(secured: SecuredQueue) -> None:
    caller = (await secured.client("c", "auth:create-client:n", "a")).caller
    assert caller is not None
    now = int(secured.clock.now().timestamp() * 1000)
    found = await judged(secured, caller.issue("a", name="n", start=now, expiry=now + 5000))
    assert (found["status"], found["clientId"]) == ("auth-success", "n")
    assert found["expires"] == format_time(secured.clock.advance(seconds=5))


async def test_a_signed_url_is_judged(secured: SecuredQueue) -> None:
    caller = (await secured.client("c")).caller
    assert caller is not None
    expiry = int(secured.clock.now().timestamp()) + 60
    resource = "/api/x/v1/y?a=1"
    bewit = caller.bewit(resource, expiry, host="x.example")
    found = await judged(secured, None, method="get", resource=f"{resource}&bewit={bewit}")
    assert (found["status"], found["clientId"], "hash" in found) == ("auth-success", "c", False)


async def test_a_request_without_credentials_has_the_scopes_of_everybody(secured: SecuredQueue) -> None:
    found = await judged(secured, None)
    scopes = found.pop("scopes")
    expires = format_time(secured.clock.advance(minutes=15))
    assert found == {"status": "no-auth", "scheme": "none", "expires": expires}
    assert "assume:anonymous" in scopes


@pytest.mark.parametrize(
    "change", [{"port": 8081}, {"host": "y.example"}, {"resource": "/other"}, {"method": "put"}]
)
async def test_a_request_that_was_signed_otherwise_is_refused(
    secured: SecuredQueue, change: dict[str, Any]
) -> None:
    caller = (await secured.client("c")).caller
    assert caller is not None
    signed = caller.attributes(
        "POST", "/signed", host="x.example", port=8080, ts=int(secured.clock.now().timestamp())
    )
    right = {"method": "post", "resource": "/signed", "host": "x.example", "port": 8080}
    assert (await judged(secured, None, **right, authorization=header(signed)))["status"] == "auth-success"
    wrong = await judged(secured, None, **(right | change), authorization=header(signed))
    assert set(wrong) == {"status", "message"}
    assert wrong["status"] == "auth-failed"


async def test_what_a_client_that_is_not_known_signs_is_refused(secured: SecuredQueue) -> None:
    found = await judged(secured, Caller("nobody", "x" * 44))
    assert (found["status"], "nobody" in found["message"]) == ("auth-failed", True)


@pytest.mark.parametrize(
    "change",
    [{"method": "POST"}, {"port": 70_000}, {"port": "80"}, {"host": 5}, {"resource": None}, {"x": 1}],
)
async def test_a_request_out_of_form_is_refused(secured: SecuredQueue, change: dict[str, Any]) -> None:
    body = {"method": "get", "resource": "/", "host": "h", "port": 80, **change}
    reply = await secured.anonymous.call("POST", "/authenticate-hawk", body)
    refused(reply, 400, "InputValidationError")


# ---- testAuthenticate ---------------------------------------------------------------------------------


def body_of(has: list[str], needs: list[str]) -> dict[str, list[str]]:
    return {"clientScopes": has, "requiredScopes": needs}


async def asked(secured: SecuredQueue, caller: Caller, has: list[str], needs: list[str]) -> Any:
    return await secured.root.by(caller).post("/test-authenticate", body_of(has, needs))


async def test_the_tester_has_the_scopes_it_asks_for(secured: SecuredQueue) -> None:
    found = await asked(secured, TESTER, ["test:a", "b*"], ["test:a", "bcd"])
    assert found == {"clientId": "tester", "scopes": ["b*", "test:a"]}


async def test_the_tester_may_ask_for_a_scope_that_looks_like_a_parameter(secured: SecuredQueue) -> None:
    assert (await asked(secured, TESTER, ["test:<a>"], ["test:<a>"]))["scopes"] == ["test:<a>"]


async def test_the_tester_has_nothing_of_our_roles(secured: SecuredQueue) -> None:
    await secured.role("r", "z")
    assert (await asked(secured, TESTER, ["assume:r"], []))["scopes"] == ["assume:r"]


async def test_the_tester_may_restrict_itself(secured: SecuredQueue) -> None:
    narrow = TESTER.with_ext({"authorizedScopes": ["test:a"]})
    assert (await asked(secured, narrow, ["test:*"], ["test:a"]))["scopes"] == ["test:a"]
    reply = await secured.root.by(narrow).call("POST", "/test-authenticate", body_of(["test:*"], ["test:b"]))
    refused(reply, 403, "InsufficientScopes", "test:b")


@pytest.mark.parametrize("name", [None, "test:named"])
async def test_the_tester_may_issue_credentials(secured: SecuredQueue, name: str | None) -> None:
    now = int(secured.clock.now().timestamp() * 1000)
    issued = TESTER.issue("test:1", name=name, start=now, expiry=now + 5000)
    found = await asked(secured, issued, ["test:*", "auth:create-client:test:*"], ["test:1"])
    assert found == {"clientId": name or "tester", "scopes": ["test:1"]}


async def test_the_tester_lacks_what_it_did_not_ask_for(secured: SecuredQueue) -> None:
    body = body_of(["test:a"], ["test:b"])
    reply = await secured.root.by(TESTER).call("POST", "/test-authenticate", body)
    refused(reply, 403, "InsufficientScopes", "test:b", "`tester`")
    reply = await secured.anonymous.call("POST", "/test-authenticate", body)
    refused(reply, 403, "InsufficientScopes", "test:b", "credentials")


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [("POST", "/test-authenticate", body_of([], [])), ("GET", "/test-authenticate-get/", NOTHING)],
)
async def test_nobody_but_the_tester_is_known_to_a_test(
    secured: SecuredQueue, method: str, target: str, body: object
) -> None:
    for caller in (Caller("tester", "other"), secured.root.caller):
        assert caller is not None
        refused(await secured.root.by(caller).call(method, target, body), 401, "AuthenticationFailed")


async def test_the_tester_is_a_stranger_everywhere_else(secured: SecuredQueue) -> None:
    refused(await secured.root.by(TESTER).call("GET", "/scopes/current"), 401, "AuthenticationFailed")


async def test_the_get_form_has_scopes_of_its_own(secured: SecuredQueue) -> None:
    found = await secured.root.by(TESTER).get("/test-authenticate-get/")
    assert found == {"clientId": "tester", "scopes": ["auth:create-client:test:*", "test:*"]}
    narrow = TESTER.with_ext({"authorizedScopes": ["test:other"]})
    reply = await secured.root.by(narrow).call("GET", "/test-authenticate-get/")
    refused(reply, 403, "InsufficientScopes", "test:authenticate-get")


async def test_the_payload_of_a_test_is_checked(secured: SecuredQueue) -> None:
    reply = await secured.root.by(TESTER).call(
        "POST", "/test-authenticate", body_of([], []), hash=hash_of(b"other", "application/json")
    )
    refused(reply, 401, "AuthenticationFailed")
