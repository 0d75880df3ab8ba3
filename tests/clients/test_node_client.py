"""The npm client, unmodified: a whole life of a task, and credentials of every kind."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import taskcluster

from tests.clients.deployment import Deployment
from tests.conftest import REQUIRED

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

NODE: Final = Path(__file__).parent / "node"


def missing(reason: str) -> None:
    if REQUIRED and shutil.which("npm"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture
def seen(deployment: Deployment) -> dict[str, Any]:
    """What the program saw at each of its steps."""
    node = shutil.which("node")
    if node is None:
        missing("node is not installed: the npm client was not tried")
    if not (NODE / "node_modules" / "taskcluster-client").is_dir():
        missing("the npm client is not installed: run `npm install` in tests/clients/node")
    queue = f"real-clients/{'n' + taskcluster.slugId().lower().replace('_', 'x').replace('-', 'y')}"
    done = subprocess.run(
        [str(node), "program.cjs", queue],
        cwd=NODE,
        env=os.environ | deployment.environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_a_task_lives_from_its_creation_to_its_end(seen: dict[str, Any]) -> None:
    assert (seen["created"], seen["claimed"], seen["completed"]) == ("pending", True, "completed")
    assert seen["payload"] == {"text": "grüße"}
    assert seen["artifacts"] == ["private/about us.txt"]
    assert seen["restricted"] == {"statusCode": 403, "code": "InsufficientScopes"}
    assert "queue:status:*" in seen["scopes"]
    assert seen["unknown"] == {"statusCode": 401, "code": "AuthenticationFailed"}
    assert seen["signedUrl"] == {"status": 303, "location": "https://example.com/notes.txt"}
    assert seen["clients"] is True
