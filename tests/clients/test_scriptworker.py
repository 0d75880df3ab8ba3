"""scriptworker from PyPI claims, reclaims, uploads and reports; and is killed in the middle."""

import gzip
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import taskcluster

from tests.clients.deployment import Deployment
from tests.clients.scene import Scene
from tests.clients.scriptworker_process import scriptworker
from tests.clients.watch import Watch

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


@pytest.fixture
def credentials(scene: Scene) -> dict[str, str]:
    """A client with the two scopes that a worker needs, and no other."""
    client_id = f"worker/{scene.worker_type}"
    made = scene.caller.call(
        "Auth",
        "createClient",
        client_id,
        {
            "expires": taskcluster.stringDate(datetime.now(UTC) + timedelta(days=1)),
            "description": "scriptworker",
            "scopes": [f"queue:claim-work:{scene.task_queue_id}", "queue:worker-id:script/*"],
        },
    )
    return {"clientId": client_id, "accessToken": made["accessToken"]}


def artifact(scene: Scene, task_id: str, name: str) -> bytes:
    """The bytes of an artifact, fetched as its URL says."""
    url = scene.caller.queue("getLatestArtifact", task_id, name)["url"]
    with urllib.request.urlopen(url, timeout=30) as response:
        data: bytes = response.read()
        return gzip.decompress(data) if response.headers["content-encoding"] == "gzip" else data


def test_a_task_is_done_and_its_files_are_artifacts(
    tmp_path: Path, deployment: Deployment, scene: Scene, credentials: dict[str, str], watch: Watch
) -> None:
    text = "result of the build\n" * 1000
    task_id = scene.created(scopes=[], payload={"files": {"public/build/result.txt": text}})
    with scriptworker(tmp_path / "w-1", deployment, credentials, scene):
        watch.until("task-completed", task_id=task_id)
    assert artifact(scene, task_id, "public/build/result.txt") == text.encode()
    assert f"task {task_id}" in artifact(scene, task_id, "public/logs/live_backing.log").decode()
    assert watch.story(task_id) == ["task-defined", "task-pending", "task-running", "task-completed"]


@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [(1, "task-failed", "failed"), (3, "task-exception", "malformed-payload")],
)
def test_the_status_of_the_script_ends_the_run(
    tmp_path: Path,
    deployment: Deployment,
    scene: Scene,
    credentials: dict[str, str],
    watch: Watch,
    status: int,
    kind: str,
    reason: str,
) -> None:
    task_id = scene.created(scopes=[], payload={"status": status})
    with scriptworker(tmp_path / "w-1", deployment, credentials, scene):
        event = watch.until(kind, task_id=task_id)
    assert event.body["status"]["runs"][-1]["reasonResolved"] == reason


def test_an_intermittent_failure_is_retried(
    tmp_path: Path, deployment: Deployment, scene: Scene, credentials: dict[str, str], watch: Watch
) -> None:
    task_id = scene.created(scopes=[], payload={"status": 7}, retries=1)
    with scriptworker(tmp_path / "w-1", deployment, credentials, scene):
        event = watch.until("task-exception", task_id=task_id, run_id=1)
    runs = event.body["status"]["runs"]
    assert [run["reasonCreated"] for run in runs] == ["scheduled", "task-retry"]


def test_a_long_task_is_kept_by_reclaiming(
    tmp_path: Path, deployment: Deployment, scene: Scene, credentials: dict[str, str], watch: Watch
) -> None:
    task_id = scene.created(scopes=[], payload={"seconds": 4})
    with scriptworker(tmp_path / "w-1", deployment, credentials, scene, reclaim_interval=1):
        taken = watch.until("task-running", task_id=task_id).body["takenUntil"]
        ended = watch.until("task-completed", task_id=task_id)
    assert ended.body["status"]["runs"][0]["takenUntil"] > taken


def test_stopped_by_sigterm_it_gives_the_task_back(
    tmp_path: Path, deployment: Deployment, scene: Scene, credentials: dict[str, str], watch: Watch
) -> None:
    task_id = scene.created(scopes=[], payload={"seconds": 60})
    with scriptworker(tmp_path / "w-1", deployment, credentials, scene) as worker:
        watch.until("task-running", task_id=task_id)
        worker.terminate()
        event = watch.until("task-exception", task_id=task_id)
    assert event.body["status"]["runs"][0]["reasonResolved"] == "worker-shutdown"
    assert event.body["status"]["state"] == "pending"
