"""scriptworker as its operators run it: a configuration file, a script for tasks, a process."""

import os
import signal
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import yaml

from tests.clients.deployment import Deployment
from tests.clients.scene import Scene

SCRIPT: Final = '''\
"""Does what a task's payload says: writes files for upload, says something, may wait, ends with a status."""

import json, os, pathlib, sys, time

work, artifacts = (pathlib.Path(path) for path in sys.argv[1:])
payload = json.loads((work / "task.json").read_text())["payload"]
print("task", os.environ["TASK_ID"], "at", os.environ["TASKCLUSTER_ROOT_URL"], flush=True)
for name, text in payload.get("files", {}).items():
    path = artifacts / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
time.sleep(payload.get("seconds", 0))
sys.exit(payload.get("status", 0))
'''
STOP_SECONDS: Final = 30.0


@contextmanager
def scriptworker(
    directory: Path, deployment: Deployment, credentials: Mapping[str, str], scene: Scene, **config: Any
) -> Iterator[subprocess.Popen[bytes]]:
    """The worker ``directory.name`` at the scene's task queue; killed at the end if it still runs."""
    directory.mkdir()
    script, key = directory / "script.py", directory / "key"
    script.write_text(SCRIPT)
    key.write_bytes(b64encode(os.urandom(32)))
    work, artifacts = directory / "work", directory / "artifacts"
    (directory / "scriptworker.yaml").write_text(
        yaml.safe_dump(
            {
                "taskcluster_root_url": deployment.root_url,
                "provisioner_id": scene.provisioner_id,
                "worker_type": scene.worker_type,
                "worker_group": "script",
                "worker_id": directory.name,
                "credentials": dict(credentials),
                "work_dir": str(work),
                "artifact_dir": str(artifacts),
                "log_dir": str(directory / "log"),
                "task_log_dir": str(artifacts / "public" / "logs"),
                "ed25519_private_key_path": str(key),
                "task_script": [sys.executable, str(script), str(work), str(artifacts)],
                "poll_interval": 1,
                "verify_chain_of_trust": False,
                **config,
            }
        )
    )
    with (directory / "output").open("w") as output:
        process = subprocess.Popen(
            [Path(sys.executable).parent / "scriptworker", directory / "scriptworker.yaml"],
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(STOP_SECONDS)
