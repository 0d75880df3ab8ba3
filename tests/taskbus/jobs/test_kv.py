"""Values and worksets on the bus of jobs: the same clients, over its connection, let go with it."""

import pytest

from taskbus.testing import bus


async def test_values_and_locks_are_those_of_the_server_of_the_bus() -> None:
    async with bus() as taskbus:
        values = taskbus.kv("acme:deployments")
        await values.put("eu/web", {"revision": "5f0c2d6"})
        async with taskbus.kv("acme:locks").lock("release"):
            assert [entry.key async for entry in taskbus.kv("acme:locks").iterate()] == ["release"]
        assert await values.get("eu/web") == {"revision": "5f0c2d6"}
        assert await values.delete("eu/web")


async def test_a_workset_is_drained_in_batches() -> None:
    async with bus() as taskbus:
        urls = taskbus.workset("acme:crawl", "urls")
        await urls.add(["a", "b", "c"])
        seen = [
            [member.id for member in batch] async for batch in urls.batches(limit=2, ack="each", wait=0.01)
        ]
        assert seen == [["a", "b"], ["c"]]
        left = await urls.counts()
        assert (left.available, left.leased) == (0, 0)


async def test_a_batch_that_the_program_left_is_given_back_before_the_connection_is_closed() -> None:
    async with bus() as service:
        urls = service.workset("acme:crawl", "urls")
        async with service:
            await urls.add(["a"])
            batches = aiter(urls.batches(limit=1))
            assert len(await anext(batches)) == 1
        left = await urls.counts()
        assert (left.available, left.leased) == (1, 0)


@pytest.mark.parametrize("namespace", ["acme", "acme:", "a:b:c"])
async def test_a_namespace_out_of_form_is_refused_before_any_call(namespace: str) -> None:
    async with bus() as taskbus:
        with pytest.raises(ValueError, match="expected tenant:namespace"):
            taskbus.kv(namespace)
        with pytest.raises(ValueError, match="expected tenant:namespace"):
            taskbus.workset(namespace, "urls")
