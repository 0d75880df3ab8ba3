"""Every method of the PyPI client's ``Index`` and ``PurgeCache`` against a real secured service."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import taskcluster
from taskcluster.exceptions import TaskclusterRestFailure

from tests.clients.callers import Caller
from tests.clients.scene import Scene

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


def entry(task_id: str, rank: int = 1) -> dict[str, Any]:
    expires = taskcluster.stringDate(datetime.now(UTC) + timedelta(days=1))
    return {"taskId": task_id, "rank": rank, "data": {"made": "by hand"}, "expires": expires}


def namespace() -> str:
    return "test." + taskcluster.slugId().replace("-", "x")


def test_a_task_is_inserted_and_found(caller: Caller) -> None:
    path, task_id = f"{namespace()}.latest", taskcluster.slugId()
    caller.call("Index", "insertTask", path, entry(task_id))
    assert caller.call("Index", "findTask", path)["taskId"] == task_id


def test_tasks_are_found_at_many_paths(caller: Caller) -> None:
    path, task_id = f"{namespace()}.latest", taskcluster.slugId()
    caller.call("Index", "insertTask", path, entry(task_id))
    found = caller.call("Index", "findTasksAtIndex", {"indexes": [path, f"{path}.missing"]})["tasks"]
    assert [item["taskId"] for item in found] == [task_id]


def test_the_tasks_of_a_namespace_are_listed(caller: Caller) -> None:
    parent = namespace()
    for name in ("a", "b"):
        caller.call("Index", "insertTask", f"{parent}.{name}", entry(taskcluster.slugId()))
    found = caller.call("Index", "listTasks", parent)["tasks"]
    assert [item["namespace"] for item in found] == [f"{parent}.a", f"{parent}.b"]


def test_the_namespaces_of_a_namespace_are_listed(caller: Caller) -> None:
    parent = namespace()
    caller.call("Index", "insertTask", f"{parent}.branch.leaf", entry(taskcluster.slugId()))
    found = caller.call("Index", "listNamespaces", parent)["namespaces"]
    assert [item["name"] for item in found] == ["branch"]


def test_a_task_is_deleted(caller: Caller) -> None:
    path = f"{namespace()}.latest"
    caller.call("Index", "insertTask", path, entry(taskcluster.slugId()))
    caller.call("Index", "deleteTask", path)
    with pytest.raises(TaskclusterRestFailure) as missing:
        caller.call("Index", "findTask", path)
    assert missing.value.status_code == 404


def test_an_artifact_of_the_indexed_task_is_found(caller: Caller) -> None:
    path, task_id = f"{namespace()}.latest", Scene(caller).with_artifact()
    caller.call("Index", "insertTask", path, entry(task_id))
    found = caller.call("Index", "findArtifactFromTask", path, "public/notes.txt")
    assert found["url"] == "https://example.com/notes.txt"


@pytest.mark.parametrize("method", ["ping", "heartbeat", "lbheartbeat", "version"])
@pytest.mark.parametrize("service", ["Index", "PurgeCache", "Object"])
def test_the_service_tells_that_it_lives(caller: Caller, service: str, method: str) -> None:
    assert isinstance(caller.call(service, method), dict)


def test_a_worker_asks_which_caches_to_purge(caller: Caller) -> None:
    assert caller.call("PurgeCache", "purgeRequests", "prov/type")["requests"] == []


def test_a_cache_is_purged(caller: Caller) -> None:
    pool = f"prov/{Scene(caller).worker_type}"
    caller.call("PurgeCache", "purgeCache", pool, {"cacheName": "checkouts"})
    found = caller.call("PurgeCache", "purgeRequests", pool)["requests"]
    assert [item["cacheName"] for item in found] == ["checkouts"]
    assert pool in {
        item["workerPoolId"] for item in caller.call("PurgeCache", "allPurgeRequests")["requests"]
    }
