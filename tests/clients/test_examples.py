"""The programs of ``examples/clients`` run as their first lines say."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import pytest

from tests.clients.deployment import Deployment
from tests.clients.scene import Scene
from tests.clients.watch import Watch

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

ROOT: Final = Path(__file__).parents[2]


@contextmanager
def example(name: str, deployment: Deployment) -> Iterator[subprocess.Popen[str]]:
    """``python -m examples.clients.<name>`` until the end of the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", f"examples.clients.{name}"],
        cwd=ROOT,
        env={**os.environ, **deployment.environment, "TASKBUS_AMQP_URL": deployment.amqp_url},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def heard(process: subprocess.Popen[str], text: str) -> str:
    """The next line with this text."""
    assert process.stdout is not None
    return next(line for line in process.stdout if text in line)


def test_the_python_client_reads_what_it_has_uploaded(deployment: Deployment) -> None:
    with example("python_client", deployment) as process:
        assert process.communicate(timeout=60)[0].strip() == "hello"
        assert process.returncode == 0


def test_the_pika_program_prints_a_task_that_ends(deployment: Deployment, scene: Scene) -> None:
    with example("pika_listener", deployment) as process:
        heard(process, "listening")
        task_id = scene.completed()
        assert heard(process, task_id).startswith("task-completed")


def test_the_kombu_program_prints_a_task_that_becomes_pending(deployment: Deployment, scene: Scene) -> None:
    with example("kombu_listener", deployment) as process:
        heard(process, "listening")
        task_id = scene.created()
        assert heard(process, task_id).startswith("pending")


def test_the_scriptworker_does_a_task(deployment: Deployment, scene: Scene) -> None:
    scene.provisioner_id, scene.worker_type, scene.task_queue_id = "demo", "script", "demo/script"
    with Watch(deployment.amqp_url) as watch, example("scriptworker_worker", deployment):
        task_id = scene.created(scopes=[])
        watch.until("task-completed", task_id=task_id)
    found = scene.caller.queue("listLatestArtifacts", task_id)["artifacts"]
    assert "public/date.txt" in {item["name"] for item in found}
