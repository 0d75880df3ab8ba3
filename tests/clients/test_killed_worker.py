"""scriptworker killed in the middle of a task: the claim expires and another one does it."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.clients.callers import SyncCaller
from tests.clients.deployment import deployed
from tests.clients.scene import Scene
from tests.clients.scriptworker_process import scriptworker
from tests.clients.watch import Watch

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


def test_the_task_of_a_killed_worker_is_done_by_another(tmp_path: Path) -> None:
    with deployed(tmp_path, claim_timeout="4") as deployment, Watch(deployment.amqp_url) as watch:
        options: dict[str, Any] = {"rootUrl": deployment.root_url, "credentials": deployment.root}
        with SyncCaller(options) as caller:
            scene = Scene(caller)
            task_id = scene.created(scopes=[], payload={"seconds": 2})
            with scriptworker(tmp_path / "w-1", deployment, deployment.root, scene) as worker:
                watch.until("task-running", task_id=task_id)
                os.killpg(worker.pid, signal.SIGKILL)
            with scriptworker(tmp_path / "w-2", deployment, deployment.root, scene, reclaim_interval=1):
                event = watch.until("task-completed", task_id=task_id)
    runs = event.body["status"]["runs"]
    assert [run["reasonResolved"] for run in runs] == ["claim-expired", "completed"]
    assert [run["workerId"] for run in runs] == ["w-1", "w-2"]
