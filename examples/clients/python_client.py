"""PyPI ``taskcluster``: create a task, do it as its worker, read an artifact.

Reads TASKCLUSTER_ROOT_URL and the credentials from the environment, as ``eval $(taskbus signin)`` sets them.
"""

import urllib.request
from datetime import UTC, datetime, timedelta

import requests
import taskcluster


def main() -> str:
    """What the artifact of the task says, once the task is completed."""
    queue = taskcluster.Queue(taskcluster.optionsFromEnvironment())
    root_url = queue.options["rootUrl"]
    now, task_id, task_queue_id = datetime.now(UTC), taskcluster.slugId(), "demo/python-client"
    expires = taskcluster.stringDate(now + timedelta(days=1))
    metadata = {
        "name": "hello",
        "description": "",
        "owner": "me@example.com",
        "source": "https://example.com",
    }
    times = {"created": taskcluster.stringDate(now), "deadline": expires, "expires": expires}
    task = {"taskQueueId": task_queue_id, **times, "payload": {}, "metadata": metadata}
    queue.createTask(task_id, task)

    worker = {"workerGroup": "examples", "workerId": "python-client"}
    (claim,) = queue.claimWork(task_queue_id, worker)["tasks"]
    own = taskcluster.Queue({"rootUrl": root_url, "credentials": claim["credentials"]})
    kind = {"storageType": "s3", "contentType": "text/plain", "expires": expires}
    upload = own.createArtifact(task_id, claim["runId"], "public/hello.txt", kind)
    requests.put(upload["putUrl"], b"hello", headers={"Content-Type": "text/plain"}).raise_for_status()
    own.reportCompleted(task_id, claim["runId"])

    with urllib.request.urlopen(queue.buildUrl("getLatestArtifact", task_id, "public/hello.txt")) as response:
        return str(response.read().decode())


if __name__ == "__main__":
    print(main())
