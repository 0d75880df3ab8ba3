"""Roles of the auth service (``auth.md`` 3.2, 4, 4.2)."""

import pytest

from queue_service.operations.first_start import ANONYMOUS_SCOPES
from schemas.times import format_time
from tests.api.secured_queue import SecuredQueue, ids, quoted, refused

NAME = "hook-id:project releng/*"
PATH = f"/roles/{quoted(NAME)}"


def role(*scopes: str, description: str = "a role") -> dict[str, object]:
    return {"scopes": list(scopes), "description": description}


async def test_a_new_role_is_answered_with_everything(secured: SecuredQueue) -> None:
    now = format_time(secured.clock.now())
    await secured.role("other", "o")
    created = await secured.root.put(PATH, role("x:<..>:y", "assume:other", "a"))
    assert created == {
        "roleId": NAME,
        "scopes": ["a", "assume:other", "x:<..>:y"],
        "description": "a role",
        "created": now,
        "lastModified": now,
        "expandedScopes": ["a", f"assume:{NAME}", "assume:other", "o", "x:*"],
    }
    assert await secured.root.get(PATH) == created


async def test_a_role_gives_its_scopes_at_once(secured: SecuredQueue) -> None:
    caller = await secured.client("c", "assume:hook-id:project releng/nightly")
    assert "x:nightly:y" not in await caller.scopes()
    await secured.root.put(PATH, role("x:<..>:y"))
    assert "x:nightly:y" in await caller.scopes()
    await secured.root.post(PATH, role("z:<..>"))
    assert {"z:nightly", "x:nightly:y"} & set(await caller.scopes()) == {"z:nightly"}
    await secured.root.delete(PATH)
    assert "z:nightly" not in await caller.scopes()


@pytest.mark.parametrize("name", ["a", "a b", "a/b", "a%b", "a*", "*", "x:~!\"#$&'()", "a" * 500])
async def test_a_role_id_is_one_segment_whatever_its_characters(secured: SecuredQueue, name: str) -> None:
    await secured.role(name, "s")
    assert (await secured.root.get(f"/roles/{quoted(name)}"))["roleId"] == name


@pytest.mark.parametrize("name", ["ä", "a\n", "\x7f", "a" * 501])
async def test_a_role_id_out_of_form_is_refused(secured: SecuredQueue, name: str) -> None:
    target = "/roles/" + "".join(f"%{byte:02X}" for byte in name.encode())
    refused(await secured.root.call("PUT", target, role()), 400, "InvalidRequestArguments", "roleId")


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"scopes": []}, "/description"),
        ({"description": ""}, "/scopes"),
        ({"scopes": ["a", "a"], "description": ""}, "/scopes"),
        ({"scopes": ["\n"], "description": ""}, "/scopes/0"),
        ({"scopes": [], "description": "x" * 10_241}, "/description"),
        ({"scopes": [], "description": "", "roleId": "a"}, "/roleId"),
    ],
)
async def test_a_body_out_of_form_is_refused(
    secured: SecuredQueue, body: dict[str, object], place: str
) -> None:
    for method in ("PUT", "POST"):
        refused(await secured.root.call(method, PATH, body), 400, "InputValidationError", f"`{place}`")


@pytest.mark.parametrize(
    ("name", "scope", "word"),
    [
        ("a", "b**", "**"),
        ("a*", "x:<..>:<..>", "more than once"),
        ("a*", "x*<..>", "ends with"),
        ("a", "assume:a", "`a` -> `a`"),
        ("a*", "assume:a<..>", "circle"),
        ("a", "assume:*", "circle"),
        ("a", "assume:back", "`back` -> `a` -> `back`"),
    ],
)
async def test_a_role_that_cannot_be_is_refused(
    secured: SecuredQueue, name: str, scope: str, word: str
) -> None:
    await secured.role("back", "assume:a")
    before = await secured.root.get("/roles/")
    target = f"/roles/{quoted(name)}"
    refused(await secured.root.call("PUT", target, role(scope)), 400, "InputError", word)
    assert await secured.root.get("/roles/") == before
    if name == "a*":
        await secured.root.put(target, role())
        refused(await secured.root.call("POST", target, role(scope)), 400, "InputError", word)
        assert (await secured.root.get(target))["scopes"] == []


async def test_placeholders_are_text_in_a_role_without_a_star(secured: SecuredQueue) -> None:
    assert (await secured.role("a", "x:<..>:<..>"))["expandedScopes"] == ["assume:a", "x:<..>:<..>"]


async def test_roles_that_grow_beyond_all_bounds_are_refused(secured: SecuredQueue) -> None:
    scopes = [f"{'s' * 4000}{number:04}" for number in range(1000)]
    for number in range(12):
        body = role(*(f"{scope}-{number}" for scope in scopes), *([f"assume:{number - 1}"] if number else []))
        reply = await secured.root.call("PUT", f"/roles/{number}", body)
        if reply.status != 200:
            break
    refused(reply, 400, "InputError", "more scopes than can be worked with")
    assert (await secured.root.call("GET", f"/roles/{number}")).status == 404


async def test_creating_again_with_equal_properties_is_a_success(secured: SecuredQueue) -> None:
    first = await secured.root.put(PATH, role("a", "b"))
    secured.clock.advance(days=30)
    assert await secured.root.put(PATH, role("b", "a")) == first
    assert await secured.told() == [("role-created", NAME)]


@pytest.mark.parametrize("other", [role("a"), role("a", "b", description="other"), role("a", "b", "c")])
async def test_creating_again_with_other_properties_is_a_conflict(
    secured: SecuredQueue, other: dict[str, object]
) -> None:
    first = await secured.root.put(PATH, role("a", "b"))
    refused(await secured.root.call("PUT", PATH, other), 409, "RequestConflict", NAME)
    assert await secured.root.get(PATH) == first


async def test_an_update_replaces_scopes_and_description(secured: SecuredQueue) -> None:
    before = await secured.root.put(PATH, role("a"))
    now = format_time(secured.clock.advance(hours=1))
    updated = await secured.root.post(PATH, role("c", "b", description="other"))
    assert updated == {
        **before,
        "scopes": ["b", "c"],
        "description": "other",
        "lastModified": now,
        "expandedScopes": [f"assume:{NAME}", "b", "c"],
    }
    assert await secured.root.get(PATH) == updated


@pytest.mark.parametrize(("method", "body"), [("GET", []), ("POST", [role()])])
async def test_a_role_that_does_not_exist(
    secured: SecuredQueue, method: str, body: list[dict[str, object]]
) -> None:
    refused(await secured.root.call(method, PATH, *body), 404, "ResourceNotFound", NAME)


async def test_deleting_what_is_not_there_succeeds_and_tells_nothing(secured: SecuredQueue) -> None:
    await secured.root.delete(PATH)
    assert await secured.told() == []


async def test_every_change_is_told(secured: SecuredQueue) -> None:
    await secured.root.put(PATH, role())
    await secured.root.post(PATH, role("a"))
    await secured.root.delete(PATH)
    assert await secured.told() == [("role-created", NAME), ("role-updated", NAME), ("role-deleted", NAME)]


# ---- lists --------------------------------------------------------------------------------------------


async def test_all_roles_are_an_array(secured: SecuredQueue) -> None:
    await secured.role("b", "x")
    await secured.role("a*", "y")
    found = await secured.root.get("/roles/")
    assert ids(found, "roleId") == ["a*", "anonymous", "b"]
    assert found[0] == await secured.root.get("/roles/a%2A")


@pytest.mark.parametrize(("target", "member"), [("/roles2/", "roles"), ("/roleids/", "roleIds")])
async def test_pages_of_roles(secured: SecuredQueue, target: str, member: str) -> None:
    names = sorted(["a b", "a/c", "b*", "B", "~"])
    for name in names:
        await secured.role(name)
    for limit in (1, 2, 5, 6, 1000):
        found, query = list[str](), f"?limit={limit}"
        while True:
            page = await secured.root.get(target + query)
            assert len(page[member]) <= limit
            found += ids(page[member], "roleId") if member == "roles" else page[member]
            if "continuationToken" not in page:
                break
            query = f"?limit={limit}&continuationToken={page['continuationToken']}"
        assert found == sorted([*names, "anonymous"])


# ---- anonymous ----------------------------------------------------------------------------------------


async def test_the_role_of_everybody_is_there_from_the_start(secured: SecuredQueue) -> None:
    found = await secured.root.get("/roles/anonymous")
    assert found["scopes"] == sorted(ANONYMOUS_SCOPES)
    assert await secured.anonymous.scopes() == ["assume:anonymous", *sorted(ANONYMOUS_SCOPES)]


async def test_the_role_of_everybody_can_be_changed_and_stays_so(secured: SecuredQueue) -> None:
    await secured.root.post("/roles/anonymous", role("auth:current-scopes"))
    await secured.begin()
    assert await secured.anonymous.scopes() == ["assume:anonymous", "auth:current-scopes"]
    await secured.root.delete("/roles/anonymous")
    await secured.begin()
    refused(await secured.anonymous.call("GET", "/scopes/current"), 403, "InsufficientScopes")
