"""The clients of values and worksets, against a service in this process."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from taskbus import Conflict, DecodeError, Kv, LeaseExpired, NotFound, Queue
from taskbus.kv import split
from taskbus.worksets import Batch
from tests.examples.conftest import Running, service  # noqa: F401


@pytest.fixture
async def client(service: Running) -> Any:  # noqa: F811
    async with Kv(service.root_url) as client:
        yield client


async def add(client: Kv, *ids: str) -> None:
    await client.workset("acme:crawl", "urls").add(ids)


async def counts(client: Kv) -> tuple[int, int, int]:
    found = await client.workset("acme:crawl", "urls").counts()
    return found.available, found.leased, found.delayed


async def test_values_are_put_got_listed_and_deleted(client: Kv) -> None:
    values = client.kv("acme:deployments/eu")
    first = await values.put("a/b", {"n": None}, ttl="1h")
    assert first.expires is not None
    assert await values.get("a/b") == {"n": None}
    assert await values.get("missing", 7) == 7
    await values.put("..", "text", value_format="raw-string")
    assert [entry.key async for entry in values.iterate(page_size=1)] == ["..", "a/b"]
    assert [entry.value async for entry in values.iterate("a", values=True)] == [{"n": None}]
    with pytest.raises(Conflict, match=f"version {first.version}"):
        await values.put("a/b", 1, if_version=0)
    with pytest.raises(DecodeError):
        await values.entry("..", value_format="json")
    assert await values.delete("a/b", if_version=first.version)
    assert not await values.delete("a/b")
    with pytest.raises(NotFound):
        await values.entry("a/b")


@pytest.mark.parametrize("namespace", ["acme", "acme:", ":a", "a:b:c", ""])
def test_a_namespace_has_a_tenant(namespace: str) -> None:
    with pytest.raises(ValueError, match="expected tenant:namespace"):
        split(namespace)


async def test_a_lock_excludes_others_is_renewed_and_released(client: Kv) -> None:
    values = client.kv("acme:locks")
    async with values.lock("release", owner="one", ttl=timedelta(seconds=30)) as lock:
        with pytest.raises(Conflict):
            async with values.lock("release", owner="two"):
                pass
        await lock.renew()
        assert (await values.entry("release")).value == "one"
    async with values.lock("release", owner="two", wait="1s") as other:
        assert other.token > lock.token
    assert await values.get("release") is None


async def test_a_batch_is_acked_when_the_body_has_ended(client: Kv) -> None:
    await add(client, "a", "b", "c")
    seen = []
    async for batch in client.workset("acme:crawl", "urls").batches(limit=2, wait=0.01):
        seen.append([member.id for member in batch])
        assert (await counts(client))[1] == len(batch)
    assert seen == [["a", "b"], ["c"]]
    assert await counts(client) == (0, 0, 0)


async def test_what_was_not_acked_is_given_back_when_the_body_raises(client: Kv) -> None:
    await add(client, "a", "b")
    workset = client.workset("acme:crawl", "urls")

    async def fail() -> None:
        async with workset.batches(limit=2, ack="each") as batches:
            async for batch in batches:
                await batch.ack("a")
                raise RuntimeError("no answer")

    with pytest.raises(RuntimeError):
        await fail()
    assert await counts(client) == (1, 0, 0)
    again = await workset.pop()
    assert again is not None
    assert (again.members[0].id, again.members[0].error) == ("b", "RuntimeError: no answer")


async def test_a_bare_loop_that_is_left_gives_its_batch_back(service: Running) -> None:  # noqa: F811
    async with Kv(service.root_url) as client:
        await add(client, "a")
        async for _ in client.workset("acme:crawl", "urls").batches():
            break
    async with Kv(service.root_url) as client:
        assert await counts(client) == (1, 0, 0)


async def test_a_loop_that_is_left_by_break_within_its_context_acks(client: Kv) -> None:
    await add(client, "a")
    async with client.workset("acme:crawl", "urls").batches() as batches:
        async for _ in batches:
            break
    assert await counts(client) == (0, 0, 0)


async def test_the_lease_is_extended_while_the_body_runs(client: Kv, monkeypatch: pytest.MonkeyPatch) -> None:
    extended = asyncio.Event()
    extend = Batch.extend

    async def watched(batch: Batch) -> None:
        await extend(batch)
        extended.set()

    monkeypatch.setattr(Batch, "extend", watched)
    await add(client, "a")
    async for batch in client.workset("acme:crawl", "urls").batches(lease="1s", wait=0.01):
        before = batch.expires
        await extended.wait()
        assert batch.expires > before
    assert await counts(client) == (0, 0, 0)


async def test_members_are_acked_given_back_and_extended_by_hand(client: Kv) -> None:
    workset = client.workset("acme:crawl", "urls")
    answer = await workset.add([f"m{n}" for n in range(1500)] + [{"id": "m0", "payload": 1}])
    assert (answer.added, answer.existing) == (1500, ("m0",))
    batch = await workset.pop(3, ack="each", consumer="me")
    assert batch is not None
    await batch.extend()
    await batch.ack("m0")
    await batch.nack("m1", delay="1h", error="later")
    await batch.ack()
    assert await counts(client) == (1497, 0, 1)
    assert (await workset.configure(max_deliveries=3)).max_deliveries == 3


async def test_a_client_may_share_the_connections_of_another(service: Running) -> None:  # noqa: F811
    async with Queue(service.root_url) as queue:
        client = Kv.beside(queue)
        await client.kv("acme:a").put("k", 1)
        await add(client, "a")
        async for _ in client.workset("acme:crawl", "urls").batches():
            break
        await client.give_back()
        assert await counts(client) == (1, 0, 0)


async def test_a_dead_lease_is_an_error_of_its_own() -> None:
    assert issubclass(LeaseExpired, Conflict)
