"""Changes of clients and roles that come at once, to several processes."""

import asyncio

from tests.api.secured_queue import SecuredQueue, Signed


def both(one: SecuredQueue, other: SecuredQueue, number: int) -> Signed:
    return (one.root, other.root)[number % 2]


async def test_of_two_roles_that_would_make_a_circle_one_is_refused(
    secured: SecuredQueue, other_process: SecuredQueue
) -> None:
    for attempt in range(10):
        one, other = f"one-{attempt}", f"other-{attempt}"
        replies = await asyncio.gather(
            secured.root.call("PUT", f"/roles/{one}", {"description": "", "scopes": [f"assume:{other}"]}),
            other_process.root.call(
                "PUT", f"/roles/{other}", {"description": "", "scopes": [f"assume:{one}"]}
            ),
        )
        assert sorted(reply.status for reply in replies) == [200, 400]


async def test_a_client_that_is_created_by_many_at_once_is_created_once(
    secured: SecuredQueue, other_process: SecuredQueue
) -> None:
    body = secured.wanted("a")
    created = await asyncio.gather(
        *(both(secured, other_process, number).put("/clients/c", body) for number in range(8))
    )
    assert len({client["accessToken"] for client in created}) == 1
    assert await secured.told() == [("client-created", "c")]


async def test_changes_at_once_are_all_made_and_told(
    secured: SecuredQueue, other_process: SecuredQueue
) -> None:
    before = await secured.generation()
    names = [f"c{number}" for number in range(10)]
    await asyncio.gather(
        *(
            both(secured, other_process, number).put(f"/clients/{name}", secured.wanted())
            for number, name in enumerate(names)
        )
    )
    assert await secured.generation() == before + len(names)
    assert sorted(await secured.told()) == [("client-created", name) for name in names]


async def test_updates_at_once_leave_what_one_of_them_said(
    secured: SecuredQueue, other_process: SecuredQueue
) -> None:
    """Each caller may give one scope of its own: no mixture of two updates may come about."""
    await secured.client("c")
    limited = [
        await secured.client(f"limited-{number}", "auth:update-client:c", f"s{number}") for number in range(4)
    ]
    replies = await asyncio.gather(
        *(
            Signed(both(secured, other_process, number).queue, caller.caller).call(
                "POST", "/clients/c", secured.wanted(f"s{number}")
            )
            for number, caller in enumerate(limited)
        )
    )
    assert [reply.status for reply in replies] == [200] * 4
    (scope,) = (await secured.root.get("/clients/c"))["scopes"]
    assert scope in {f"s{number}" for number in range(4)}
