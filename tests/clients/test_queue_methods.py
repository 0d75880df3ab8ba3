"""Every method of the PyPI client's ``Queue``, blocking and asynchronous, against a real secured service."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
import taskcluster

from tests.clients.callers import Caller
from tests.clients.scene import Scene

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


def soon(**parts: float) -> str:
    text: str = taskcluster.stringDate(datetime.now(UTC) + timedelta(**parts))
    return text


def ping(scene: Scene) -> None:
    assert scene.caller.queue("ping")["alive"] is True


def heartbeat(scene: Scene) -> None:
    assert scene.caller.queue("heartbeat") == {}


def lbheartbeat(scene: Scene) -> None:
    assert scene.caller.queue("lbheartbeat") == {}


def version(scene: Scene) -> None:
    assert "version" in scene.caller.queue("version")


# ---- tasks ---------------------------------------------------------------------------------------------


def create_task(scene: Scene) -> None:
    task_id = taskcluster.slugId()
    status = scene.caller.queue("createTask", task_id, scene.definition())["status"]
    assert (status["taskId"], status["state"]) == (task_id, "pending")


def task(scene: Scene) -> None:
    definition = scene.caller.queue("task", scene.created())
    assert definition["taskQueueId"] == scene.task_queue_id


def tasks(scene: Scene) -> None:
    ids = {scene.created(), scene.created()}
    assert {item["taskId"] for item in scene.caller.queue("tasks", {"taskIds": [*ids]})["tasks"]} == ids


def status(scene: Scene) -> None:
    assert scene.caller.queue("status", scene.created())["status"]["state"] == "pending"


def statuses(scene: Scene) -> None:
    ids = {scene.created(), scene.created()}
    found = scene.caller.queue("statuses", {"taskIds": [*ids]})["statuses"]
    assert {item["taskId"] for item in found} == ids


def schedule_task(scene: Scene) -> None:
    assert scene.caller.queue("scheduleTask", scene.unscheduled())["status"]["state"] == "pending"


def rerun_task(scene: Scene) -> None:
    runs = scene.caller.queue("rerunTask", scene.completed())["status"]["runs"]
    assert [run["state"] for run in runs] == ["completed", "pending"]


def cancel_task(scene: Scene) -> None:
    run = scene.caller.queue("cancelTask", scene.created())["status"]["runs"][-1]
    assert run["reasonResolved"] == "canceled"


def change_task_priority(scene: Scene) -> None:
    changed = scene.caller.queue("changeTaskPriority", scene.created(), {"newPriority": "highest"})
    assert changed["status"]["priority"] == "highest"


def list_dependent_tasks(scene: Scene) -> None:
    required = scene.created()
    dependent = scene.created(dependencies=[required])
    found = scene.caller.queue("listDependentTasks", required)["tasks"]
    assert [item["status"]["taskId"] for item in found] == [dependent]


# ---- groups --------------------------------------------------------------------------------------------


def list_task_group(scene: Scene) -> None:
    ids = {scene.created(), scene.created(), scene.created()}
    pages: list[dict[str, Any]] = []
    scene.caller.queue(
        "listTaskGroup", scene.group_id, query={"limit": 2}, paginationHandler=_collected(pages)
    )
    assert [len(page["tasks"]) for page in pages] == [2, 1]
    assert {item["status"]["taskId"] for page in pages for item in page["tasks"]} == ids


def _collected(pages: list[dict[str, Any]]) -> Callable[[dict[str, Any]], None]:
    return lambda page: pages.append(page)


def get_task_group(scene: Scene) -> None:
    scene.created()
    assert scene.caller.queue("getTaskGroup", scene.group_id)["schedulerId"] == "real-clients"


def seal_task_group(scene: Scene) -> None:
    scene.created()
    assert "sealed" in scene.caller.queue("sealTaskGroup", scene.group_id)


def cancel_task_group(scene: Scene) -> None:
    task_id = scene.created()
    scene.caller.queue("sealTaskGroup", scene.group_id)
    assert scene.caller.queue("cancelTaskGroup", scene.group_id)["taskIds"] == [task_id]


def change_task_group_priority(scene: Scene) -> None:
    task_id = scene.created()
    changed = scene.caller.queue("changeTaskGroupPriority", scene.group_id, {"newPriority": "highest"})
    assert changed["taskIds"] == [task_id]


# ---- work ----------------------------------------------------------------------------------------------


def claim_work(scene: Scene) -> None:
    task_id = scene.created()
    (claim,) = scene.caller.queue("claimWork", scene.task_queue_id, scene.worker)["tasks"]
    assert (claim["status"]["taskId"], claim["runId"]) == (task_id, 0)


def claim_task(scene: Scene) -> None:
    assert scene.caller.queue("claimTask", scene.created(), "0", scene.worker)["runId"] == 0


def reclaim_task(scene: Scene) -> None:
    assert "takenUntil" in scene.caller.queue("reclaimTask", scene.claimed(), "0")


def report_completed(scene: Scene) -> None:
    assert scene.caller.queue("reportCompleted", scene.claimed(), "0")["status"]["state"] == "completed"


def report_failed(scene: Scene) -> None:
    assert scene.caller.queue("reportFailed", scene.claimed(), "0")["status"]["state"] == "failed"


def report_exception(scene: Scene) -> None:
    ended = scene.caller.queue("reportException", scene.claimed(), "0", {"reason": "malformed-payload"})
    assert ended["status"]["runs"][0]["reasonResolved"] == "malformed-payload"


# ---- artifacts -----------------------------------------------------------------------------------------


def create_artifact(scene: Scene) -> None:
    made = scene.caller.queue("createArtifact", scene.claimed(), "0", "public/a b.txt", scene.reference())
    assert made == {"storageType": "reference"}


def finish_artifact(scene: Scene) -> None:
    task_id = scene.with_artifact()
    with pytest.raises(taskcluster.exceptions.TaskclusterRestFailure) as refused:
        scene.caller.queue("finishArtifact", task_id, "0", "public/notes.txt", {"uploadId": "x" * 22})
    assert refused.value.status_code == 400


def get_artifact(scene: Scene) -> None:
    found = scene.caller.queue("getArtifact", scene.with_artifact(), "0", "public/notes.txt")
    assert found["url"] == "https://example.com/notes.txt"


def get_latest_artifact(scene: Scene) -> None:
    found = scene.caller.queue("getLatestArtifact", scene.with_artifact(), "public/notes.txt")
    assert found["url"] == "https://example.com/notes.txt"


def list_artifacts(scene: Scene) -> None:
    found = scene.caller.queue("listArtifacts", scene.with_artifact(), "0")["artifacts"]
    assert [item["name"] for item in found] == ["public/notes.txt"]


def list_latest_artifacts(scene: Scene) -> None:
    found = scene.caller.queue("listLatestArtifacts", scene.with_artifact())["artifacts"]
    assert [item["name"] for item in found] == ["public/notes.txt"]


def artifact_info(scene: Scene) -> None:
    found = scene.caller.queue("artifactInfo", scene.with_artifact(), "0", "public/notes.txt")
    assert found["contentType"] == "text/plain"


def latest_artifact_info(scene: Scene) -> None:
    found = scene.caller.queue("latestArtifactInfo", scene.with_artifact(), "public/notes.txt")
    assert found["contentType"] == "text/plain"


def artifact(scene: Scene) -> None:
    found = scene.caller.queue("artifact", scene.with_artifact(), "0", "public/notes.txt")
    assert found == {"storageType": "reference", "url": "https://example.com/notes.txt"}


def latest_artifact(scene: Scene) -> None:
    found = scene.caller.queue("latestArtifact", scene.with_artifact(), "public/notes.txt")
    assert found == {"storageType": "reference", "url": "https://example.com/notes.txt"}


# ---- workers -------------------------------------------------------------------------------------------


def list_provisioners(scene: Scene) -> None:
    scene.claimed()
    found = scene.caller.queue("listProvisioners")["provisioners"]
    assert scene.provisioner_id in {item["provisionerId"] for item in found}


def get_provisioner(scene: Scene) -> None:
    scene.claimed()
    found = scene.caller.queue("getProvisioner", scene.provisioner_id)
    assert found["provisionerId"] == scene.provisioner_id


def list_worker_types(scene: Scene) -> None:
    scene.claimed()
    found = scene.caller.queue("listWorkerTypes", scene.provisioner_id)["workerTypes"]
    assert scene.worker_type in {item["workerType"] for item in found}


def get_worker_type(scene: Scene) -> None:
    scene.claimed()
    found = scene.caller.queue("getWorkerType", scene.provisioner_id, scene.worker_type)
    assert found["workerType"] == scene.worker_type


def list_task_queues(scene: Scene) -> None:
    scene.claimed()
    found = scene.caller.queue("listTaskQueues")["taskQueues"]
    assert scene.task_queue_id in {item["taskQueueId"] for item in found}


def get_task_queue(scene: Scene) -> None:
    scene.claimed()
    assert scene.caller.queue("getTaskQueue", scene.task_queue_id)["taskQueueId"] == scene.task_queue_id


def list_workers(scene: Scene) -> None:
    scene.claimed()
    found = scene.caller.queue("listWorkers", scene.provisioner_id, scene.worker_type)["workers"]
    assert [item["workerId"] for item in found] == ["worker-1"]


def get_worker(scene: Scene) -> None:
    task_id = scene.claimed()
    found = scene.caller.queue("getWorker", *_worker(scene))
    assert found["recentTasks"] == [{"taskId": task_id, "runId": 0}]


def quarantine_worker(scene: Scene) -> None:
    scene.claimed()
    until = soon(hours=1)
    found = scene.caller.queue(
        "quarantineWorker", *_worker(scene), {"quarantineUntil": until, "quarantineInfo": "a broken disk"}
    )
    assert found["quarantineUntil"][:19] == until[:19]


def declare_worker(scene: Scene) -> None:
    expires = soon(days=2)
    found = scene.caller.queue("declareWorker", *_worker(scene), {"expires": expires})
    assert found["expires"][:19] == expires[:19]


def _worker(scene: Scene) -> tuple[str, str, str, str]:
    return scene.provisioner_id, scene.worker_type, "here", "worker-1"


def pending_tasks(scene: Scene) -> None:
    scene.created()
    assert scene.caller.queue("pendingTasks", scene.task_queue_id)["pendingTasks"] == 1


def task_queue_counts(scene: Scene) -> None:
    scene.claimed()
    counts = scene.caller.queue("taskQueueCounts", scene.task_queue_id)
    assert (counts["pendingTasks"], counts["claimedTasks"]) == (0, 1)


def list_pending_tasks(scene: Scene) -> None:
    task_id = scene.created()
    found = scene.caller.queue("listPendingTasks", scene.task_queue_id)["tasks"]
    assert [item["taskId"] for item in found] == [task_id]


def list_claimed_tasks(scene: Scene) -> None:
    task_id = scene.claimed()
    found = scene.caller.queue("listClaimedTasks", scene.task_queue_id)["tasks"]
    assert [item["taskId"] for item in found] == [task_id]


USES: Final[dict[str, Callable[[Scene], None]]] = {
    "ping": ping,
    "heartbeat": heartbeat,
    "lbheartbeat": lbheartbeat,
    "version": version,
    "createTask": create_task,
    "task": task,
    "tasks": tasks,
    "status": status,
    "statuses": statuses,
    "scheduleTask": schedule_task,
    "rerunTask": rerun_task,
    "cancelTask": cancel_task,
    "changeTaskPriority": change_task_priority,
    "listDependentTasks": list_dependent_tasks,
    "listTaskGroup": list_task_group,
    "getTaskGroup": get_task_group,
    "sealTaskGroup": seal_task_group,
    "cancelTaskGroup": cancel_task_group,
    "changeTaskGroupPriority": change_task_group_priority,
    "claimWork": claim_work,
    "claimTask": claim_task,
    "reclaimTask": reclaim_task,
    "reportCompleted": report_completed,
    "reportFailed": report_failed,
    "reportException": report_exception,
    "createArtifact": create_artifact,
    "finishArtifact": finish_artifact,
    "getArtifact": get_artifact,
    "getLatestArtifact": get_latest_artifact,
    "listArtifacts": list_artifacts,
    "listLatestArtifacts": list_latest_artifacts,
    "artifactInfo": artifact_info,
    "latestArtifactInfo": latest_artifact_info,
    "artifact": artifact,
    "latestArtifact": latest_artifact,
    "listProvisioners": list_provisioners,
    "getProvisioner": get_provisioner,
    "listWorkerTypes": list_worker_types,
    "getWorkerType": get_worker_type,
    "listTaskQueues": list_task_queues,
    "getTaskQueue": get_task_queue,
    "listWorkers": list_workers,
    "getWorker": get_worker,
    "quarantineWorker": quarantine_worker,
    "declareWorker": declare_worker,
    "pendingTasks": pending_tasks,
    "taskQueueCounts": task_queue_counts,
    "listPendingTasks": list_pending_tasks,
    "listClaimedTasks": list_claimed_tasks,
}
NEWER: Final = {"taskQueueCountsBatch"}
"""Methods of this client that the release level we follow does not have (``real-clients.md`` 1)."""


@pytest.mark.parametrize("method", USES)
def test_the_method_does_what_its_users_expect(caller: Caller, method: str) -> None:
    USES[method](Scene(caller))


def test_no_method_of_the_client_is_left_out() -> None:
    assert set(taskcluster.Queue.funcinfo) - NEWER == set(USES)
