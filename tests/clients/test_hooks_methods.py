"""Every method of the PyPI client's ``Hooks`` against a real secured service, with messages and the clock."""

import time
from collections.abc import Callable
from typing import Any

import pytest
import taskcluster
from taskcluster.exceptions import TaskclusterAuthFailure, TaskclusterRestFailure

from tests.clients.callers import Caller
from tests.clients.scene import Scene

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

Json = dict[str, Any]
METADATA = {"name": "A hook", "description": "Of a test.", "owner": "releng@example.com"}


def hook(scene: Scene, **members: Any) -> Json:
    task = scene.definition()
    for name in ("created", "deadline", "expires", "taskGroupId"):
        del task[name]
    return {"metadata": METADATA, "task": task, "triggerSchema": {"type": "object"}, **members}


def created(caller: Caller, **members: Any) -> tuple[str, str]:
    """A new hook; its group and id."""
    scene = Scene(caller)
    key = ("real-clients", taskcluster.slugId())
    role = f"hook-id:{'/'.join(key)}"
    caller.call(
        "Auth", "createRole", role, {"description": "", "scopes": ["queue:*", "docker-worker:*", "secrets:*"]}
    )
    caller.call("Hooks", "createHook", *key, hook(scene, **members))
    return key


def until(found: Callable[[], Any], seconds: float = 60) -> Any:
    """What is found at last; the service tells nobody when a message has fired a hook."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = found()
        if value:
            return value
        time.sleep(0.2)
    raise AssertionError(f"not within {seconds} s")


def fires(caller: Caller, key: tuple[str, str]) -> list[Json]:
    try:
        return list(caller.call("Hooks", "listLastFires", *key)["lastFires"])
    except TaskclusterRestFailure as error:
        if error.status_code != 404:
            raise
        return []


def test_a_hook_is_created_shown_listed_changed_and_removed(caller: Caller) -> None:
    key = created(caller)
    definition = caller.call("Hooks", "hook", *key)
    assert key[0] in caller.call("Hooks", "listHookGroups")["groups"]
    assert definition in caller.call("Hooks", "listHooks", key[0])["hooks"]
    changed = caller.call("Hooks", "updateHook", *key, {**definition, "schedule": ["0 3 * * *"]})
    assert changed["schedule"] == ["0 3 * * *"]
    assert "nextScheduledDate" in caller.call("Hooks", "getHookStatus", *key)
    caller.call("Hooks", "removeHook", *key)
    with pytest.raises(TaskclusterRestFailure) as gone:
        caller.call("Hooks", "hook", *key)
    assert gone.value.status_code == 404


def test_a_hook_is_fired_by_a_call(caller: Caller) -> None:
    key = created(caller)
    fired = caller.call("Hooks", "triggerHook", *key, {"any": "payload"})
    task_id = fired["status"]["taskId"]
    assert caller.queue("status", task_id)["status"]["state"] == "pending"
    assert [fire["taskId"] for fire in fires(caller, key)] == [task_id]


def test_a_hook_is_fired_by_its_token_alone(caller: Caller, options: Json) -> None:
    key = created(caller)
    token = caller.call("Hooks", "getTriggerToken", *key)["token"]
    anonymous = taskcluster.Hooks({"rootUrl": options["rootUrl"]})
    assert "taskId" in anonymous.triggerHookWithToken(*key, token, {})
    caller.call("Hooks", "resetTriggerToken", *key)
    with pytest.raises(TaskclusterAuthFailure) as refused:
        anonymous.triggerHookWithToken(*key, token, {})
    assert refused.value.status_code == 401


def test_a_hook_without_scopes_names_its_role(caller: Caller) -> None:
    key = ("real-clients", taskcluster.slugId())
    caller.call("Hooks", "createHook", *key, hook(Scene(caller)))
    with pytest.raises(TaskclusterRestFailure) as refused:
        caller.call("Hooks", "triggerHook", *key, {})
    assert refused.value.status_code == 400
    assert f"hook-id:{'/'.join(key)}" in str(refused.value)


def test_a_hook_is_fired_by_the_message_that_a_task_completed(caller: Caller) -> None:
    scene = Scene(caller)
    route = f"tests.{scene.worker_type}"
    binding = {
        "exchange": "exchange/taskcluster-queue/v1/task-completed",
        "routingKeyPattern": f"route.{route}",
    }
    key = created(caller, bindings=[binding])
    # The queue is bound a moment after the hook was created, so tasks complete until one fires it.

    def fired() -> list[Json]:
        task_id = scene.created(routes=[route])
        caller.queue("claimWork", scene.task_queue_id, scene.worker)
        caller.queue("reportCompleted", task_id, "0")
        return fires(caller, key)

    fire = until(fired)[-1]
    assert (fire["firedBy"], fire["result"], fire["error"]) == ("pulseMessage", "success", "")


def test_a_hook_is_fired_by_the_clock(caller: Caller) -> None:
    key = created(caller, schedule=["* * * * * *"])
    fire = until(lambda: fires(caller, key))[-1]
    caller.call("Hooks", "removeHook", *key)
    assert (fire["firedBy"], fire["result"]) == ("schedule", "success")


@pytest.mark.parametrize("method", ["ping", "heartbeat", "lbheartbeat", "version"])
def test_the_service_tells_that_it_lives(caller: Caller, method: str) -> None:
    assert isinstance(caller.call("Hooks", method), dict)
