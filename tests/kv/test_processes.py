"""Two processes on one PostgreSQL: disjoint pops, and consumers woken by the other process."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from queue_service.store.notifications import Notifications
from tests.api.manual_clock import ManualClock
from tests.kv.running_kv import RunningKv, ids
from tests.store.databases import opened

pytestmark = pytest.mark.postgres


@pytest.fixture
async def processes(postgres_database_url: str) -> AsyncIterator[tuple[RunningKv, RunningKv]]:
    clock = ManualClock()
    async with (
        opened(postgres_database_url, clock) as one,
        opened(postgres_database_url, clock) as two,
        RunningKv(one, clock) as first,
        RunningKv(two, clock) as second,
    ):
        passing = [Notifications(one, "one"), Notifications(two, "two")]
        for notifications in passing:
            notifications.start()
            await notifications.listening.wait()
        yield first, second
        for notifications in passing:
            await notifications.stop()


async def test_pops_of_two_processes_share_no_member(processes: tuple[RunningKv, RunningKv]) -> None:
    everybody = [f"m{n}" for n in range(500)]
    await processes[0].add("urls", *everybody)
    popped: list[str] = []

    async def drain(kv: RunningKv) -> None:
        while members := ids(await kv.pop("urls", 7)):
            popped.extend(members)

    await asyncio.gather(*(drain(kv) for kv in processes * 4))
    while members := ids(await processes[0].pop("urls", 1000)):  # what was locked when the drains looked
        popped.extend(members)
    assert sorted(popped) == sorted(everybody)


async def test_a_member_that_another_process_adds_wakes_a_consumer(
    processes: tuple[RunningKv, RunningKv],
) -> None:
    waiting = asyncio.create_task(processes[1].pop("urls", wait=20))
    await asyncio.sleep(0)
    await processes[0].add("urls", "a")
    assert ids(await waiting) == ["a"]


async def test_members_are_added_nacked_and_acked_by_many_at_once(
    processes: tuple[RunningKv, RunningKv],
) -> None:
    """No deadlock, no member lost or doubled."""
    everybody = {f"m{n}" for n in range(40)}
    acked: list[str] = []

    async def add(kv: RunningKv) -> None:
        for _ in range(5):
            await kv.add("urls", *everybody)

    async def consume(kv: RunningKv, clumsy: bool) -> None:
        for turn in range(10):
            popped = await kv.pop("urls", 9, ackMode="ack-each")
            if members := ids(popped):
                kept = members if clumsy and turn % 2 else members[: len(members) // 2]
                if kept:
                    await kv.settle(popped["leaseId"], "ack", ids=kept)
                    acked.extend(kept)
                await kv.settle(popped["leaseId"], "nack")

    await asyncio.gather(
        *(add(kv) for kv in processes), *(consume(kv, clumsy) for kv in processes for clumsy in (True, False))
    )
    while members := ids(popped := await processes[0].pop("urls", 1000)):
        await processes[0].settle(popped["leaseId"], "ack")
        acked.extend(members)
    assert set(acked) == everybody
    assert await processes[0].counts("urls") == (0, 0, 0, 0)
