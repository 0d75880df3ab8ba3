"""Worksets: members are added, leased, acked, given back, put aside, and counted."""

import asyncio
from typing import Any

import pytest

from queue_service.features.kv import lease_store
from queue_service.store.sqlite import SqliteConnection
from tests.api.asgi import Line
from tests.kv.running_kv import NAMESPACE, RunningKv, ids

SET = "/sets/urls"


# ---- adding -------------------------------------------------------------------------------------------


async def test_members_are_popped_with_what_they_were_added_with(kv: RunningKv) -> None:
    assert await kv.add("urls", "a", payload={"depth": [1, None]}) == {
        "added": 1, "existing": [], "requeued": [],
    }  # fmt: skip
    popped = await kv.pop("urls")
    (member,) = popped["members"]
    token = member.pop("token")
    assert member == {"id": "a", "payload": {"depth": [1, None]}, "deliveries": 1}
    assert token > 0
    assert popped["ackMode"] == "ack-batch"
    assert popped["expires"] == "2024-05-01T12:01:00.000Z"


async def test_adding_a_present_member_changes_nothing(kv: RunningKv) -> None:
    await kv.add("urls", "a", payload=1)
    assert await kv.add("urls", "a", "b", payload=2) == {"added": 1, "existing": ["a"], "requeued": []}
    popped = await kv.pop("urls", 10)
    assert [(member["id"], member["payload"]) for member in popped["members"]] == [("a", 1), ("b", 2)]


async def test_a_member_that_is_named_twice_is_added_once(kv: RunningKv) -> None:
    body = {"members": [{"id": "a", "payload": 1}, {"id": "a", "payload": 2}]}
    assert await kv.post(f"{SET}/members", body) == {"added": 1, "existing": ["a"], "requeued": []}
    assert (await kv.pop("urls", 10))["members"][0]["payload"] == 1


async def test_a_member_that_is_added_while_leased_returns_once_after_its_ack(kv: RunningKv) -> None:
    await kv.add("urls", "a", payload="old")
    lease = (await kv.pop("urls"))["leaseId"]
    for _ in range(2):
        assert (await kv.add("urls", "a", payload="new"))["requeued"] == ["a"]
    assert (await kv.pop("urls"))["members"] == []
    await kv.settle(lease, "ack")
    again = await kv.pop("urls")
    assert [(member["payload"], member["deliveries"]) for member in again["members"]] == [("new", 1)]
    await kv.settle(again["leaseId"], "ack")
    assert await kv.counts("urls") == (0, 0, 0, 0)


async def test_a_member_that_is_added_while_leased_still_returns_after_a_nack(kv: RunningKv) -> None:
    await kv.add("urls", "a", payload="old")
    lease = (await kv.pop("urls"))["leaseId"]
    await kv.add("urls", "a", payload="new")
    await kv.settle(lease, "nack")
    for payload in ("old", "new"):
        popped = await kv.pop("urls")
        assert popped["members"][0]["payload"] == payload
        await kv.settle(popped["leaseId"], "ack")
    assert await kv.counts("urls") == (0, 0, 0, 0)


# ---- popping ------------------------------------------------------------------------------------------


async def test_nothing_available_is_no_lease(kv: RunningKv) -> None:
    assert await kv.pop("urls", 10) == {"members": []}
    assert (await kv.stored())["workset_leases"] == []


async def test_the_order_is_priority_then_time_then_insertion(kv: RunningKv) -> None:
    await kv.add("urls", "low-1", "low-2")
    await kv.add("urls", "late", availableAt="2024-05-01T12:00:01.000Z", priority="high")
    kv.clock.advance(seconds=5)
    await kv.add("urls", "high", priority="high")
    await kv.add("urls", "highest", priority="highest")
    await kv.add("urls", "long-ago", availableAt="2020-01-01T00:00:00.000Z")
    assert ids(await kv.pop("urls", 10)) == ["highest", "late", "high", "long-ago", "low-1", "low-2"]


async def test_a_popped_member_is_invisible_until_its_lease_expires(kv: RunningKv) -> None:
    await kv.add("urls", "a", "b")
    first = await kv.pop("urls", 1, leaseTtlMs=1000)
    assert ids(await kv.pop("urls", 10, leaseTtlMs=60_000)) == ["b"]
    kv.clock.advance(milliseconds=999)
    assert ids(await kv.pop("urls", 10)) == []
    kv.clock.advance(milliseconds=1)
    (again,) = (await kv.pop("urls", 10))["members"]
    assert (again["id"], again["deliveries"]) == ("a", 2)
    assert again["token"] > first["members"][0]["token"]


async def test_a_delayed_member_is_popped_when_its_time_has_come(kv: RunningKv) -> None:
    await kv.add("urls", "a", availableAt="2024-05-01T12:00:10.000Z")
    assert ids(await kv.pop("urls")) == []
    assert await kv.counts("urls") == (0, 1, 0, 0)
    kv.clock.advance(seconds=10)
    assert ids(await kv.pop("urls")) == ["a"]


async def test_concurrent_pops_share_no_member(kv: RunningKv) -> None:
    everybody = [f"m{n}" for n in range(200)]
    await kv.add("urls", *everybody)
    pops = await asyncio.gather(*(kv.pop("urls", 7) for _ in range(40)))
    popped = [member for pop in pops for member in ids(pop)]
    assert sorted(popped) == sorted(everybody)


async def test_a_thousand_members_are_added_popped_and_acked_at_once(kv: RunningKv) -> None:
    everybody = [f"m{n:04}" for n in range(1000)]
    await kv.add("urls", *everybody)
    popped = await kv.pop("urls", 1000)
    assert ids(popped) == everybody
    assert await kv.settle(popped["leaseId"], "ack") == {
        "leaseId": popped["leaseId"], "acked": 1000, "left": 0,
    }  # fmt: skip


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_thousand_members_take_as_many_statements_as_one(
    kv: RunningKv, monkeypatch: pytest.MonkeyPatch
) -> None:
    executed: list[object] = []
    execute = SqliteConnection.execute

    async def counted(connection: SqliteConnection, statement: Any, *values: Any) -> Any:
        executed.append(statement)
        return await execute(connection, statement, *values)

    monkeypatch.setattr(SqliteConnection, "execute", counted)
    found = []
    for size in (1, 1000):
        executed.clear()
        await kv.add("urls", *(f"{size}-{n}" for n in range(size)))
        await kv.settle((await kv.pop("urls", size))["leaseId"], "nack")
        lease = (await kv.pop("urls", size))["leaseId"]
        await kv.settle(lease, "extend", leaseTtlMs=1000)
        await kv.settle(lease, "ack")
        found.append(len(executed))
    assert found[0] == found[1]


async def test_large_payloads_are_popped_in_several_batches(kv: RunningKv) -> None:
    for n in range(3):
        await kv.add("urls", *(f"{n}-{m}" for m in range(60)), payload="x" * 65_000)
    assert len(ids(await kv.pop("urls", 1000))) == 8 * 1024 * 1024 // 65_002
    assert len(ids(await kv.pop("urls", 1000))) == 180 - 8 * 1024 * 1024 // 65_002


# ---- acking -------------------------------------------------------------------------------------------


async def test_a_batch_is_acked_as_a_whole_and_again(kv: RunningKv) -> None:
    await kv.add("urls", "a", "b")
    lease = (await kv.pop("urls", 2))["leaseId"]
    status, code, text = await kv.refused("POST", f"/leases/{lease}/ack", {"ids": ["a"]})
    assert (status, code) == (409, "RequestConflict")
    assert "ack-batch" in text
    assert (await kv.settle(lease, "ack"))["acked"] == 2
    assert (await kv.settle(lease, "ack"))["acked"] == 0
    assert (await kv.refused("POST", f"/leases/{lease}/nack", {}))[:2] == (409, "RequestConflict")
    assert (await kv.refused("POST", f"/leases/{lease}/extend", {"leaseTtlMs": 1000}))[0] == 409


async def test_members_are_acked_singly_and_the_last_ends_the_lease(kv: RunningKv) -> None:
    await kv.add("urls", "a", "b", "c")
    lease = (await kv.pop("urls", 3, ackMode="ack-each"))["leaseId"]
    assert (await kv.settle(lease, "ack", ids=["a"]))["left"] == 2
    repeated = await kv.settle(lease, "ack", ids=["a", "b"])
    assert (repeated["acked"], repeated["left"]) == (1, 1)
    assert (await kv.settle(lease, "ack", ids=["c"]))["left"] == 0
    assert (await kv.settle(lease, "ack", ids=["c"]))["acked"] == 0
    assert (await kv.refused("POST", f"/leases/{lease}/extend", {"leaseTtlMs": 1000}))[0] == 409


@pytest.mark.parametrize("verb", ["ack", "nack", "extend"])
@pytest.mark.parametrize("taken", [True, False])
async def test_nothing_of_a_call_on_a_dead_lease_is_applied(kv: RunningKv, verb: str, taken: bool) -> None:
    await kv.add("urls", "a", "b")
    lease = (await kv.pop("urls", 2, leaseTtlMs=1000, ackMode="ack-each"))["leaseId"]
    kv.clock.advance(seconds=1)
    if taken:
        await kv.pop("urls", 1)
    before = await kv.stored()
    body: dict[str, Any] = {"leaseTtlMs": 1000} if verb == "extend" else {"ids": ["b"]}
    assert (await kv.refused("POST", f"/leases/{lease}/{verb}", body))[:2] == (409, "LeaseExpired")
    assert await kv.stored() == before


async def test_an_extended_lease_ends_later(kv: RunningKv) -> None:
    await kv.add("urls", "a")
    lease = (await kv.pop("urls", leaseTtlMs=1000))["leaseId"]
    kv.clock.advance(milliseconds=900)
    assert (await kv.settle(lease, "extend", leaseTtlMs=2000))["expires"] == "2024-05-01T12:00:02.900Z"
    kv.clock.advance(milliseconds=1999)
    assert ids(await kv.pop("urls")) == []
    assert (await kv.settle(lease, "ack"))["acked"] == 1


async def test_a_lease_is_unknown_to_other_namespaces(kv: RunningKv) -> None:
    await kv.add("urls", "a")
    lease = (await kv.pop("urls"))["leaseId"]
    for place in ("/acme/other", "/evil/deployments"):
        reply = await kv.call("POST", f"{place}/leases/{lease}/ack", {})
        assert (reply.status, reply.code) == (404, "ResourceNotFound")
    assert await kv.counts("urls") == (0, 0, 1, 0)


async def test_a_forgotten_lease_is_not_found(kv: RunningKv) -> None:
    await kv.add("urls", "a")
    lease = (await kv.pop("urls"))["leaseId"]
    kv.clock.advance(hours=1)
    await kv.database.write(lambda tx: lease_store.delete_expired(tx, tx.now, 10))
    assert (await kv.refused("POST", f"/leases/{lease}/ack", {}))[0] == 404
    assert await kv.counts("urls") == (1, 0, 0, 0)


# ---- giving back and dying ----------------------------------------------------------------------------


async def test_a_member_is_given_back_now_or_later_with_the_reason(kv: RunningKv) -> None:
    await kv.add("urls", "a", "b")
    lease = (await kv.pop("urls", 2, ackMode="ack-each"))["leaseId"]
    nacked = await kv.settle(lease, "nack", ids=["a"], error="503")
    assert nacked == {"leaseId": lease, "returned": 1, "dead": 0, "left": 1}
    await kv.settle(lease, "nack", ids=["b"], delay="10s")
    assert await kv.counts("urls") == (1, 1, 0, 0)
    (again,) = (await kv.pop("urls", 2))["members"]
    assert (again["id"], again["error"], again["deliveries"]) == ("a", "503", 2)
    kv.clock.advance(seconds=10)
    assert ids(await kv.pop("urls", 2)) == ["b"]


async def test_a_member_that_was_nacked_too_often_is_dead(kv: RunningKv) -> None:
    assert (await kv.put(SET, {"maxDeliveries": 2}))["maxDeliveries"] == 2
    await kv.add("urls", "a", payload=7)
    for dead in (0, 1):
        lease = (await kv.pop("urls"))["leaseId"]
        assert (await kv.settle(lease, "nack", error="broken"))["dead"] == dead
    assert await kv.counts("urls") == (0, 0, 0, 1)
    (_, key, body), *_ = await kv.messages()
    assert key == "primary.acme.deployments"
    assert body == {
        "version": 1, "tenant": "acme", "namespace": "deployments", "set": "urls", "memberId": "a",
        "deliveries": 2, "error": "broken",
    }  # fmt: skip
    (dead_member,) = (await kv.pop("urls.dead"))["members"]
    assert (dead_member["payload"], dead_member["error"]) == (7, "broken")
    assert await kv.counts("urls") == (0, 0, 0, 1)


async def test_a_member_whose_last_lease_expires_is_dead_at_once_and_told_by_the_loop(kv: RunningKv) -> None:
    await kv.put(SET, {"maxDeliveries": 1})
    await kv.add("urls", "a", "b")
    await kv.pop("urls", leaseTtlMs=1000)
    kv.clock.advance(seconds=1)
    assert await kv.counts("urls") == (1, 0, 0, 1)
    assert ids(await kv.pop("urls", 10, leaseTtlMs=60_000)) == ["b"]
    await kv.run_loops()
    assert [(exchange, body["memberId"]) for exchange, _, body in await kv.messages()] == [
        ("workset-member-dead", "a")
    ]
    assert await kv.counts("urls") == (0, 0, 1, 1)
    assert ids(await kv.pop("urls.dead")) == ["a"]


async def test_a_dead_member_that_is_added_again_lives_again(kv: RunningKv) -> None:
    await kv.put(SET, {"maxDeliveries": 1})
    await kv.add("urls", "a")
    await kv.settle((await kv.pop("urls"))["leaseId"], "nack")
    assert (await kv.add("urls", "a"))["added"] == 1
    assert await kv.counts("urls") == (1, 0, 0, 0)


async def test_a_member_that_was_added_during_its_last_lease_does_not_die(kv: RunningKv) -> None:
    await kv.put(SET, {"maxDeliveries": 1})
    await kv.add("urls", "nacked", "expired")
    for name in ("nacked", "expired"):
        lease = (await kv.pop("urls", leaseTtlMs=1000))["leaseId"]
        assert (await kv.add("urls", name))["requeued"] == [name]
        if name == "nacked":
            await kv.settle(lease, "nack", delay="1h")
    kv.clock.advance(seconds=1)
    await kv.run_loops()
    assert await kv.counts("urls") == (2, 0, 0, 0)
    assert await kv.messages() == []


# ---- counting -----------------------------------------------------------------------------------------


async def test_every_state_is_counted(kv: RunningKv) -> None:
    await kv.add("urls", "leased", "lost")
    await kv.pop("urls", leaseTtlMs=60_000)
    await kv.pop("urls", leaseTtlMs=1000)
    await kv.add("urls", "delayed", availableAt="2024-05-01T13:00:00.000Z")
    kv.clock.advance(seconds=5)
    await kv.add("urls", "new")
    assert await kv.get(SET) == {
        "set": "urls", "maxDeliveries": 0, "available": 2, "delayed": 1, "leased": 1, "dead": 0,
        "oldestAvailable": "2024-05-01T12:00:01.000Z",
    }  # fmt: skip


async def test_a_set_that_nobody_has_filled_is_empty(kv: RunningKv) -> None:
    assert await kv.counts("nothing") == (0, 0, 0, 0)


# ---- waiting ------------------------------------------------------------------------------------------


async def test_a_pop_waits_for_the_first_member(kv: RunningKv) -> None:
    waiting = asyncio.create_task(kv.pop("urls", 10, wait=20))
    await asyncio.sleep(0)
    await kv.add("urls", "a")
    assert ids(await waiting) == ["a"]


async def test_a_pop_waits_for_a_member_that_is_given_back(kv: RunningKv) -> None:
    await kv.add("urls", "a")
    lease = (await kv.pop("urls"))["leaseId"]
    waiting = asyncio.create_task(kv.pop("urls", wait=20))
    await asyncio.sleep(0)
    await kv.settle(lease, "nack")
    assert ids(await waiting) == ["a"]


async def test_a_pop_that_waits_in_vain_is_answered(kv: RunningKv) -> None:
    assert (await kv.pop("urls", wait="10ms"))["members"] == []


async def test_a_consumer_that_leaves_gets_no_lease(kv: RunningKv) -> None:
    line = Line()
    body = {"wait": 20}
    waiting = asyncio.create_task(kv.call("POST", f"{NAMESPACE}{SET}/pop", body, line=line))
    await asyncio.sleep(0)
    line.hang_up()
    assert (await waiting).json()["members"] == []
    await kv.add("urls", "a")
    assert await kv.counts("urls") == (1, 0, 0, 0)


async def test_a_body_that_says_nothing_may_be_left_out(kv: RunningKv) -> None:
    await kv.add("urls", "a")
    for verb, left in (("nack", 1), ("ack", 0)):
        lease_id = (await kv.post(f"{SET}/pop"))["leaseId"]
        await kv.post(f"/leases/{lease_id}/{verb}")
        assert sum(await kv.counts("urls")) == left


# ---- bad input ----------------------------------------------------------------------------------------


BAD: tuple[tuple[str, dict[str, Any]], ...] = (
    (f"{SET}/members", {"members": []}),
    (f"{SET}/members", {"members": [{"id": f"{n}"} for n in range(1001)]}),
    (f"{SET}/members", {"members": [{"id": ""}]}),
    (f"{SET}/members", {"members": [{"id": "a\n"}]}),
    (f"{SET}/members", {"members": [{"id": "é" * 257}]}),
    (f"{SET}/members", {"members": [{"id": "a", "priority": 1}]}),
    (f"{SET}/members", {"members": [{"id": "a", "availableAt": "tomorrow"}]}),
    (f"{SET}/members", {"members": [{"id": "a", "surprise": 1}]}),
    (f"{SET}.dead/members", {"members": [{"id": "a"}]}),
    ("/sets/a%20b/members", {"members": [{"id": "a"}]}),
    (f"/sets/{'s' * 101}/members", {"members": [{"id": "a"}]}),
    (f"{SET}/pop", {"limit": 0}), (f"{SET}/pop", {"limit": 1001}), (f"{SET}/pop", {"limit": "1"}),
    (f"{SET}/pop", {"leaseTtlMs": 999}), (f"{SET}/pop", {"leaseTtlMs": 86_400_001}),
    (f"{SET}/pop", {"ackMode": "never"}), (f"{SET}/pop", {"wait": "21s"}), (f"{SET}/pop", {"wait": -1}),
    (f"{SET}/pop", {"consumer": "\u0000"}), (f"{SET}/pop", {"consumer": None}),
    ("/leases/short/ack", {}),
    ("/leases/fN1SbArXTPSVFNUvaOlinQ/ack", {"ids": []}),
    ("/leases/fN1SbArXTPSVFNUvaOlinQ/nack", {"delay": "soon"}),
    ("/leases/fN1SbArXTPSVFNUvaOlinQ/nack", {"error": "\u0000"}),
    ("/leases/fN1SbArXTPSVFNUvaOlinQ/extend", {}),
)  # fmt: skip


async def test_bad_input_is_refused_and_nothing_is_stored(kv: RunningKv) -> None:
    for target, body in BAD:
        assert (await kv.refused("POST", target, body))[0] == 400, f"{target} {str(body)[:80]}"
    assert not any((await kv.stored()).values())


async def test_a_payload_that_is_too_large_is_refused(kv: RunningKv) -> None:
    body = {"members": [{"id": "a"}, {"id": "b", "payload": "x" * 65_536}]}
    status, _, text = await kv.refused("POST", f"{SET}/members", body)
    assert status == 413
    assert "members/1/payload" in text
    assert await kv.counts("urls") == (0, 0, 0, 0)


async def test_wrong_settings_are_refused(kv: RunningKv) -> None:
    for body in ({"maxDeliveries": -1}, {"maxDeliveries": "2"}, {"surprise": 1}):
        assert (await kv.refused("PUT", SET, body))[0] == 400


async def test_the_set_of_the_dead_has_no_settings(kv: RunningKv) -> None:
    assert (await kv.refused("PUT", f"{SET}.dead", {"maxDeliveries": 1}))[0] == 400
