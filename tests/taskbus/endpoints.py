"""How each endpoint besides those of tasks is called: name, call, request line, body, and an answer."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from schemas.artifacts import LinkArtifactRequest
from schemas.task_queues import TaskQueueLimits
from taskbus import Auth, Hooks, Index, PurgeCache, Queue
from tests.taskbus import samples
from tests.taskbus.samples import NOW, TASK_ID

Row = tuple[str, Callable[[Any], Awaitable[object]], str, Any, Any]

TIME: Final = "2024-05-01T12:00:00.000Z"
RUN: Final = f"/task/{TASK_ID}/runs/0"
ARTIFACT: Final = {
    "storageType": "s3",
    "name": "public/a b",
    "expires": TIME,
    "contentType": "text/plain",
}
WHERE: Final = {"storageType": "s3", "url": "http://storage.example.com/a?signature=x"}
SEEN: Final = {"expires": TIME, "lastDateActive": TIME, "description": "", "stability": "experimental"}
HALVES: Final = {"taskQueueId": "prov/type", "provisionerId": "prov", "workerType": "type"}
WORKER_PATH: Final = "/provisioners/prov/worker-types/type"
WORKER: Final = {
    **HALVES,
    "workerGroup": "g",
    "workerId": "w",
    "quarantineUntil": TIME,
    "expires": TIME,
    "firstClaim": TIME,
    "recentTasks": [{"taskId": TASK_ID, "runId": 0}],
    "lastDateActive": TIME,
}
CLIENT: Final = {
    "clientId": "ci/main",
    "expires": TIME,
    "description": "",
    "created": TIME,
    "lastModified": TIME,
    "lastDateUsed": TIME,
    "lastRotated": TIME,
    "scopes": ["a"],
    "expandedScopes": ["a"],
    "disabled": False,
    "deleteOnExpiration": False,
}
SECRET: Final = {**CLIENT, "accessToken": "a-new-secret-that-nobody-knows"}
ROLE: Final = {
    "roleId": "ci:*",
    "scopes": ["a"],
    "description": "",
    "created": TIME,
    "lastModified": TIME,
    "expandedScopes": ["a"],
}
INDEXED: Final = {"namespace": "p.latest", "taskId": TASK_ID, "rank": 1.5, "data": {}, "expires": TIME}
LINK: Final = LinkArtifactRequest(storage_type="link", expires=NOW, artifact="public/b")


async def listed(entries: Any) -> list[Any]:
    return [entry async for entry in entries]


ARTIFACTS: Final[list[Row]] = [
    (
        "createArtifact",
        lambda q: q.create_artifact(TASK_ID, 0, "public/a b", LINK),
        f"POST {RUN}/artifacts/public%2Fa%20b",
        {"storageType": "link", "expires": TIME, "artifact": "public/b"},
        {"storageType": "link"},
    ),
    (
        "finishArtifact",
        lambda q: q.finish_artifact(TASK_ID, 0, "a", TASK_ID),
        f"PUT {RUN}/artifacts/a",
        {"uploadId": TASK_ID},
        b"",
    ),
    (
        "listArtifacts",
        lambda q: listed(q.list_artifacts(TASK_ID, 0)),
        f"GET {RUN}/artifacts",
        None,
        {"artifacts": [ARTIFACT]},
    ),
    (
        "listLatestArtifacts",
        lambda q: listed(q.list_latest_artifacts(TASK_ID)),
        f"GET /task/{TASK_ID}/artifacts",
        None,
        {"artifacts": [ARTIFACT]},
    ),
    (
        "artifactInfo",
        lambda q: q.artifact_info(TASK_ID, 0, "a/b"),
        f"GET {RUN}/artifact-info/a%2Fb",
        None,
        ARTIFACT,
    ),
    (
        "latestArtifactInfo",
        lambda q: q.latest_artifact_info(TASK_ID, "a"),
        f"GET /task/{TASK_ID}/artifact-info/a",
        None,
        ARTIFACT,
    ),
    ("artifact", lambda q: q.artifact(TASK_ID, 0, "a"), f"GET {RUN}/artifact-content/a", None, WHERE),
    (
        "latestArtifact",
        lambda q: q.latest_artifact(TASK_ID, "a"),
        f"GET /task/{TASK_ID}/artifact-content/a",
        None,
        WHERE,
    ),
    ("getArtifact", lambda q: q.get_artifact(TASK_ID, 0, "a"), f"GET {RUN}/artifacts/a", None, WHERE),
    (
        "getLatestArtifact",
        lambda q: q.get_latest_artifact(TASK_ID, "a"),
        f"GET /task/{TASK_ID}/artifacts/a",
        None,
        WHERE,
    ),
]

TASK_QUEUES: Final[list[Row]] = [
    (
        "taskQueueCounts",
        lambda q: q.task_queue_counts("prov/type"),
        "GET /task-queues/prov%2Ftype/counts",
        None,
        {**HALVES, "pendingTasks": 1, "claimedTasks": 2},
    ),
    (
        "pendingTasks",
        lambda q: q.pending_tasks("prov/type"),
        "GET /pending/prov%2Ftype",
        None,
        {**HALVES, "pendingTasks": 1},
    ),
    (
        "listPendingTasks",
        lambda q: listed(q.list_pending_tasks("prov/type", page_size=5)),
        "GET /task-queues/prov%2Ftype/pending?limit=5",
        None,
        {"tasks": [{"taskId": TASK_ID, "runId": 0, "task": samples.definition(), "inserted": TIME}]},
    ),
    (
        "listClaimedTasks",
        lambda q: listed(q.list_claimed_tasks("prov/type")),
        "GET /task-queues/prov%2Ftype/claimed",
        None,
        {"tasks": []},
    ),
    (
        "listTaskQueues",
        lambda q: listed(q.list_task_queues()),
        "GET /task-queues",
        None,
        {"taskQueues": [{"taskQueueId": "prov/type", **SEEN}]},
    ),
    (
        "getTaskQueue",
        lambda q: q.get_task_queue("prov/type"),
        "GET /task-queues/prov%2Ftype",
        None,
        {"taskQueueId": "prov/type", **SEEN},
    ),
    (
        "listProvisioners",
        lambda q: listed(q.list_provisioners()),
        "GET /provisioners",
        None,
        {"provisioners": [{"provisionerId": "prov", **SEEN}]},
    ),
    (
        "getProvisioner",
        lambda q: q.get_provisioner("prov"),
        "GET /provisioners/prov",
        None,
        {"provisionerId": "prov", **SEEN},
    ),
    (
        "listWorkerTypes",
        lambda q: listed(q.list_worker_types("prov")),
        "GET /provisioners/prov/worker-types",
        None,
        {"workerTypes": [{**HALVES, **SEEN}]},
    ),
    (
        "getWorkerType",
        lambda q: q.get_worker_type("prov/type"),
        f"GET {WORKER_PATH}",
        None,
        {**HALVES, **SEEN},
    ),
    (
        "listWorkers",
        lambda q: listed(q.list_workers("prov/type", quarantined=True)),
        f"GET {WORKER_PATH}/workers?quarantined=true",
        None,
        {"workers": [{"workerGroup": "g", "workerId": "w", "firstClaim": TIME, "lastDateActive": TIME}]},
    ),
    (
        "getWorker",
        lambda q: q.get_worker("prov/type", "g", "w"),
        f"GET {WORKER_PATH}/workers/g/w",
        None,
        WORKER,
    ),
    (
        "quarantineWorker",
        lambda q: q.quarantine_worker("prov/type", "g", "w", NOW, info="disk"),
        f"PUT {WORKER_PATH}/workers/g/w",
        {"quarantineUntil": TIME, "quarantineInfo": "disk"},
        WORKER,
    ),
    (
        "declareWorker",
        lambda q: q.declare_worker("prov/type", "g", "w", NOW),
        f"PUT {WORKER_PATH}/g/w",
        {"expires": TIME},
        WORKER,
    ),
]

STATES: Final = {"taskQueues": [{"taskQueueId": "prov/type", "pausedAt": TIME}]}
LIMITS: Final = {"concurrency": {"limit": 2, "key": "{customer}"}}
CONTROLS: Final[list[Row]] = [
    (
        "pauseTaskQueues",
        lambda q: q.pause_task_queue("prov/type"),
        "POST /task-queues/prov%2Ftype/pause",
        None,
        STATES,
    ),
    ("pauseTaskQueues", lambda q: q.pause_task_queues(), "POST /task-queues/%2A/pause", None, STATES),
    (
        "resumeTaskQueues",
        lambda q: q.resume_task_queue("prov/type"),
        "POST /task-queues/prov%2Ftype/resume",
        None,
        {"taskQueues": [{"taskQueueId": "prov/type"}]},
    ),
    ("resumeTaskQueues", lambda q: q.resume_task_queues(), "POST /task-queues/%2A/resume", None, STATES),
    (
        "taskQueueLoad",
        lambda q: q.task_queue_load("prov/type"),
        "GET /task-queues/prov%2Ftype/load",
        None,
        {"taskQueueId": "prov/type", "pending": 1, "delayed": 2, "running": 3, "limits": LIMITS},
    ),
    (
        "getTaskQueueLimits",
        lambda q: q.get_task_queue_limits("prov/type"),
        "GET /task-queues/prov%2Ftype/limits",
        None,
        LIMITS,
    ),
    (
        "setTaskQueueLimits",
        lambda q: q.set_task_queue_limits("prov/type", TaskQueueLimits.model_validate(LIMITS)),
        "PUT /task-queues/prov%2Ftype/limits",
        LIMITS,
        LIMITS,
    ),
    (
        "removeTaskQueueLimits",
        lambda q: q.remove_task_queue_limits("prov/type"),
        "DELETE /task-queues/prov%2Ftype/limits",
        None,
        {},
    ),
]
"""Calls about task queues that are ours alone."""
AUTH: Final[list[Row]] = [
    ("currentScopes", lambda a: a.current_scopes(), "GET /scopes/current", None, {"scopes": ["a"]}),
    (
        "expandScopes",
        lambda a: a.expand_scopes(["assume:ci"]),
        "POST /scopes/expand",
        {"scopes": ["assume:ci"]},
        {"scopes": ["a"]},
    ),
    (
        "listClients",
        lambda a: listed(a.list_clients(prefix="ci/")),
        "GET /clients/?prefix=ci%2F",
        None,
        {"clients": [CLIENT]},
    ),
    ("client", lambda a: a.client("ci/main"), "GET /clients/ci%2Fmain", None, CLIENT),
    (
        "createClient",
        lambda a: a.create_client("ci/main", scopes=["a"], expires=NOW, description="CI"),
        "PUT /clients/ci%2Fmain",
        {"scopes": ["a"], "expires": TIME, "description": "CI", "deleteOnExpiration": False},
        SECRET,
    ),
    (
        "updateClient",
        lambda a: a.update_client("ci/main", expires=NOW, description="CI"),
        "POST /clients/ci%2Fmain",
        {"expires": TIME, "description": "CI", "deleteOnExpiration": False},
        CLIENT,
    ),
    (
        "resetAccessToken",
        lambda a: a.reset_access_token("ci/main"),
        "POST /clients/ci%2Fmain/reset",
        None,
        SECRET,
    ),
    ("enableClient", lambda a: a.enable_client("c"), "POST /clients/c/enable", None, CLIENT),
    ("disableClient", lambda a: a.disable_client("c"), "POST /clients/c/disable", None, CLIENT),
    ("deleteClient", lambda a: a.delete_client("c"), "DELETE /clients/c", None, b""),
    ("listRoles2", lambda a: listed(a.list_roles()), "GET /roles2/", None, {"roles": [ROLE]}),
    ("role", lambda a: a.role("ci:*"), "GET /roles/ci%3A%2A", None, ROLE),
    (
        "createRole",
        lambda a: a.create_role("ci:*", scopes=["a"]),
        "PUT /roles/ci%3A%2A",
        {"scopes": ["a"], "description": ""},
        ROLE,
    ),
    (
        "updateRole",
        lambda a: a.update_role("ci:*", scopes=["a"], description="CI"),
        "POST /roles/ci%3A%2A",
        {"scopes": ["a"], "description": "CI"},
        ROLE,
    ),
    ("deleteRole", lambda a: a.delete_role("ci:*"), "DELETE /roles/ci%3A%2A", None, b""),
]

INDEX: Final[list[Row]] = [
    ("findTask", lambda i: i.find_task("p.latest"), "GET /task/p.latest", None, INDEXED),
    (
        "findTasksAtIndex",
        lambda i: i.find_tasks_at_index(["p.latest"]),
        "POST /tasks/indexes",
        {"indexes": ["p.latest"]},
        {"tasks": [INDEXED]},
    ),
    ("listTasks", lambda i: listed(i.list_tasks("p")), "GET /tasks/p", None, {"tasks": [INDEXED]}),
    (
        "listNamespaces",
        lambda i: listed(i.list_namespaces()),
        "GET /namespaces/",
        None,
        {"namespaces": [{"namespace": "p", "name": "p", "expires": TIME}]},
    ),
    (
        "insertTask",
        lambda i: i.insert_task("p.latest", TASK_ID, expires=NOW, rank=2),
        "PUT /task/p.latest",
        {"taskId": TASK_ID, "rank": 2, "data": {}, "expires": TIME},
        INDEXED,
    ),
    ("deleteTask", lambda i: i.delete_task("p.latest"), "DELETE /task/p.latest", None, b""),
    (
        "findArtifactFromTask",
        lambda i: i.find_artifact_from_task("p.latest", "public/a"),
        "GET /task/p.latest/artifacts/public%2Fa",
        None,
        WHERE,
    ),
]

HOOK: Final = {
    "metadata": {"name": "n", "description": "", "owner": "a@example.com", "emailOnError": True},
    "task": {"payload": None},
    "schedule": ["0 3 * * *"],
    "triggerSchema": {"type": "object"},
}
HOOK_SHOWN: Final = {"hookGroupId": "ci", "hookId": "nightly/x", **HOOK}
HOOK_FIRE: Final = {
    "hookGroupId": "ci",
    "hookId": "nightly/x",
    "firedBy": "schedule",
    "taskId": TASK_ID,
    "taskCreateTime": TIME,
    "result": "success",
    "error": "",
    "taskState": "pending",
}
NIGHTLY: Final = "/hooks/ci/nightly%2Fx"
FIRED: Final = {"taskId": TASK_ID, "status": {"taskId": TASK_ID}}

HOOKS: Final[list[Row]] = [
    ("listHookGroups", lambda h: h.list_hook_groups(), "GET /hooks", None, {"groups": ["ci"]}),
    ("listHooks", lambda h: h.list_hooks("ci"), "GET /hooks/ci", None, {"hooks": [HOOK_SHOWN]}),
    ("hook", lambda h: h.hook("ci", "nightly/x"), f"GET {NIGHTLY}", None, HOOK_SHOWN),
    ("createHook", lambda h: h.create_hook("ci", "nightly/x", HOOK), f"PUT {NIGHTLY}", HOOK, HOOK_SHOWN),
    ("updateHook", lambda h: h.update_hook("ci", "nightly/x", HOOK), f"POST {NIGHTLY}", HOOK, HOOK_SHOWN),
    ("removeHook", lambda h: h.remove_hook("ci", "nightly/x"), f"DELETE {NIGHTLY}", None, {}),
    (
        "triggerHook",
        lambda h: h.trigger_hook("ci", "nightly/x", {"tree": "central"}),
        f"POST {NIGHTLY}/trigger",
        {"tree": "central"},
        FIRED,
    ),
    (
        "triggerHookWithToken",
        lambda h: h.trigger_hook_with_token("ci", "nightly/x", TASK_ID),
        f"POST {NIGHTLY}/trigger/{TASK_ID}",
        {},
        FIRED,
    ),
    (
        "getTriggerToken",
        lambda h: h.get_trigger_token("ci", "nightly/x"),
        f"GET {NIGHTLY}/token",
        None,
        {"token": TASK_ID},
    ),
    (
        "resetTriggerToken",
        lambda h: h.reset_trigger_token("ci", "nightly/x"),
        f"POST {NIGHTLY}/token",
        None,
        {"token": TASK_ID},
    ),
    (
        "getHookStatus",
        lambda h: h.get_hook_status("ci", "nightly/x"),
        f"GET {NIGHTLY}/status",
        None,
        {"lastFire": {"result": "no-fire"}},
    ),
    (
        "listLastFires",
        lambda h: listed(h.list_last_fires("ci", "nightly/x")),
        f"GET {NIGHTLY}/last-fires",
        None,
        {"lastFires": [HOOK_FIRE]},
    ),
]

PURGE_CACHE: Final[list[Row]] = [
    (
        "purgeCache",
        lambda p: p.purge_cache("prov/type", "ccache"),
        "POST /purge-cache/prov%2Ftype",
        {"cacheName": "ccache"},
        b"",
    ),
    (
        "purgeRequests",
        lambda p: p.purge_requests("prov/type", since=NOW),
        "GET /purge-cache/prov%2Ftype?since=2024-05-01T12%3A00%3A00.000Z",
        None,
        {"requests": []},
    ),
    (
        "allPurgeRequests",
        lambda p: listed(p.all_purge_requests()),
        "GET /purge-cache/list",
        None,
        {"requests": [{"workerPoolId": "prov/type", "cacheName": "c", "before": TIME}]},
    ),
]

SERVICES: Final = [
    *((Queue, row) for row in ARTIFACTS + TASK_QUEUES + CONTROLS),
    *((Auth, row) for row in AUTH),
    *((Index, row) for row in INDEX),
    *((PurgeCache, row) for row in PURGE_CACHE),
    *((Hooks, row) for row in HOOKS),
]
