"""taskgraph from PyPI: a decision task generates a graph, submits it, and scriptworker does it."""

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
import taskcluster
import yaml

from tests.clients.deployment import Deployment
from tests.clients.scene import Scene
from tests.clients.scriptworker_process import scriptworker
from tests.clients.watch import Watch

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

PROJECT: Final = Path(__file__).parents[2] / "examples" / "clients" / "taskgraph_project"
WORKER: Final = {"workerGroup": "decisions", "workerId": "decision-1"}


@pytest.fixture
def project(tmp_path: Path, scene: Scene) -> Path:
    """The sample project in a repository of its own; its worker type is this test's."""
    path = tmp_path / "project"
    shutil.copytree(PROJECT, path)
    config = yaml.safe_load((path / "taskcluster" / "config.yml").read_text())
    config["workers"]["aliases"]["script"] |= {
        "provisioner": scene.provisioner_id,
        "worker-type": scene.worker_type,
    }
    (path / "taskcluster" / "config.yml").write_text(yaml.safe_dump(config))
    git = ["git", "-c", "user.name=dev", "-c", "user.email=dev@example.com"]
    for command in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "All of it"]):
        subprocess.run([*git, *command], cwd=path, check=True)
    return path


def decision_task(project: Path, scene: Scene, task_id: str) -> dict[str, Any]:
    (template,) = yaml.safe_load((project / ".taskcluster.yml").read_text())["tasks"]
    now = datetime.now(UTC)
    ends = {"created": timedelta(), "deadline": timedelta(days=1), "expires": timedelta(days=365)}
    times = {name: taskcluster.stringDate(now + after) for name, after in ends.items()}
    scopes = [*template["scopes"], f"queue:create-task:lowest:{scene.task_queue_id}"]
    return {**template, **times, "scopes": scopes, "taskGroupId": task_id}


def decide(project: Path, deployment: Deployment, claim: dict[str, Any]) -> None:
    """Run ``taskgraph decision`` as a worker would run the decision task."""
    revision = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=project, check=True, capture_output=True, text=True
    ).stdout.strip()
    repository = "https://github.com/example/sample"
    options = {
        "tasks-for": "github-push", "head-rev": revision, "head-ref": "main", "head-repository": repository,
        "base-repository": repository, "repository-type": "git", "level": "1", "project": "sample",
        "owner": "developer@example.com", "pushdate": "1700000000", "pushlog-id": "0",
    }  # fmt: skip
    done = subprocess.run(
        [Path(sys.executable).parent / "taskgraph", "decision"]
        + [f"--{name}={value}" for name, value in options.items()],
        cwd=project,
        env={
            **os.environ,
            "TASK_ID": claim["status"]["taskId"],
            "TASKCLUSTER_ROOT_URL": deployment.root_url,
            "TASKCLUSTER_CLIENT_ID": claim["credentials"]["clientId"],
            "TASKCLUSTER_ACCESS_TOKEN": claim["credentials"]["accessToken"],
            "TASKCLUSTER_CERTIFICATE": claim["credentials"]["certificate"],
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_graph_is_generated_submitted_and_done_to_the_last_task(
    tmp_path: Path, project: Path, deployment: Deployment, scene: Scene, watch: Watch
) -> None:
    decision_id = taskcluster.slugId()
    scene.caller.queue("createTask", decision_id, decision_task(project, scene, decision_id))
    (claim,) = scene.caller.queue("claimWork", "sample/decision", WORKER)["tasks"]
    decide(project, deployment, claim)
    submitted = scene.caller.queue("listTaskGroup", decision_id)["tasks"]
    assert {item["task"]["metadata"]["name"]: item["status"]["state"] for item in submitted} == {
        "Decision Task": "running",
        "build-first": "unscheduled",
        "build-second": "unscheduled",
        "test-both": "unscheduled",
    }
    own = taskcluster.Queue({"rootUrl": deployment.root_url, "credentials": claim["credentials"]})
    own.reportCompleted(decision_id, "0")
    with scriptworker(tmp_path / "w-1", deployment, deployment.root, scene):
        resolved = watch.until("task-group-resolved")
    assert resolved.body["taskGroupId"] == decision_id
    ended = scene.caller.queue("listTaskGroup", decision_id)["tasks"]
    assert {item["status"]["state"] for item in ended} == {"completed"}
    (test,) = [item["status"] for item in ended if item["task"]["metadata"]["name"] == "test-both"]
    for item in submitted:
        if item["task"]["metadata"]["name"].startswith("build-"):
            assert _ended(watch, item["status"]["taskId"]) < _started(watch, test["taskId"])


def _ended(watch: Watch, task_id: str) -> int:
    return [(event.kind, event.task_id) for event in watch.heard].index(("task-completed", task_id))


def _started(watch: Watch, task_id: str) -> int:
    return [(event.kind, event.task_id) for event in watch.heard].index(("task-pending", task_id))
