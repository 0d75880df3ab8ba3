"""Credentials of every kind, as the PyPI client makes and sends them."""

import urllib.request
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import taskcluster
from taskcluster.exceptions import TaskclusterAuthFailure, TaskclusterRestFailure

from tests.clients.deployment import Deployment
from tests.clients.scene import Scene

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


def queue(deployment: Deployment, **options: Any) -> Any:
    return taskcluster.Queue({"rootUrl": deployment.root_url, **options})


def temporary(
    deployment: Deployment, scopes: list[str], name: str = "", *, hours: float = 1, ago: float = 0
) -> Any:
    start = datetime.now(UTC) - timedelta(hours=ago)
    return taskcluster.createTemporaryCredentials(
        deployment.root["clientId"],
        deployment.root["accessToken"],
        start,
        start + timedelta(hours=hours),
        scopes,
        **({"name": name} if name else {}),
    )


def test_temporary_credentials_do_what_their_scopes_allow(deployment: Deployment, scene: Scene) -> None:
    credentials = temporary(deployment, ["queue:create-task:*", "queue:scheduler-id:*", "queue:route:*", "*"])
    status = queue(deployment, credentials=credentials).createTask(taskcluster.slugId(), scene.definition())
    assert status["status"]["state"] == "pending"


def test_temporary_credentials_do_nothing_more(deployment: Deployment, scene: Scene) -> None:
    client = queue(deployment, credentials=temporary(deployment, ["queue:get-task:*"]))
    with pytest.raises(TaskclusterRestFailure) as refused:
        client.cancelTask(scene.created())
    assert refused.value.status_code == 403
    assert "queue:cancel-task" in str(refused.value)


def test_named_temporary_credentials_act_under_their_name(deployment: Deployment, scene: Scene) -> None:
    client = queue(deployment, credentials=temporary(deployment, ["queue:status:*"], "ci/builder"))
    with pytest.raises(TaskclusterRestFailure, match="ci/builder"):
        client.cancelTask(scene.created())


def test_expired_temporary_credentials_are_refused(deployment: Deployment, scene: Scene) -> None:
    client = queue(deployment, credentials=temporary(deployment, ["*"], hours=1, ago=2))
    with pytest.raises(TaskclusterAuthFailure):
        client.status(scene.created())


def test_authorized_scopes_restrict_the_caller(deployment: Deployment, scene: Scene) -> None:
    client = queue(deployment, credentials=deployment.root, authorizedScopes=["queue:status:*"])
    task_id = scene.created()
    assert client.status(task_id)["status"]["state"] == "pending"
    with pytest.raises(TaskclusterRestFailure) as refused:
        client.cancelTask(task_id)
    assert refused.value.status_code == 403


def test_a_wrong_token_is_refused(deployment: Deployment, scene: Scene) -> None:
    client = queue(deployment, credentials={**deployment.root, "accessToken": taskcluster.slugId() * 2})
    with pytest.raises(TaskclusterAuthFailure):
        client.status(scene.created())


def test_the_anonymous_role_lets_status_be_read(deployment: Deployment, scene: Scene) -> None:
    assert queue(deployment).status(scene.created())["status"]["state"] == "pending"


def test_without_credentials_nothing_is_changed(deployment: Deployment, scene: Scene) -> None:
    task_id = scene.created()
    with pytest.raises(TaskclusterRestFailure) as refused:
        queue(deployment).cancelTask(task_id)
    assert refused.value.status_code == 403
    assert scene.caller.queue("status", task_id)["status"]["state"] == "pending"


def test_a_claim_is_reclaimed_and_resolved_with_its_own_credentials(
    deployment: Deployment, scene: Scene
) -> None:
    task_id = scene.created()
    (claim,) = scene.caller.queue("claimWork", scene.task_queue_id, scene.worker)["tasks"]
    renewed = queue(deployment, credentials=claim["credentials"]).reclaimTask(task_id, "0")
    ended = queue(deployment, credentials=renewed["credentials"]).reportCompleted(task_id, "0")
    assert ended["status"]["state"] == "completed"


def test_the_credentials_of_a_claim_are_worth_nothing_for_another_task(
    deployment: Deployment, scene: Scene
) -> None:
    scene.created(scopes=[])
    (claim,) = scene.caller.queue("claimWork", scene.task_queue_id, scene.worker)["tasks"]
    other = Scene(scene.caller).claimed()
    with pytest.raises(TaskclusterRestFailure) as refused:
        queue(deployment, credentials=claim["credentials"]).reportCompleted(other, "0")
    assert refused.value.status_code == 403


def test_a_worker_client_made_by_the_root_client_claims_from_its_queue_only(
    deployment: Deployment, scene: Scene
) -> None:
    client_id = f"worker/{scene.worker_type}"
    made = scene.caller.call(
        "Auth",
        "createClient",
        client_id,
        {
            "expires": taskcluster.stringDate(datetime.now(UTC) + timedelta(days=1)),
            "description": "a worker",
            "scopes": [f"queue:claim-work:{scene.task_queue_id}", "queue:worker-id:here/*"],
        },
    )
    worker = queue(deployment, credentials={"clientId": client_id, "accessToken": made["accessToken"]})
    task_id = scene.created()
    (claim,) = worker.claimWork(scene.task_queue_id, scene.worker)["tasks"]
    assert claim["status"]["taskId"] == task_id
    with pytest.raises(TaskclusterRestFailure) as refused:
        worker.claimWork("another/queue", scene.worker)
    assert refused.value.status_code == 403


def test_a_disabled_client_is_out_at_once(deployment: Deployment, scene: Scene) -> None:
    client_id = f"fleeting/{scene.worker_type}"
    expires = taskcluster.stringDate(datetime.now(UTC) + timedelta(days=1))
    made = scene.caller.call(
        "Auth", "createClient", client_id, {"expires": expires, "description": "", "scopes": ["queue:*"]}
    )
    client = queue(deployment, credentials={"clientId": client_id, "accessToken": made["accessToken"]})
    client.listTaskQueues()
    scene.caller.call("Auth", "disableClient", client_id)
    with pytest.raises(TaskclusterAuthFailure):
        client.listTaskQueues()


def test_a_signed_url_downloads_a_private_artifact(deployment: Deployment, scene: Scene) -> None:
    task_id = scene.with_artifact("private/notes.txt")
    url = queue(deployment, credentials=deployment.root).buildSignedUrl(
        "getLatestArtifact", task_id, "private/notes.txt"
    )
    request = urllib.request.Request(url, method="GET")
    with pytest.raises(urllib.request.HTTPError) as redirected:
        urllib.request.build_opener(_Unredirected).open(request, timeout=30)
    assert redirected.value.code == 303
    assert redirected.value.headers["location"] == "https://example.com/notes.txt"


def test_an_unsigned_url_does_not(deployment: Deployment, scene: Scene) -> None:
    task_id = scene.with_artifact("private/notes.txt")
    url = queue(deployment).buildUrl("getLatestArtifact", task_id, "private/notes.txt")
    with pytest.raises(urllib.request.HTTPError) as refused:
        urllib.request.urlopen(url, timeout=30)
    assert refused.value.code == 403


class _Unredirected(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *arguments: Any) -> None:
        return None
