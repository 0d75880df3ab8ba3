"""Clients of the auth service (``auth.md`` 4, 4.1)."""

import pytest

from schemas.times import format_time
from tests.api.running_queue import at
from tests.api.secured_queue import SecuredQueue, Signed, ids, quoted, refused
from tests.auth.callers import Caller

MEMBERS = {
    "clientId", "expires", "description", "created", "lastModified", "lastDateUsed", "lastRotated", "scopes",
    "expandedScopes", "disabled", "deleteOnExpiration",
}  # fmt: skip
NAME = "project/releng/worker.1"
PATH = f"/clients/{quoted(NAME)}"


async def test_a_new_client_is_answered_with_everything_and_its_token(secured: SecuredQueue) -> None:
    await secured.role("r", "z")
    now = format_time(secured.clock.now())
    created = await secured.root.put(PATH, secured.wanted("assume:r", "b", days=2))
    token = created.pop("accessToken")
    assert len(token) == 44
    assert created == {
        "clientId": NAME,
        "expires": format_time(secured.clock.advance(days=2)),
        "description": "a client",
        "created": now,
        "lastModified": now,
        "lastDateUsed": now,
        "lastRotated": now,
        "scopes": ["assume:r", "b"],
        "expandedScopes": ["assume:r", "b", "z"],
        "disabled": False,
        "deleteOnExpiration": False,
    }
    assert await secured.root.get(PATH) == created


async def test_a_new_client_may_leave_out_its_scopes(secured: SecuredQueue) -> None:
    body = secured.wanted()
    del body["scopes"]
    assert (await secured.root.put(PATH, body))["scopes"] == []


async def test_a_client_can_sign_with_its_token_at_once(secured: SecuredQueue) -> None:
    assert "a" in await (await secured.client(NAME, "a")).scopes()


async def test_the_token_is_shown_by_create_and_reset_alone(secured: SecuredQueue) -> None:
    await secured.client(NAME)
    for reply in (
        await secured.root.get(PATH),
        await secured.root.post(PATH, secured.wanted()),
        await secured.root.post(f"{PATH}/disable"),
        await secured.root.post(f"{PATH}/enable"),
        *(await secured.root.get("/clients/"))["clients"],
    ):
        assert set(reply) == MEMBERS
    assert set(await secured.root.post(f"{PATH}/reset")) == MEMBERS | {"accessToken"}


@pytest.mark.parametrize("name", ["a", "A-z_9!@/:.+|", "mozilla-auth0/ad|x|y", "a" * 500])
async def test_a_client_id_is_one_segment_whatever_its_characters(secured: SecuredQueue, name: str) -> None:
    await secured.client(name)
    assert (await secured.root.get(f"/clients/{quoted(name)}"))["clientId"] == name


@pytest.mark.parametrize("name", ["a b", "ä", "a%", "a*", "a" * 501, "a\n"])
async def test_a_client_id_out_of_form_is_refused(secured: SecuredQueue, name: str) -> None:
    target = "/clients/" + "".join(f"%{byte:02X}" for byte in name.encode())
    refused(await secured.root.call("PUT", target, secured.wanted()), 400, "InvalidRequestArguments")
    refused(await secured.root.call("GET", target), 400, "InvalidRequestArguments", "clientId")


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"expires": None}, "/expires"),
        ({"expires": "tomorrow"}, "/expires"),
        ({"description": "x" * 10_241}, "/description"),
        ({"description": 5}, "/description"),
        ({"scopes": ["a", "a"]}, "/scopes"),
        ({"scopes": ["ä"]}, "/scopes/0"),
        ({"scopes": ["x" * 4097]}, "/scopes/0"),
        ({"scopes": [str(number) for number in range(5001)]}, "/scopes"),
        ({"deleteOnExpiration": "true"}, "/deleteOnExpiration"),
        ({"accessToken": "vuOoBTLkTDKsiDVZ2BuxUQ"}, "/accessToken"),
    ],
)
async def test_a_body_out_of_form_is_refused(
    secured: SecuredQueue, change: dict[str, object], place: str
) -> None:
    for method in ("PUT", "POST"):
        reply = await secured.root.call(method, PATH, {**secured.wanted(), **change})
        refused(reply, 400, "InputValidationError", f"`{place}`")
    assert (await secured.root.call("GET", PATH)).status == 404


@pytest.mark.parametrize("member", ["expires", "description"])
async def test_a_member_that_is_required(secured: SecuredQueue, member: str) -> None:
    body = secured.wanted()
    del body[member]
    refused(
        await secured.root.call("PUT", PATH, body), 400, "InputValidationError", f"`/{member}`: is required"
    )


# ---- create again -------------------------------------------------------------------------------------


async def test_creating_again_within_15_minutes_gives_the_same_token(secured: SecuredQueue) -> None:
    body = secured.wanted("a", "b")
    first = await secured.root.put(PATH, body)
    secured.clock.advance(minutes=15)
    assert await secured.root.put(PATH, body) == first
    assert await secured.root.put(PATH, {**body, "scopes": ["b", "a"]}) == first
    assert await secured.told() == [("client-created", NAME)]


async def test_creating_again_after_15_minutes_is_a_conflict(secured: SecuredQueue) -> None:
    body = secured.wanted()
    await secured.root.put(PATH, body)
    secured.clock.advance(minutes=15, milliseconds=1)
    refused(await secured.root.call("PUT", PATH, body), 409, "RequestConflict", NAME)


@pytest.mark.parametrize(
    "change", [{"description": "other"}, {"scopes": ["b"]}, {"expires": "2030-01-01T00:00:00Z"}]
)
async def test_creating_again_with_other_properties_is_a_conflict(
    secured: SecuredQueue, change: dict[str, object]
) -> None:
    body = secured.wanted("a")
    await secured.root.put(PATH, body)
    before = await secured.root.get(PATH)
    refused(await secured.root.call("PUT", PATH, {**body, **change}), 409, "RequestConflict")
    assert await secured.root.get(PATH) == before


async def test_creating_a_disabled_client_again_is_a_conflict(secured: SecuredQueue) -> None:
    body = secured.wanted()
    await secured.root.put(PATH, body)
    await secured.root.post(f"{PATH}/disable")
    refused(await secured.root.call("PUT", PATH, body), 409, "RequestConflict")


# ---- update -------------------------------------------------------------------------------------------


async def test_an_update_replaces_what_it_is_given(secured: SecuredQueue) -> None:
    await secured.client(NAME, "a", deleteOnExpiration=True)
    before = await secured.root.get(PATH)
    now = format_time(secured.clock.advance(hours=1))
    body = {**secured.wanted("b", days=5), "description": "other"}
    updated = await secured.root.post(PATH, body)
    assert updated == {
        **before,
        "expires": body["expires"],
        "description": "other",
        "scopes": ["b"],
        "expandedScopes": ["b"],
        "lastModified": now,
        "deleteOnExpiration": False,
    }
    assert await secured.root.get(PATH) == updated


async def test_an_update_without_scopes_keeps_them(secured: SecuredQueue) -> None:
    await secured.client(NAME, "a")
    body = secured.wanted(deleteOnExpiration=True)
    del body["scopes"]
    updated = await secured.root.post(PATH, body)
    assert (updated["scopes"], updated["deleteOnExpiration"]) == (["a"], True)


async def test_an_update_can_take_all_scopes(secured: SecuredQueue) -> None:
    await secured.client(NAME, "a")
    assert (await secured.root.post(PATH, secured.wanted()))["scopes"] == []


async def test_an_update_does_not_change_the_token(secured: SecuredQueue) -> None:
    caller = await secured.client(NAME, "a")
    await secured.root.post(PATH, secured.wanted("b"))
    assert "b" in await caller.scopes()


# ---- reset, enable, disable, delete -------------------------------------------------------------------


async def test_a_reset_gives_another_token_and_refuses_the_former(secured: SecuredQueue) -> None:
    former = await secured.client(NAME, "a")
    now = format_time(secured.clock.advance(hours=1))
    reset = await secured.root.post(f"{PATH}/reset")
    assert (reset["lastRotated"], reset["lastModified"]) == (now, now)
    refused(await former.call("GET", "/scopes/current"), 401, "AuthenticationFailed")
    assert "a" in await former.by(Caller(NAME, reset["accessToken"])).scopes()


async def test_a_disabled_client_is_refused_until_it_is_enabled(secured: SecuredQueue) -> None:
    caller = await secured.client(NAME, "a")
    await caller.scopes()
    assert (await secured.root.post(f"{PATH}/disable"))["disabled"] is True
    refused(await caller.call("GET", "/scopes/current"), 401, "AuthenticationFailed", "disabled")
    assert (await secured.root.post(f"{PATH}/enable"))["disabled"] is False
    assert "a" in await caller.scopes()


async def test_enabling_what_is_enabled_changes_and_tells_nothing(secured: SecuredQueue) -> None:
    await secured.client(NAME)
    for verb in ("enable", "disable"):
        await secured.root.post(f"{PATH}/{verb}")
        await secured.told()
        before = await secured.root.get(PATH)
        secured.clock.advance(hours=1)
        assert await secured.root.post(f"{PATH}/{verb}") == before
        assert await secured.told() == []


async def test_a_deleted_client_is_refused(secured: SecuredQueue) -> None:
    caller = await secured.client(NAME, "a")
    await caller.scopes()
    await secured.root.delete(PATH)
    refused(await caller.call("GET", "/scopes/current"), 401, "AuthenticationFailed", NAME)
    refused(await secured.root.call("GET", PATH), 404, "ResourceNotFound", NAME)


async def test_deleting_what_is_not_there_succeeds_and_tells_nothing(secured: SecuredQueue) -> None:
    await secured.root.delete(PATH)
    assert await secured.told() == []


@pytest.mark.parametrize(
    ("method", "tail"),
    [("GET", ""), ("POST", ""), ("POST", "/reset"), ("POST", "/enable"), ("POST", "/disable")],
)
async def test_a_client_that_does_not_exist(secured: SecuredQueue, method: str, tail: str) -> None:
    body = [secured.wanted()] if (method, tail) == ("POST", "") else []
    refused(await secured.root.call(method, PATH + tail, *body), 404, "ResourceNotFound", NAME)


async def test_every_change_is_told(secured: SecuredQueue) -> None:
    await secured.client(NAME)
    await secured.root.post(PATH, secured.wanted())
    for verb in ("reset", "disable", "enable"):
        await secured.root.post(f"{PATH}/{verb}")
    await secured.root.delete(PATH)
    updated = [("client-updated", NAME)] * 4
    assert await secured.told() == [("client-created", NAME), *updated, ("client-deleted", NAME)]


# ---- static clients -----------------------------------------------------------------------------------

STATIC = "/clients/static%2Ftaskbus%2Froot"


@pytest.mark.parametrize(
    ("method", "tail"),
    [
        ("PUT", ""), ("POST", ""), ("POST", "/reset"), ("POST", "/enable"), ("POST", "/disable"),
        ("DELETE", ""),
    ],
)  # fmt: skip
async def test_a_static_client_cannot_be_changed(secured: SecuredQueue, method: str, tail: str) -> None:
    body = [secured.wanted()] if tail == "" and method != "DELETE" else []
    for target in (STATIC, "/clients/static%2Funknown"):
        refused(await secured.root.call(method, target + tail, *body), 400, "InputError", "static")
    assert await secured.told() == []


async def test_a_static_client_is_shown_like_any_other(secured: SecuredQueue) -> None:
    shown = await secured.root.get(STATIC)
    assert set(shown) == MEMBERS
    assert (shown["scopes"], shown["disabled"]) == (["*"], False)
    assert shown in (await secured.root.get("/clients/"))["clients"]


# ---- lists --------------------------------------------------------------------------------------------


async def test_pages_of_clients(secured: SecuredQueue) -> None:
    names = sorted(["a/1", "a/2", "b", "static", "stb", "zz", "Z"])
    for name in names:
        await secured.client(name)
    expected = sorted([*names, "static/taskbus/root"])
    for limit in (1, 2, 3, 8, 1000):
        found, target = list[str](), f"/clients/?limit={limit}"
        while True:
            page = await secured.root.get(target)
            assert len(page["clients"]) <= limit
            found += ids(page["clients"], "clientId")
            if "continuationToken" not in page:
                break
            target = f"/clients?limit={limit}&continuationToken={page['continuationToken']}"
        assert found == expected


async def test_clients_by_prefix(secured: SecuredQueue) -> None:
    for name in ("a", "a/1", "a/2", "a~0".replace("~", "|"), "b"):
        await secured.client(name)

    async def found(prefix: str) -> list[str]:
        page = await secured.root.get(f"/clients/?prefix={quoted(prefix)}")
        return ids(page["clients"], "clientId")

    assert await found("a/") == ["a/1", "a/2"]
    assert await found("a") == ["a", "a/1", "a/2", "a|0"]
    assert await found("static/") == ["static/taskbus/root"]
    assert await found("c") == []
    assert await found("~") == []


async def test_a_prefix_and_pages_go_together(secured: SecuredQueue) -> None:
    for name in ("a", "b1", "b2", "b3", "c"):
        await secured.client(name)
    page = await secured.root.get("/clients/?prefix=b&limit=2")
    rest = await secured.root.get(f"/clients/?prefix=b&limit=2&continuationToken={page['continuationToken']}")
    assert [*ids(page["clients"], "clientId"), *ids(rest["clients"], "clientId")] == ["b1", "b2", "b3"]
    assert "continuationToken" not in rest


@pytest.mark.parametrize("query", ["limit=x", "prefix=%00", "prefix=a&prefix=b", "colour=red"])
async def test_a_query_out_of_form_is_refused(secured: SecuredQueue, query: str) -> None:
    refused(await secured.root.call("GET", f"/clients/?{query}"), 400, "InvalidRequestArguments")


async def test_a_token_that_we_did_not_make_is_refused(secured: SecuredQueue) -> None:
    refused(await secured.root.call("GET", "/clients/?continuationToken=x"), 400, "InputError")


# ---- time ---------------------------------------------------------------------------------------------


async def test_an_expired_client_is_refused_at_once(secured: SecuredQueue) -> None:
    caller = await secured.client(NAME, "a")
    expires = at((await secured.root.get(PATH))["expires"])
    secured.clock.set(expires)
    refused(await caller.call("GET", "/scopes/current"), 401, "AuthenticationFailed", "expired")


async def test_expired_clients_are_deleted_if_they_want_it(secured: SecuredQueue) -> None:
    await secured.client("keeps", "a")
    await secured.client("goes/2", deleteOnExpiration=True)
    await secured.client("goes/1", deleteOnExpiration=True)
    await secured.client("later", deleteOnExpiration=True, days=30)
    secured.clock.advance(days=1, hours=1)
    await secured.sweep()
    assert await secured.told() == [("client-deleted", "goes/1"), ("client-deleted", "goes/2")]
    found = await secured.root.get("/clients/")
    assert ids(found["clients"], "clientId") == ["keeps", "later", "static/taskbus/root"]


async def test_the_last_use_is_written_every_six_hours(secured: SecuredQueue) -> None:
    caller = await secured.client(NAME)
    created = secured.clock.now()

    async def used_after(**time: float) -> str:
        secured.clock.advance(**time)
        await caller.scopes()
        await secured.gate.close()
        return str((await secured.root.get(PATH))["lastDateUsed"])

    assert await used_after(hours=5, minutes=59) == format_time(created)
    sixth = await used_after(minutes=1)
    assert sixth == format_time(secured.clock.now())
    assert await used_after(hours=5) == sixth
    assert await used_after(hours=1) == format_time(secured.clock.now())


async def test_what_a_client_issued_counts_as_its_use(secured: SecuredQueue) -> None:
    caller = await secured.client(NAME, "auth:create-client:x/*", "a")
    now = secured.clock.advance(hours=7)
    assert caller.caller is not None
    milliseconds = int(now.timestamp() * 1000)
    issued = caller.caller.issue("a", name="x/1", start=milliseconds, expiry=milliseconds + 1000)
    assert "a" in await caller.by(issued).scopes()
    await secured.gate.close()
    assert (await secured.root.get(PATH))["lastDateUsed"] == format_time(now)


async def test_who_is_refused_was_not_there(secured: SecuredQueue) -> None:
    await secured.client(NAME)
    before = await secured.root.get(PATH)
    secured.clock.advance(hours=7)
    liar = Signed(secured, Caller(NAME, "x" * 44))
    refused(await liar.call("GET", "/scopes/current"), 401, "AuthenticationFailed")
    await secured.gate.close()
    assert await secured.root.get(PATH) == before
