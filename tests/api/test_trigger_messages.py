"""Triggers that messages fire: once each, so often as their limit says, and not in circles (TR-6 to TR-9)."""

import asyncio
import json
from typing import Any

import pytest

from queue_service.features.triggers.on_message import MAX_PASSED_ON, MessageHandler
from schemas.ids import slugid
from tests.api.running_queue import RunningQueue
from tests.api.triggered import GROUP, PATH, TASK, RunningTriggers

KEY = (GROUP, "nightly")
COMPLETED = "exchange/taskcluster-queue/v1/task-completed"
FINISHED = {"message": {"filterType": ["job-finished"]}}


def body(task_id: str = "", **members: Any) -> bytes:
    return json.dumps({"status": {"taskId": task_id or slugid()}, "runId": 0, **members}).encode()


@pytest.fixture
def messages(triggers: RunningTriggers) -> MessageHandler:
    return MessageHandler(triggers.queue.database, triggers.firing, slugid)


async def extra_of(queue: RunningQueue, fire: dict[str, Any]) -> dict[str, Any]:
    return dict((await queue.get(f"/task/{fire['taskId']}"))["extra"])


async def facts_of(queue: RunningQueue, fire: dict[str, Any]) -> dict[str, Any]:
    return dict((await extra_of(queue, fire))["trigger"])


async def test_a_message_fires_and_is_passed_on_to_the_task(
    triggers: RunningTriggers, queue: RunningQueue, messages: MessageHandler
) -> None:
    created = await triggers.create(**FINISHED)
    assert ("nextTick" in created, created["firedByMessages"]) == (False, 0)
    sent = body(artifact="public/log")
    assert await messages.handle(KEY, COMPLETED, "17", sent)
    (fire,) = await triggers.fires()
    assert (fire["firedBy"], "scheduledFor" in fire) == ("message", False)
    assert await facts_of(queue, fire) == {
        "group": GROUP,
        "id": "nightly",
        "firedBy": "message",
        "exchange": COMPLETED,
        "messageId": "17",
        "message": json.loads(sent),
    }


async def test_a_message_that_does_not_pass_fires_nothing(
    triggers: RunningTriggers, messages: MessageHandler
) -> None:
    await triggers.create(**FINISHED)
    assert not await messages.handle(KEY, COMPLETED.replace("completed", "running"), "1", body())
    assert not await messages.handle(KEY, COMPLETED, "2", b"no JSON")
    assert not await messages.handle((GROUP, "another"), COMPLETED, "3", body())
    await triggers.post(f"{PATH}/pause", {})
    assert not await messages.handle(KEY, COMPLETED, "4", body())
    assert await triggers.fires() == []


async def test_a_message_fires_once_however_often_and_wherever_it_arrives(
    triggers: RunningTriggers, second: RunningQueue, messages: MessageHandler
) -> None:
    await triggers.create(**FINISHED)
    other = MessageHandler(second.database, triggers.firing, slugid)
    sent = body()
    fired = await asyncio.gather(
        *(handler.handle(KEY, COMPLETED, "17", sent) for handler in (messages, other) * 3)
    )
    assert sorted(fired) == [False] * 5 + [True]
    assert len(await triggers.fires()) == 1


async def test_a_limit_is_exact_across_processes_and_ends_the_trigger(
    triggers: RunningTriggers, queue: RunningQueue, second: RunningQueue, messages: MessageHandler
) -> None:
    await triggers.create(message={"filterType": ["job-finished"], "limit": 3})
    handlers = [messages, *(MessageHandler(second.database, triggers.firing, slugid) for _ in range(3))]
    fired = await asyncio.gather(
        *(handlers[number % 4].handle(KEY, COMPLETED, str(number), body()) for number in range(10))
    )
    assert fired.count(True) == 3
    found = await triggers.get(PATH)
    assert (found["state"], found["firedByMessages"]) == ("exhausted", 3)
    told = [one for one in await queue.messages() if one.exchange.endswith("/trigger-exhausted")]
    assert len(told) == 1
    assert (await triggers.refused("POST", f"{PATH}/resume", {}))[:2] == (409, "RequestConflict")


async def test_a_failed_firing_does_not_count_for_the_limit(
    triggers: RunningTriggers, messages: MessageHandler
) -> None:
    await triggers.create(task={**TASK, "retries": -1}, message={"limit": 1})
    assert not await messages.handle(KEY, COMPLETED, "1", body())
    found = await triggers.get(PATH)
    assert (found["state"], found["firedByMessages"], found["fires"]) == ("active", 0, 1)


async def test_triggers_that_fire_each_other_end_at_the_tenth_with_an_event(
    triggers: RunningTriggers, queue: RunningQueue, messages: MessageHandler
) -> None:
    await triggers.create(**FINISHED)
    task_id = slugid()
    for number in range(10):
        assert await messages.handle(KEY, COMPLETED, str(number), body(task_id))
        fire = (await triggers.fires())[0]
        task_id = fire["taskId"]
        assert (await extra_of(queue, fire))["triggerDepth"] == number + 1
    for _ in range(2):
        assert not await messages.handle(KEY, COMPLETED, "10", body(task_id))
    fires = await triggers.fires()
    assert (len(fires), fires[0]["outcome"]) == (11, "error")
    told = [one for one in await queue.messages() if one.exchange.endswith("/trigger-loop")]
    assert [one.body["triggerId"] for one in told] == ["nightly"]


async def test_of_a_large_message_the_task_gets_the_ids(
    triggers: RunningTriggers, queue: RunningQueue, messages: MessageHandler
) -> None:
    await triggers.create(**FINISHED)
    task_id = slugid()
    assert await messages.handle(KEY, COMPLETED, "1", body(task_id, log="x" * MAX_PASSED_ON))
    (fire,) = await triggers.fires()
    assert (await facts_of(queue, fire))["message"] == {"taskId": task_id, "runId": 0}


async def test_a_template_knows_the_message(
    triggers: RunningTriggers, queue: RunningQueue, messages: MessageHandler
) -> None:
    payload = {"of": "${trigger.message.status.taskId}"}
    await triggers.create(task={**TASK, "payload": payload}, **FINISHED)
    task_id = slugid()
    assert await messages.handle(KEY, COMPLETED, "1", body(task_id))
    (fire,) = await triggers.fires()
    assert (await queue.get(f"/task/{fire['taskId']}"))["payload"] == {"of": task_id}


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ({"filterType": ["license-state-changed"]}, "specific to the product"),
        ({"filterTag": ["a"], "filterKind": "system"}, "`/message/filterTag`"),
        ({"filterType": "job-finnished"}, "`/message/filterType/0`"),
    ],
)
async def test_filters_that_cannot_work_are_refused_with_the_place(
    triggers: RunningTriggers, message: dict[str, Any], told: str
) -> None:
    from tests.api.triggered import trigger

    status, code, text = await triggers.refused("PUT", PATH, trigger(message=message))
    assert (status, code) == (400, "InputError")
    assert told in text
    assert await triggers.get("/triggers") == {"triggers": []}
