"""PyPI ``scriptworker`` as a worker of the task queue demo/script; each task runs a shell command.

Reads TASKCLUSTER_ROOT_URL and the credentials from the environment, as ``eval $(taskbus signin)`` sets them.
Create work for it: ``taskbus task create --queue demo/script -- true``.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

SCRIPT = "echo $TASK_ID says hello; mkdir -p {artifacts}/public; date > {artifacts}/public/date.txt"


def main() -> int:
    """Run until stopped; the exit status of scriptworker."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        artifacts, key, configuration = home / "artifacts", home / "key", home / "scriptworker.yaml"
        key.write_text("")
        queue = {"provisioner_id": "demo", "worker_type": "script"}
        worker = {"worker_group": "examples", "worker_id": "scriptworker-1", "poll_interval": 1}
        places = {"work_dir": home / "work", "artifact_dir": artifacts, "log_dir": home / "log"}
        places |= {"task_log_dir": artifacts / "public" / "logs", "ed25519_private_key_path": key}
        chain = {"sign_chain_of_trust": False, "verify_chain_of_trust": False}
        names = {"clientId": "CLIENT_ID", "accessToken": "ACCESS_TOKEN", "certificate": "CERTIFICATE"}
        found = {name: os.environ.get(f"TASKCLUSTER_{suffix}") for name, suffix in names.items()}
        credentials = {name: value for name, value in found.items() if value}
        task = {"task_script": ["sh", "-c", SCRIPT.format(artifacts=artifacts)], "credentials": credentials}
        rest = {"taskcluster_root_url": os.environ["TASKCLUSTER_ROOT_URL"], **chain, **task}
        where = {name: str(path) for name, path in places.items()}
        configuration.write_text(yaml.safe_dump(queue | worker | where | rest))
        return subprocess.call([Path(sys.executable).parent / "scriptworker", configuration])


if __name__ == "__main__":
    sys.exit(main())
