"""Real messages, one of every kind, made the way the queue makes them."""

from typing import Any, Final

from schemas.hooks import HookCreatedMessage, HookDeletedMessage, HookUpdatedMessage
from schemas.jobs import JobResolvedMessage, JobStep, JobUpdatedMessage
from schemas.kv import KvChangedMessage
from schemas.messages import (
    ArtifactCreatedMessage,
    ClientCreatedMessage,
    ClientDeletedMessage,
    ClientUpdatedMessage,
    Message,
    RoleCreatedMessage,
    RoleDeletedMessage,
    RoleUpdatedMessage,
    TaskCompletedMessage,
    TaskDefinedMessage,
    TaskExceptionMessage,
    TaskFailedMessage,
    TaskGroupPriorityChangedMessage,
    TaskGroupResolvedMessage,
    TaskGroupSealedMessage,
    TaskPendingMessage,
    TaskPriorityChangedMessage,
    TaskRunningMessage,
)
from schemas.task_queues import QueuePausedMessage, QueueResumedMessage
from schemas.triggers import TriggerBlockedMessage, TriggerExhaustedMessage, TriggerLoopMessage
from schemas.work import WorkerAttachedMessage, WorkerDetachedMessage
from schemas.worksets import WorksetMemberDeadMessage

TASK_ID: Final = "fN1SbArXTPSVFNUvaOlinQ"
OTHER_TASK_ID: Final = "AMOIs2J0QAmm6h3jWbJjmQ"
GROUP_ID: Final = "dSlITZ4yQgmvxxAi4A8fHQ"
CLIENT_ID: Final = "project/releng/worker.1"
ROLE_ID: Final = "hook-id:project releng/*"

RUN: Final = {
    "runId": 0,
    "state": "running",
    "reasonCreated": "scheduled",
    "workerGroup": "of-status",
    "workerId": "of-status",
    "takenUntil": "2024-05-01T12:20:00.000Z",
    "scheduled": "2024-05-01T12:00:00.000Z",
    "started": "2024-05-01T12:00:00.123Z",
}
TAGS: Final = {"tags": {"kind": "build"}}
WORKER: Final = {"workerGroup": "eu-1", "workerId": "w-1"}
GROUP: Final = {"taskGroupId": GROUP_ID, "schedulerId": "sched", "expires": "2025-05-01T12:00:00.000Z"}
TASK_QUEUE: Final = {"taskQueueId": "aws/gaia", "provisionerId": "aws", "workerType": "gaia"}
ARTIFACT: Final = {
    "storageType": "link",
    "name": "public/logs/live.log",
    "expires": "2025-05-01T12:00:00.000Z",
    "contentType": "text/plain",
}


def status(task_id: str = TASK_ID, **members: Any) -> dict[str, Any]:
    return {
        "taskId": task_id,
        "provisionerId": "aws",
        "workerType": "gaia",
        "taskQueueId": "aws/gaia",
        "schedulerId": "sched",
        "projectId": "none",
        "taskGroupId": GROUP_ID,
        "deadline": "2024-05-02T12:00:00.000Z",
        "expires": "2025-05-01T12:00:00.000Z",
        "retriesLeft": 5,
        "state": "running",
        "runs": [RUN],
    } | members


def defined(task_id: str = TASK_ID, **members: Any) -> TaskDefinedMessage:
    wire = {"status": status(task_id, state="unscheduled", runs=[], **members), "task": TAGS}
    return TaskDefinedMessage.model_validate(wire)


def pending(task_id: str = TASK_ID, run_id: int = 0) -> TaskPendingMessage:
    return TaskPendingMessage.model_validate({"status": status(task_id), "runId": run_id, "task": TAGS})


def running(task_id: str = TASK_ID, run_id: int = 0) -> TaskRunningMessage:
    wire = {"status": status(task_id), "runId": run_id, "task": TAGS, "takenUntil": RUN["takenUntil"]}
    return TaskRunningMessage.model_validate(wire | WORKER)


def completed(task_id: str = TASK_ID, run_id: int = 0) -> TaskCompletedMessage:
    return TaskCompletedMessage.model_validate(
        {"status": status(task_id), "runId": run_id, "task": TAGS} | WORKER
    )


OF_STATUS: Final = {"status": status()}
OF_RUN: Final = OF_STATUS | {"runId": 2, "task": TAGS}

ALL: Final[tuple[Message, ...]] = (
    defined(),
    pending(run_id=2),
    running(run_id=2),
    ArtifactCreatedMessage.model_validate(OF_STATUS | {"runId": 2, "artifact": ARTIFACT} | WORKER),
    completed(run_id=2),
    TaskFailedMessage.model_validate(OF_RUN | WORKER),
    TaskExceptionMessage.model_validate(OF_RUN),
    TaskGroupResolvedMessage.model_validate(GROUP),
    TaskGroupSealedMessage.model_validate(GROUP | {"sealed": "2024-05-01T12:00:00.000Z"}),
    TaskPriorityChangedMessage.model_validate(OF_STATUS | {"oldPriority": "low", "newPriority": "high"}),
    TaskGroupPriorityChangedMessage.model_validate(
        {"taskGroupId": GROUP_ID, "schedulerId": "sched", "newPriority": "high", "tasksAffected": 3}
    ),
    ClientCreatedMessage(client_id=CLIENT_ID),
    ClientUpdatedMessage(client_id=CLIENT_ID),
    ClientDeletedMessage(client_id=CLIENT_ID),
    RoleCreatedMessage(role_id=ROLE_ID),
    RoleUpdatedMessage(role_id=ROLE_ID),
    RoleDeletedMessage(role_id=ROLE_ID),
    QueuePausedMessage.model_validate(TASK_QUEUE | {"pausedAt": "2024-05-01T12:00:00.000Z"}),
    QueueResumedMessage.model_validate(TASK_QUEUE),
    HookCreatedMessage(hook_group_id="project-releng", hook_id="nightly/desktop"),
    HookUpdatedMessage(hook_group_id="project-releng", hook_id="nightly/desktop"),
    HookDeletedMessage(hook_group_id="project-releng", hook_id="nightly/desktop"),
    KvChangedMessage(tenant="acme", namespace="deployments", key="a/b", op="put", entry_version=7),
    WorksetMemberDeadMessage(
        tenant="acme", namespace="crawl", set="urls", member_id="a", deliveries=3, error="503"
    ),
    TriggerBlockedMessage(group="reports", trigger_id="nightly", reason="The range failed."),
    TriggerExhaustedMessage(group="reports", trigger_id="nightly", reason="It has fired 3 times."),
    TriggerLoopMessage(group="reports", trigger_id="nightly", reason="Ten triggers fired each other."),
    WorkerAttachedMessage(
        worker_group="fN1SbArXTPSVFNUvaOlinQ", worker_id="w-1", task_name="tag", first_seen=True
    ),
    WorkerDetachedMessage(
        worker_group="fN1SbArXTPSVFNUvaOlinQ", worker_id="w-1", task_name="tag", reason="closed"
    ),
    JobUpdatedMessage(
        job_id=TASK_ID,
        type="FILE_ETL",
        state="RUNNING",
        task_group_id=GROUP_ID,
        step=JobStep(name="Extract", state="DONE"),
    ),
    JobResolvedMessage(
        job_id=TASK_ID, type="FILE_ETL", state="DONE", env_id="prod", task_group_id=GROUP_ID, steps=()
    ),
)
"""One message of every kind, in the order of the declarations."""
