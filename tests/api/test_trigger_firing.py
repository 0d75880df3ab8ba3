"""Triggers that fire: by the clock, over gapless ranges, and by a call (``seed-systems.md`` D.5, C.9)."""

import asyncio
from typing import Any

import pytest

from queue_service.features.triggers import store
from queue_service.features.triggers.clock import Clock
from schemas.ids import slugid
from tests.api.running_queue import RunningQueue
from tests.api.test_triggers import CONTIGUOUS
from tests.api.triggered import EVERY_MINUTE, GROUP, PATH, ROLE_SCOPES, TASK, RunningTriggers, trigger

ANYTHING = {"type": "object"}


async def extra_of(queue: RunningQueue, task_id: str) -> dict[str, Any]:
    return dict((await queue.get(f"/task/{task_id}"))["extra"]["trigger"])


def windows(fires: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """Of each firing the hours of its range, and what became of its task, the oldest first."""
    return [
        (fire["window"]["from"][11:13], fire["window"]["to"][11:13], fire["taskState"])
        for fire in reversed(fires)
    ]


# ---- by the clock ------------------------------------------------------------------------------------


async def test_a_tick_creates_a_task_that_knows_its_trigger_and_its_nominal_time(
    triggers: RunningTriggers, queue: RunningQueue
) -> None:
    await triggers.create(**EVERY_MINUTE)
    assert await triggers.tick(seconds=59) == []
    (fire,) = await triggers.tick(seconds=2)
    assert fire == {
        "fireId": 1,
        "firedBy": "interval",
        "time": "2024-05-01T12:01:01.000Z",
        "scheduledFor": "2024-05-01T12:01:00.000Z",
        "outcome": "created",
        "taskId": fire["taskId"],
        "taskState": "pending",
    }
    assert await extra_of(queue, fire["taskId"]) == {
        "group": GROUP,
        "id": "nightly",
        "firedBy": "interval",
        "periodic": True,
        "scheduledFor": "2024-05-01T12:01:00.000Z",
    }
    assert (await triggers.get(PATH))["nextTick"] == "2024-05-01T12:02:00.000Z"
    assert (await queue.events())[-2:] == [("task-defined", None), ("task-pending", 0)]


async def test_a_template_is_computed_and_may_decline(triggers: RunningTriggers, queue: RunningQueue) -> None:
    task = {**TASK, "payload": {"day": "${trigger.scheduledFor}", "by": "${firedBy}", "id": "${taskId}"}}
    odd = {"$if": "trigger.scheduledFor[15] == '1'", "then": task}
    await triggers.create(task=odd, **EVERY_MINUTE)
    (fire,) = await triggers.tick(minutes=1)
    assert (await queue.get(f"/task/{fire['taskId']}"))["payload"] == {
        "day": "2024-05-01T12:01:00.000Z",
        "by": "interval",
        "id": fire["taskId"],
    }
    assert len(await triggers.tick(minutes=1)) == 1
    assert (await triggers.get(PATH))["nextTick"] == "2024-05-01T12:03:00.000Z"


async def test_two_schedulers_fire_a_tick_once(
    triggers: RunningTriggers, queue: RunningQueue, second: RunningQueue
) -> None:
    for number in range(20):
        await triggers.create(f"t{number}", **EVERY_MINUTE)
    other = Clock(second.database, triggers.firing, slugid)
    for _ in range(3):
        queue.clock.advance(minutes=1)
        await asyncio.gather(triggers.clock.run_once(), other.run_once())
    while await triggers.clock.run_once():
        pass
    for number in range(20):
        assert [fire["fireId"] for fire in await triggers.fires(f"t{number}")] == [3, 2, 1]


async def test_a_hundred_ticks_take_as_many_statements_as_one(
    restricted_triggers: RunningTriggers, monkeypatch: pytest.MonkeyPatch
) -> None:
    triggers = restricted_triggers
    driver = triggers.queue.database.driver
    seen: list[str] = []
    get = driver._statements.get  # type: ignore[attr-defined]

    def noting(statement: Any, values: Any) -> Any:
        compiled = get(statement, values)
        seen.append(compiled.sql)
        return compiled

    async def statements_of_a_tick() -> list[str]:
        seen.clear()
        with monkeypatch.context() as patched:
            patched.setattr(driver._statements, "get", noting)  # type: ignore[attr-defined]
            triggers.queue.clock.advance(minutes=1)
            await triggers.clock.run_once()
        return seen.copy()

    await triggers.create("t0", **EVERY_MINUTE)
    await triggers.grant(*ROLE_SCOPES, trigger_id="*")
    await statements_of_a_tick()  # the first reads the roles
    alone = await statements_of_a_tick()
    for number in range(1, 100):
        await triggers.create(f"t{number}", **EVERY_MINUTE)
    assert await statements_of_a_tick() == alone
    assert (await triggers.fires("t99"))[0]["outcome"] == "created"


async def test_a_scheduler_that_dies_before_its_commit_leaves_the_tick_to_the_next(
    triggers: RunningTriggers, queue: RunningQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    await triggers.create(**EVERY_MINUTE)

    async def die(*_: Any) -> None:
        raise RuntimeError("killed between the task and the next date")

    with monkeypatch.context() as patched:
        patched.setattr(store, "save", die)
        queue.clock.advance(minutes=1)
        with pytest.raises(RuntimeError, match="killed"):
            await triggers.clock.run_once()
    assert await triggers.fires() == []
    assert [fire["scheduledFor"] for fire in await triggers.tick()] == ["2024-05-01T12:01:00.000Z"]
    assert (await queue.events()).count(("task-pending", 0)) == 1


async def test_a_refused_task_is_an_error_that_is_kept_and_the_next_tick_comes(
    triggers: RunningTriggers,
) -> None:
    await triggers.create(task={**TASK, "retries": -1}, **EVERY_MINUTE)
    (fire,) = await triggers.tick(minutes=1)
    assert (fire["outcome"], fire["taskState"]) == ("error", "unknown")
    assert "`/retries`" in fire["error"]
    assert len(await triggers.tick(minutes=1)) == 2


async def test_a_unique_task_that_exists_is_a_duplicate(triggers: RunningTriggers) -> None:
    await triggers.create(task={**TASK, "unique": {"byQueue": True}}, **EVERY_MINUTE)
    (first,) = await triggers.tick(minutes=1)
    second = (await triggers.tick(minutes=1))[0]
    assert (second["outcome"], second["taskId"]) == ("duplicate", first["taskId"])


async def test_a_paused_trigger_does_not_fire_until_it_is_resumed(triggers: RunningTriggers) -> None:
    await triggers.create(misfire="all", **EVERY_MINUTE)
    assert (await triggers.post(f"{PATH}/pause", {}))["state"] == "paused"
    assert await triggers.tick(minutes=3) == []
    assert (await triggers.post(f"{PATH}/resume", {}))["state"] == "active"
    fires = await triggers.tick()
    assert [fire["scheduledFor"][14:16] for fire in fires] == ["03", "02", "01"]


async def test_a_tick_waits_for_the_task_before_it(triggers: RunningTriggers) -> None:
    await triggers.create(overlap="queue-one", **EVERY_MINUTE)
    await triggers.tick(minutes=1)
    assert len(await triggers.tick(minutes=1)) == 1
    await triggers.end("failed")
    fires = await triggers.tick(seconds=5)
    assert [fire["scheduledFor"][14:16] for fire in fires] == ["02", "01"]


async def test_the_loop_sleeps_until_the_next_tick(triggers: RunningTriggers, queue: RunningQueue) -> None:
    await triggers.create(cron={"cron": "30 12 * * *"})
    await triggers.clock.run_once()
    assert await triggers.clock._next_due() == queue.clock.now().replace(minute=30)
    await triggers.post(f"{PATH}/pause", {})
    assert await triggers.clock._next_due() is None


# ---- ranges ------------------------------------------------------------------------------------------


async def test_ranges_are_contiguous_and_the_watermark_moves_with_completed_tasks(
    triggers: RunningTriggers, queue: RunningQueue
) -> None:
    created = await triggers.create(**CONTIGUOUS)
    assert created["watermark"] == {
        "name": "watermark/reports/nightly",
        "time": "2024-05-01T12:00:00.000Z",
        "openRanges": 0,
    }
    await triggers.tick(hours=1)
    fires = await triggers.tick(hours=1)
    assert windows(fires) == [("12", "13", "pending"), ("13", "14", "pending")]
    assert (await extra_of(queue, fires[0]["taskId"]))["window"] == {
        "from": "2024-05-01T13:00:00.000Z",
        "to": "2024-05-01T14:00:00.000Z",
    }
    await triggers.end()
    found = (await triggers.get(PATH))["watermark"]
    assert (found["time"], found["openRanges"]) == ("2024-05-01T13:00:00.000Z", 1)


async def test_a_failed_range_comes_again_and_then_blocks_with_an_event(
    triggers: RunningTriggers, queue: RunningQueue
) -> None:
    await triggers.create(retry={"retries": 1}, **CONTIGUOUS)
    await triggers.tick(hours=1)
    await triggers.end("failed")
    fires = await triggers.tick(hours=1)
    assert windows(fires) == [("12", "13", "failed"), ("12", "13", "pending")]
    await triggers.end("failed")
    blocked = await triggers.get(PATH)
    assert (blocked["state"], "12:00:00.000Z" in blocked["blockedBecause"]) == ("blocked", True)
    (told,) = [one for one in await queue.messages() if one.exchange.endswith("/trigger-blocked")]
    assert (told.routing_key, told.body["triggerId"]) == (f"primary.{GROUP}.nightly._", "nightly")
    assert len(await triggers.tick(hours=5)) == 2
    await triggers.post(f"{PATH}/resume", {})
    assert windows(await triggers.tick())[-1] == ("12", "13", "pending")
    await triggers.end()
    assert windows(await triggers.tick(hours=1))[-1] == ("13", "14", "pending")


async def test_a_new_trigger_goes_on_at_the_watermark_that_is_kept(
    triggers: RunningTriggers, queue: RunningQueue
) -> None:
    await triggers.create(**CONTIGUOUS)
    await triggers.tick(hours=1)
    await triggers.end()
    await triggers.call("DELETE", PATH)
    again = await triggers.create(**CONTIGUOUS)
    assert again["watermark"]["time"] == "2024-05-01T13:00:00.000Z"


async def test_a_range_of_a_declined_or_refused_task_is_covered_or_failed(triggers: RunningTriggers) -> None:
    await triggers.create(task={"$if": "false", "then": TASK}, **CONTIGUOUS)
    await triggers.tick(hours=1)
    assert (await triggers.get(PATH))["watermark"]["time"] == "2024-05-01T13:00:00.000Z"
    await triggers.post(PATH, trigger(**{**CONTIGUOUS, "task": {**TASK, "retries": -1}}))
    await triggers.tick(hours=1)
    assert (await triggers.get(PATH))["state"] == "blocked"


async def test_a_range_without_a_start_ends_at_its_tick(triggers: RunningTriggers) -> None:
    await triggers.create(interval={"duration": "1h", "window": {"size": "3h", "offset": "1h"}})
    assert windows(await triggers.tick(hours=1)) == [("09", "12", "pending")]


# ---- by a call ---------------------------------------------------------------------------------------


async def test_a_call_fires_with_a_payload_that_obeys_the_schema(
    triggers: RunningTriggers, queue: RunningQueue
) -> None:
    schema = {"type": "object", "properties": {"level": {"type": "integer"}}, "required": ["tree"]}
    task = {**TASK, "payload": {"tree": {"$eval": "payload.tree"}}}
    await triggers.create(task=task, payloadSchema=schema, **EVERY_MINUTE)
    status, code, text = await triggers.refused("POST", f"{PATH}/fire", {"payload": {"level": "3"}})
    assert (status, code) == (400, "InputError")
    assert "`/level`" in text
    assert '"tree" is a required property' in text
    assert await triggers.fires() == []
    fired = await triggers.fire({"tree": "central"})
    assert fired["fireId"] == 1
    assert (await queue.get(f"/task/{fired['taskId']}"))["payload"] == {"tree": "central"}
    (fire,) = await triggers.fires()
    assert (fire["firedBy"], fire["outcome"], fire["taskId"]) == ("manual", "created", fired["taskId"])


async def test_a_call_without_a_body_brings_an_empty_payload(triggers: RunningTriggers) -> None:
    await triggers.create(**EVERY_MINUTE)
    fired = await triggers.post(f"{PATH}/fire")
    assert [fire["taskId"] for fire in await triggers.fires()] == [fired["taskId"]]
    await triggers.post(PATH, trigger(payloadSchema={"type": "object", "required": ["tree"]}, **EVERY_MINUTE))
    reply = await triggers.call("POST", f"{PATH}/fire")
    assert (reply.status, reply.json()["code"]) == (400, "InputError")
    assert '"tree" is a required' in reply.json()["message"]


async def test_calls_at_the_same_time_all_fire(triggers: RunningTriggers) -> None:
    await triggers.create(**EVERY_MINUTE)
    fired = await asyncio.gather(*(triggers.fire() for _ in range(20)))
    assert sorted(one["fireId"] for one in fired) == list(range(1, 21))


async def test_calls_at_the_same_time_cover_a_range_once(triggers: RunningTriggers) -> None:
    await triggers.create(**CONTIGUOUS)
    triggers.queue.clock.advance(hours=2)
    replies = await asyncio.gather(*(triggers.call("POST", f"{PATH}/fire", {}) for _ in range(4)))
    assert sorted(reply.status for reply in replies) == [200, 200, 409, 409]
    assert windows(await triggers.fires()) == [("12", "13", "pending"), ("13", "14", "pending")]


async def test_a_refused_call_says_why(triggers: RunningTriggers) -> None:
    await triggers.create(task={**TASK, "payload": {"$eval": "nobody.knows"}}, **EVERY_MINUTE)
    status, code, text = await triggers.refused("POST", f"{PATH}/fire", {})
    assert (status, code) == (400, "InputError")
    assert "nobody" in text
    assert [fire["outcome"] for fire in await triggers.fires()] == ["error"]


async def test_the_last_fifty_firings_are_kept(triggers: RunningTriggers, queue: RunningQueue) -> None:
    await triggers.create(**EVERY_MINUTE)
    for _ in range(52):
        await triggers.fire()
    assert [fire["fireId"] for fire in await triggers.fires()] == list(range(52, 2, -1))
    queue.clock.advance(days=2)
    await triggers.fire()
    async with queue.database.read() as connection:
        from sqlalchemy import text

        left = await connection.execute(text("SELECT number FROM trigger_fires ORDER BY number"))
    assert left.scalars() == list(range(4, 54))


async def test_tasks_have_the_scopes_of_the_role_of_their_trigger(
    restricted_triggers: RunningTriggers,
) -> None:
    triggers = restricted_triggers
    await triggers.create(**EVERY_MINUTE)
    _, code, text = await triggers.refused("POST", f"{PATH}/fire", {})
    assert code == "InputError"
    assert f"`trigger-id:{GROUP}/nightly`" in text
    await triggers.grant(*ROLE_SCOPES)
    assert "taskId" in await triggers.fire()
