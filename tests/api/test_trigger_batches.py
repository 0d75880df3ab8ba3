"""Triggers that drain worksets, and those that read values (``seed-systems.md`` WK-11, KV-6, TR-11)."""

from typing import Any

import pytest

from queue_service.features.kv import operations, workset_operations, workset_store
from queue_service.features.kv.rules import Place, Put
from queue_service.features.kv.workset_rules import SetKey
from queue_service.features.kv.workset_store import Counts, NewMember
from queue_service.features.triggers.transient import with_retries
from queue_service.store import attempts
from queue_service.store.database import StoreUnavailable
from schemas.triggers import TransientRetry
from tests.api.running_queue import RunningQueue
from tests.api.triggered import EVERY_MINUTE, PATH, TASK, RunningTriggers

SET = SetKey("acme:crawl", "urls")


def draining(**members: Any) -> dict[str, Any]:
    return {"popBatch": {"namespace": SET.namespace, "set": SET.name, "limit": 2, **members}}


async def add(queue: RunningQueue, *ids: str) -> None:
    members = [NewMember(SET, id_, 0, queue.clock.now(), f'{{"of": "{id_}"}}') for id_ in ids]
    await queue.database.write(lambda tx: workset_operations.add(tx, [members]))


async def counts(queue: RunningQueue) -> tuple[int, int, int]:
    """Available, delayed and leased."""
    async with queue.database.read() as connection:
        found: Counts = await workset_store.counts(connection, SET, queue.clock.now())
    return found.available, found.delayed, found.leased


async def test_each_batch_is_a_task_that_has_its_members(
    triggers: RunningTriggers, queue: RunningQueue
) -> None:
    await add(queue, "a", "b", "c")
    await triggers.create(**draining())
    fires = await triggers.tick()
    assert [(fire["firedBy"], fire["outcome"]) for fire in fires] == [("workset", "created")] * 2
    batch = (await queue.get(f"/task/{fires[1]['taskId']}"))["extra"]["trigger"]["batch"]
    assert [(one["id"], one["payload"]) for one in batch["members"]] == [
        ("a", {"of": "a"}),
        ("b", {"of": "b"}),
    ]
    assert await counts(queue) == (0, 0, 3)
    await triggers.end()
    await triggers.end()
    assert await counts(queue) == (0, 0, 0)


async def test_new_members_wake_the_trigger_at_once(triggers: RunningTriggers, queue: RunningQueue) -> None:
    await triggers.create(**draining())
    assert await triggers.tick() == []
    await add(queue, "a")
    assert len(await triggers.tick()) == 1


async def test_a_task_that_does_not_complete_gives_its_members_back(
    triggers: RunningTriggers, queue: RunningQueue
) -> None:
    await add(queue, "a", "b")
    await triggers.create(**draining())
    await triggers.tick()
    await triggers.end("failed")
    assert await counts(queue) == (2, 0, 0)
    (again, _) = await triggers.tick()
    members = (await queue.get(f"/task/{again['taskId']}"))["extra"]["trigger"]["batch"]["members"]
    assert [one["deliveries"] for one in members] == [2, 2]


async def test_a_lease_is_extended_while_its_task_is_not_resolved(
    triggers: RunningTriggers, queue: RunningQueue
) -> None:
    await add(queue, "a", "b")
    await triggers.create(**draining(leaseTtlMs=30_000))
    await triggers.tick()
    for _ in range(8):
        assert len(await triggers.tick(seconds=12)) == 1
        assert await counts(queue) == (0, 0, 2)
    await triggers.end()
    assert await counts(queue) == (0, 0, 0)


async def test_a_pause_does_not_take_the_batches_of_tasks_that_run(
    triggers: RunningTriggers, queue: RunningQueue
) -> None:
    await add(queue, "a", "b", "c")
    await triggers.create(**draining(leaseTtlMs=30_000, limit=3))
    await triggers.tick()
    await triggers.post(f"{PATH}/pause", {})
    await add(queue, "d")
    for _ in range(8):
        assert len(await triggers.tick(seconds=12)) == 1
        assert await counts(queue) == (1, 0, 3)
    await triggers.end()
    assert await counts(queue) == (1, 0, 0)


async def test_of_an_ack_each_batch_the_ids_that_the_handler_listed_are_acked(
    triggers: RunningTriggers, queue: RunningQueue
) -> None:
    await add(queue, "a", "b")
    await triggers.create(**draining(ackMode="ack-each"))
    await triggers.tick()
    (claim,) = await queue.claim()
    task_id = claim["status"]["taskId"]
    await queue.database.write(lambda tx: attempts.write_outputs(tx, [(task_id, '{"ack": ["b", "z", 5]}')]))
    await queue.post(f"/task/{task_id}/runs/0/completed")
    await queue.settle()
    assert await counts(queue) == (1, 0, 0)


async def test_members_of_a_task_that_is_refused_come_again_later(
    triggers: RunningTriggers, queue: RunningQueue
) -> None:
    await add(queue, "a")
    await triggers.create(task={**TASK, "retries": -1}, **draining())
    (fire,) = await triggers.tick()
    assert fire["outcome"] == "error"
    assert await counts(queue) == (0, 1, 0)


async def test_members_of_a_batch_that_is_declined_are_done_with(
    triggers: RunningTriggers, queue: RunningQueue
) -> None:
    await add(queue, "a")
    await triggers.create(task={"$if": "len(trigger.batch.members) > 1", "then": TASK}, **draining())
    assert await triggers.tick() == []
    assert await counts(queue) == (0, 0, 0)


async def test_a_paused_trigger_pops_nothing(triggers: RunningTriggers, queue: RunningQueue) -> None:
    await triggers.create(**draining())
    await triggers.tick()
    await triggers.post(f"{PATH}/pause", {})
    await add(queue, "a")
    assert await triggers.tick(minutes=5) == []
    await triggers.post(f"{PATH}/resume", {})
    assert len(await triggers.tick()) == 1


async def test_only_a_hundred_batches_are_under_way(triggers: RunningTriggers, queue: RunningQueue) -> None:
    await add(queue, *(f"{number:03}" for number in range(105)))
    await triggers.create(**draining(limit=1))
    for _ in range(8):
        await triggers.tick()
    assert await counts(queue) == (5, 0, 100)
    await triggers.end()
    await triggers.tick()
    assert await counts(queue) == (4, 0, 100)


@pytest.mark.parametrize(
    ("failures", "retries", "pauses"), [(2, 2, [0.1, 0.2]), (0, 3, []), (4, 3, [0.1, 0.2, 0.4])]
)
async def test_one_operation_is_tried_again_with_doubling_pauses(
    failures: int, retries: int, pauses: list[float]
) -> None:
    slept: list[float] = []
    left = [failures]

    async def operation() -> str:
        left[0] -= 1
        if left[0] >= 0:
            raise StoreUnavailable("for the moment")
        return "done"

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    retry = TransientRetry(retries=retries)
    if failures > retries:
        with pytest.raises(StoreUnavailable):
            await with_retries(operation, retry, sleep)
    else:
        assert await with_retries(operation, retry, sleep) == "done"
    assert slept == pauses


async def test_with_a_schedule_a_batch_is_popped_at_each_tick(
    triggers: RunningTriggers, queue: RunningQueue
) -> None:
    await add(queue, "a", "b", "c")
    await triggers.create(interval={"duration": "1m"}, **draining(leaseTtlMs=600_000))
    assert await triggers.tick(seconds=30) == []
    assert len(await triggers.tick(seconds=30)) == 1
    await triggers.end()
    assert await counts(queue) == (1, 0, 0)
    assert len(await triggers.tick(minutes=1)) == 2
    assert len(await triggers.tick(minutes=1)) == 2
    assert (await triggers.get(PATH))["nextTick"] == "2024-05-01T12:04:00.000Z"


@pytest.mark.parametrize(
    ("wanted", "given"),
    [
        ({"get": {"key": "city"}}, {"key": "city", "value": "Kyiv", "version": 1}),
        (
            {"iterate": {"prefix": "c", "pageSize": 1}},
            {"entries": [{"key": "city", "value": "Kyiv", "version": 1}], "more": True},
        ),
        (
            {"iterate": {}, "valueFormat": "raw-string"},
            {
                "entries": [
                    {"key": "city", "value": '"Kyiv"', "version": 1},
                    {"key": "country", "value": "UA", "version": 2},
                ],
                "more": False,
            },
        ),
    ],
)
async def test_a_firing_reads_its_input_from_kv(
    triggers: RunningTriggers, queue: RunningQueue, wanted: dict[str, Any], given: dict[str, Any]
) -> None:
    await put(queue, "city", '"Kyiv"', "json")
    await put(queue, "country", "UA", "raw-string")
    await triggers.create(input={"namespace": "acme:crawl", **wanted}, **EVERY_MINUTE)
    (fire,) = await triggers.tick(minutes=1)
    assert (await queue.get(f"/task/{fire['taskId']}"))["extra"]["trigger"]["input"] == given


async def test_without_a_value_there_is_no_task_and_one_that_is_no_json_is_an_error(
    triggers: RunningTriggers, queue: RunningQueue
) -> None:
    await triggers.create(input={"namespace": "acme:crawl", "get": {"key": "city"}}, **EVERY_MINUTE)
    assert await triggers.tick(minutes=1) == []
    await put(queue, "city", "Kyiv", "raw-string")
    (fire,) = await triggers.tick(minutes=1)
    assert (fire["outcome"], "`city` is a raw string" in fire["error"]) == ("error", True)


async def put(queue: RunningQueue, key: str, text: str, value_format: Any) -> None:
    call = Put(Place("acme:crawl", key), text, value_format)
    await queue.database.write(lambda tx: operations.write(tx, [call]))
