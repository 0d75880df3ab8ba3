"""Tasks in the state that a method needs, made by the client under test itself."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import taskcluster

from tests.clients.callers import Caller

Json = dict[str, Any]
DATA = Path(__file__).parent.parent / "data"


class Scene:
    """Makes tasks in a task queue and a group of this test's own."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.provisioner_id = "real-clients"
        self.worker_type = "w" + taskcluster.slugId().lower().replace("_", "x").rstrip("-") + "1"
        self.task_queue_id = f"{self.provisioner_id}/{self.worker_type}"
        self.group_id = taskcluster.slugId()
        self.worker = {"workerGroup": "here", "workerId": "worker-1"}

    def definition(self, **members: Any) -> Json:
        """A real build task, with times from now on."""
        definition: Json = json.loads((DATA / "build-task.json").read_text())
        for name in ("taskQueueId", "dependencies", "created", "deadline", "expires"):
            definition.pop(name, None)
        now = datetime.now(UTC)
        return {
            **definition,
            "provisionerId": self.provisioner_id,
            "workerType": self.worker_type,
            "taskGroupId": self.group_id,
            "schedulerId": "real-clients",
            "created": taskcluster.stringDate(now),
            "deadline": taskcluster.stringDate(now + timedelta(hours=1)),
            "expires": taskcluster.stringDate(now + timedelta(days=1)),
            **members,
        }

    def created(self, **members: Any) -> str:
        task_id: str = taskcluster.slugId()
        self.caller.queue("createTask", task_id, self.definition(**members))
        return task_id

    def unscheduled(self) -> str:
        """A task that waits for another one, which is never done."""
        return self.created(dependencies=[self.created()])

    def claimed(self) -> str:
        task_id = self.created()
        claim = self.caller.queue("claimWork", self.task_queue_id, self.worker)
        assert [item["status"]["taskId"] for item in claim["tasks"]] == [task_id]
        return task_id

    def completed(self) -> str:
        task_id = self.claimed()
        self.caller.queue("reportCompleted", task_id, "0")
        return task_id

    def with_artifact(self, name: str = "public/notes.txt") -> str:
        """A running task with a reference artifact."""
        task_id = self.claimed()
        self.caller.queue("createArtifact", task_id, "0", name, self.reference())
        return task_id

    def reference(self) -> Json:
        return {
            "storageType": "reference",
            "expires": taskcluster.stringDate(datetime.now(UTC) + timedelta(hours=2)),
            "contentType": "text/plain",
            "url": "https://example.com/notes.txt",
        }
