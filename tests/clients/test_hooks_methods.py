"""Every method of the PyPI client's ``Hooks`` against a real secured service, with messages and the clock."""

from contextlib import suppress
from typing import Any, NamedTuple

import pytest
import taskcluster
from taskcluster.exceptions import TaskclusterAuthFailure, TaskclusterRestFailure

from tests.clients.callers import Caller
from tests.clients.deployment import Deployment
from tests.clients.scene import Scene
from tests.clients.watch import Watch

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

Json = dict[str, Any]
METADATA = {"name": "A hook", "description": "Of a test.", "owner": "releng@example.com"}


def hook(scene: Scene, **members: Any) -> Json:
    task = scene.definition()
    for name in ("created", "deadline", "expires", "taskGroupId"):
        del task[name]
    return {"metadata": METADATA, "task": task, "triggerSchema": {"type": "object"}, **members}


class Made(NamedTuple):
    """A hook, and the task queue of its tasks."""

    group_id: str
    hook_id: str
    task_queue_id: str

    @property
    def key(self) -> tuple[str, str]:
        return self.group_id, self.hook_id


def created(caller: Caller, **members: Any) -> Made:
    """A new hook whose role has what its tasks need."""
    scene = Scene(caller)
    made = Made("real-clients", taskcluster.slugId(), scene.task_queue_id)
    scopes = ["queue:*", "docker-worker:*", "secrets:*"]
    role = f"hook-id:{made.group_id}/{made.hook_id}"
    caller.call("Auth", "createRole", role, {"description": "", "scopes": scopes})
    caller.call("Hooks", "createHook", *made.key, hook(scene, **members))
    return made


def fires(caller: Caller, made: Made) -> list[Json]:
    return list(caller.call("Hooks", "listLastFires", *made.key)["lastFires"])


def test_a_hook_is_created_shown_listed_changed_and_removed(caller: Caller) -> None:
    made = created(caller)
    definition = caller.call("Hooks", "hook", *made.key)
    assert made.group_id in caller.call("Hooks", "listHookGroups")["groups"]
    assert definition in caller.call("Hooks", "listHooks", made.group_id)["hooks"]
    changed = caller.call("Hooks", "updateHook", *made.key, {**definition, "schedule": ["0 3 * * *"]})
    assert changed["schedule"] == ["0 3 * * *"]
    assert "nextScheduledDate" in caller.call("Hooks", "getHookStatus", *made.key)
    caller.call("Hooks", "removeHook", *made.key)
    with pytest.raises(TaskclusterRestFailure) as gone:
        caller.call("Hooks", "hook", *made.key)
    assert gone.value.status_code == 404


def test_a_hook_is_fired_by_a_call(caller: Caller) -> None:
    made = created(caller)
    fired = caller.call("Hooks", "triggerHook", *made.key, {"any": "payload"})
    task_id = fired["status"]["taskId"]
    assert caller.queue("status", task_id)["status"]["state"] == "pending"
    assert [fire["taskId"] for fire in fires(caller, made)] == [task_id]


def test_a_hook_is_fired_by_its_token_alone(caller: Caller, options: Json) -> None:
    made = created(caller)
    token = caller.call("Hooks", "getTriggerToken", *made.key)["token"]
    anonymous = taskcluster.Hooks({"rootUrl": options["rootUrl"]})
    assert "taskId" in anonymous.triggerHookWithToken(*made.key, token, {})
    caller.call("Hooks", "resetTriggerToken", *made.key)
    with pytest.raises(TaskclusterAuthFailure) as refused:
        anonymous.triggerHookWithToken(*made.key, token, {})
    assert refused.value.status_code == 401


def test_a_hook_without_scopes_names_its_role(caller: Caller) -> None:
    key = ("real-clients", taskcluster.slugId())
    caller.call("Hooks", "createHook", *key, hook(Scene(caller)))
    with pytest.raises(TaskclusterRestFailure) as refused:
        caller.call("Hooks", "triggerHook", *key, {})
    assert refused.value.status_code == 400
    assert f"hook-id:{'/'.join(key)}" in str(refused.value)


def test_a_hook_is_fired_by_the_message_that_a_task_completed(caller: Caller, deployment: Deployment) -> None:
    scene = Scene(caller)
    route = f"tests.{scene.worker_type}"
    binding = {
        "exchange": "exchange/taskcluster-queue/v1/task-completed",
        "routingKeyPattern": f"route.{route}",
    }
    with Watch(deployment.amqp_url) as watch:
        made = created(caller, bindings=[binding])
        # The queue is bound a moment after the hook was created, so tasks complete until one fires it.
        for _ in range(60):
            task_id = scene.created(routes=[route])
            caller.queue("claimWork", scene.task_queue_id, scene.worker)
            caller.queue("reportCompleted", task_id, "0")
            with suppress(AssertionError):
                watch.until("task-defined", task_queue_id=made.task_queue_id, seconds=1)
                break
    fire = fires(caller, made)[-1]
    assert (fire["firedBy"], fire["result"], fire["error"]) == ("pulseMessage", "success", "")


def test_a_hook_is_fired_by_the_clock(caller: Caller, deployment: Deployment) -> None:
    with Watch(deployment.amqp_url) as watch:
        made = created(caller, schedule=["* * * * * *"])
        watch.until("task-defined", task_queue_id=made.task_queue_id)
    fire = fires(caller, made)[-1]
    caller.call("Hooks", "removeHook", *made.key)
    assert (fire["firedBy"], fire["result"]) == ("schedule", "success")


@pytest.mark.parametrize("method", ["ping", "heartbeat", "lbheartbeat", "version"])
def test_the_service_tells_that_it_lives(caller: Caller, method: str) -> None:
    assert isinstance(caller.call("Hooks", method), dict)
