"""Which scopes each call asks for, exactly (``queue-behaviour.md`` 3.1, 6, 7)."""

from typing import Any, Final

import pytest

from tests.api.running_queue import NOTHING, RunningQueue

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)

TASK_ID: Final = "VXcJ7lLRTuKhEcZBHVS7Zw"
GROUP_ID: Final = "fN1SbArXTPSVFNUvaOlinQ"
WORKER: Final = {"workerGroup": "eu-central", "workerId": "worker-1"}
PRIORITIES: Final = ["highest", "very-high", "high", "medium", "low", "very-low", "lowest"]


@pytest.mark.parametrize("priority", PRIORITIES)
async def test_create_task_asks_for_everything_the_task_will_hold(queue: RunningQueue, priority: str) -> None:
    body = queue.definition(priority=priority)
    await queue.call("PUT", f"/task/{TASK_ID}", body)
    enough = PRIORITIES[: PRIORITIES.index(priority) + 1]
    assert queue.permit.asked == [
        {
            "AllOf": [
                *body["scopes"],
                *(f"queue:route:{route}" for route in body["routes"]),
                "queue:create-task:project:taskbus",
                "queue:scheduler-id:taskbus-level-3",
                {"AnyOf": [f"queue:create-task:{name}:taskbus-ci/b-linux-medium" for name in enough]},
            ]
        }
    ]


async def test_create_task_asks_with_the_defaults_filled(queue: RunningQueue) -> None:
    body = queue.definition(
        "test", routes=None, scopes=None, priority=None, projectId=None, schedulerId=None, retries=None
    )
    await queue.call("PUT", f"/task/{TASK_ID}", body)
    assert queue.permit.asked == [
        {
            "AllOf": [
                "queue:create-task:project:none",
                "queue:scheduler-id:-",
                {"AnyOf": [f"queue:create-task:{name}:taskbus-ci/t-linux-large" for name in PRIORITIES]},
            ]
        }
    ]


def _scheduler_scopes(verb: str) -> dict[str, Any]:
    return {
        "AnyOf": [
            f"queue:{verb}-task:taskbus-level-3/{GROUP_ID}/{TASK_ID}",
            f"queue:{verb}-task-in-project:taskbus",
            {"AllOf": [f"queue:{verb}-task", f"assume:scheduler-id:taskbus-level-3/{GROUP_ID}"]},
        ]
    }


ASKED: Final[dict[str, tuple[str, str, object, Any]]] = {
    "task": ("GET", f"/task/{TASK_ID}", NOTHING, f"queue:get-task:{TASK_ID}"),
    "status": ("GET", f"/task/{TASK_ID}/status", NOTHING, f"queue:status:{TASK_ID}"),
    "listDependentTasks": (
        "GET",
        f"/task/{TASK_ID}/dependents",
        NOTHING,
        f"queue:list-dependent-tasks:{TASK_ID}",
    ),
    "scheduleTask": ("POST", f"/task/{TASK_ID}/schedule", NOTHING, _scheduler_scopes("schedule")),
    "rerunTask": ("POST", f"/task/{TASK_ID}/rerun", NOTHING, _scheduler_scopes("rerun")),
    "cancelTask": ("POST", f"/task/{TASK_ID}/cancel", NOTHING, _scheduler_scopes("cancel")),
    "changeTaskPriority": (
        "POST",
        f"/task/{TASK_ID}/priority",
        {"newPriority": "highest"},
        {
            "AnyOf": [
                f"queue:change-task-priority:{TASK_ID}",
                "queue:change-task-priority-in-queue:taskbus-ci/b-linux-medium",
            ]
        },
    ),
    "getTaskGroup": ("GET", f"/task-group/{GROUP_ID}", NOTHING, f"queue:list-task-group:{GROUP_ID}"),
    "listTaskGroup": ("GET", f"/task-group/{GROUP_ID}/list", NOTHING, f"queue:list-task-group:{GROUP_ID}"),
    "sealTaskGroup": (
        "POST",
        f"/task-group/{GROUP_ID}/seal",
        NOTHING,
        f"queue:seal-task-group:taskbus-level-3/{GROUP_ID}",
    ),
    "changeTaskGroupPriority": (
        "POST",
        f"/task-group/{GROUP_ID}/priority",
        {"newPriority": "highest"},
        f"queue:change-task-group-priority:taskbus-level-3/{GROUP_ID}",
    ),
    "claimWork": (
        "POST",
        "/claim-work/taskbus-ci%2Fb-linux-medium",
        WORKER,
        {"AllOf": ["queue:claim-work:taskbus-ci/b-linux-medium", "queue:worker-id:eu-central/worker-1"]},
    ),
    "claimTask": (
        "POST",
        f"/task/{TASK_ID}/runs/0/claim",
        WORKER,
        {"AllOf": ["queue:claim-task:taskbus-ci/b-linux-medium", "queue:worker-id:eu-central/worker-1"]},
    ),
    "tasks": (
        "POST",
        "/tasks",
        {"taskIds": [TASK_ID, GROUP_ID, "x"]},
        {"AllOf": [f"queue:get-task:{TASK_ID}", f"queue:get-task:{GROUP_ID}", "queue:get-task:x"]},
    ),
    "statuses": (
        "POST",
        "/tasks/status",
        {"taskIds": [GROUP_ID, TASK_ID]},
        {"AllOf": [f"queue:status:{GROUP_ID}", f"queue:status:{TASK_ID}"]},
    ),
    "tasks, none": ("POST", "/tasks", {}, {"AllOf": []}),
    "statuses, none": ("POST", "/tasks/status", {"taskIds": []}, {"AllOf": []}),
}


@pytest.mark.parametrize(("method", "target", "body", "asked"), ASKED.values(), ids=ASKED)
async def test_a_call_asks_once_for_exactly_its_scopes(
    queue: RunningQueue, method: str, target: str, body: object, asked: object
) -> None:
    await queue.create(task_id=TASK_ID, taskGroupId=GROUP_ID)
    queue.permit.asked.clear()
    assert (await queue.call(method, target, body)).status == 200
    assert queue.permit.asked == [asked]


@pytest.mark.parametrize(
    ("verb", "body", "asked"),
    [
        ("reclaim", NOTHING, "queue:reclaim-task"),
        ("completed", NOTHING, "queue:resolve-task"),
        ("failed", NOTHING, "queue:resolve-task"),
        ("exception", {"reason": "internal-error"}, "queue:resolve-task"),
    ],
)
async def test_a_worker_asks_once_for_the_scope_of_its_run(
    queue: RunningQueue, verb: str, body: object, asked: str
) -> None:
    await queue.claimed(task_id=TASK_ID)
    queue.permit.asked.clear()
    assert (await queue.call("POST", f"/task/{TASK_ID}/runs/0/{verb}", body)).status == 200
    assert queue.permit.asked == [f"{asked}:{TASK_ID}/0"]


async def test_cancel_task_group_asks_for_the_scheduler_of_the_group(queue: RunningQueue) -> None:
    await queue.create(task_id=TASK_ID, taskGroupId=GROUP_ID)
    await queue.post(f"/task-group/{GROUP_ID}/seal")
    queue.permit.asked.clear()
    await queue.post(f"/task-group/{GROUP_ID}/cancel")
    assert queue.permit.asked == [f"queue:cancel-task-group:taskbus-level-3/{GROUP_ID}"]


async def test_a_scope_is_asked_for_the_run_as_it_is_spelled(queue: RunningQueue) -> None:
    await queue.call("POST", f"/task/{TASK_ID}/runs/00/reclaim")
    assert queue.permit.asked == [f"queue:reclaim-task:{TASK_ID}/00"]
