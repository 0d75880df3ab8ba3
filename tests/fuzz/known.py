"""What exists in the service under test, so that requests reach handlers and not only refusals.

Values are kept by the names that the API gives them; replies teach further ones.
"""

import json
import random
import re
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import quote

from queue_service.api.examples import REQUESTS
from queue_service.catalogue import APIS
from schemas.ids import slugid
from schemas.times import format_time
from tests.fuzz.caller import Caller, Request

Json = dict[str, Any]

KEPT: Final = 24
"""Values that are remembered of each name."""
EXAMPLES_ARE_OF: Final = datetime(2024, 5, 1, 12, tzinfo=UTC)
"""When the examples of the documentation happen."""
QUEUE: Final = "proj-taskbus/b-linux"
TASK_QUEUE: Final = {"provisionerId": "proj-taskbus", "workerType": "b-linux", "taskQueueId": QUEUE}
WORKER: Final = {"workerGroup": "eu-central-1", "workerId": "i-0f3a2b1c4d5e6f708"}
INDEXED: Final = {"indexPath": "taskbus.v2.main.latest.wheel", "namespace": "taskbus.v2.main.latest.wheel"}
ARTIFACTS: Final = {
    "public/notes.txt": "link",
    "public/bytes.bin": "s3",
    "public/object.bin": "object",
    "public/elsewhere.txt": "reference",
    "public/missing.txt": "error",
}
"""Names and storage types of the artifacts of a task."""

_ALIASES: Final = {"workerPoolId": "taskQueueId", "indexPath": "namespace", "taskGroupId": "taskId"}
_NAMES: Final = {
    name for api in APIS for endpoint in api.endpoints for name in (*endpoint.args, *endpoint.query)
} | {"uploadId"}
_TIME: Final = re.compile(r"202[45]-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_BLOB: Final = re.compile(r"https?://[^/]+(/blobs/.*)")
_FIXED: Final = {
    "runId": ["0", "1"],
    "limit": ["1", "2", "1000"],
    "quarantined": ["true", "false"],
    "prefix": ["project/", ""],
    "since": ["2024-01-01T00:00:00.000Z"],
    "name": list(ARTIFACTS),
    "namespace": ["taskbus.v2.main.latest.wheel", "taskbus.v2", "taskbus"],
    "roleId": ["project:taskbus:ci", "anonymous", "project:*"],
    "clientId": ["project/taskbus/ci", "project/taskbus/other"],
    "taskQueueId": [QUEUE, "proj-taskbus/b-win"],
    "tenant": ["acme"],
    "kvNamespace": ["deployments", "crawl/eu"],
    "key": ["my-deployment", "a/b"],
    "set": ["urls", "urls.dead"],
}


class Known:
    """Names and the last values seen of each."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._began = datetime.now(UTC)
        self._values: dict[str, deque[str]] = {name: deque(maxlen=KEPT) for name in _NAMES}
        self._together: deque[dict[str, str]] = deque(maxlen=2 * KEPT)
        self.blobs: deque[str] = deque(maxlen=KEPT)
        """Paths and queries of signed URLs of bytes."""
        of_features = {schema: examples for api in APIS for schema, examples in api.examples.items()}
        self._bodies = {
            schema: list(examples.values()) for schema, examples in {**REQUESTS, **of_features}.items()
        }

    def value(self, name: str) -> str | None:
        """One of the values of this name; None when there is none yet."""
        name = _ALIASES.get(name, name)
        values = [*_FIXED.get(name, ()), *self._values.get(name, ())]
        return self._random.choice(values) if values else None

    def together(self, names: Iterable[str]) -> dict[str, str]:
        """Values, among them those of all these names, that belong to one thing; none when none is known."""
        fitting = [values for values in self._together if values.keys() >= set(names)]
        return self._random.choice(fitting) if fitting else {}

    def body(self, schema: str) -> Any:
        """An example of a body, as of now, and partly about things that exist."""
        examples = self._bodies.get(schema)
        return self._present(self._random.choice(examples)) if examples else {}

    def learn(self, value: Any) -> None:
        """Remember the names and addresses in a reply."""
        for name, found in _members(value):
            if name in self._values and found not in self._values[name]:
                self._values[_ALIASES.get(name, name)].append(found)
            elif blob := _BLOB.fullmatch(found):
                self.blobs.append(blob[1])

    def copy(self, other: "Known") -> None:
        """Know what somebody else has found out."""
        for name, values in other._values.items():
            self._values[name].extend(values)
        self._together.extend(other._together)

    def furnish(self, caller: Caller) -> None:
        """Make tasks in every state, with artifacts, objects, and an entry of the index."""
        self._furnish_objects(caller)
        self._free_the_queue(caller)
        tasks = [slugid() for _ in range(5)]
        for task_id in tasks:
            body = self._task(dependencies=[], taskGroupId=tasks[0])
            self.learn(caller.call("PUT", f"/api/queue/v1/task/{task_id}", body))
        waiting = slugid()
        body = self._task(dependencies=tasks[:1], taskGroupId=tasks[0])
        self.learn(caller.call("PUT", f"/api/queue/v1/task/{waiting}", body))
        for task_id, end in zip(tasks, ("completed", "failed", "exception", "", None), strict=True):
            if end is None:
                continue
            run = f"/api/queue/v1/task/{task_id}/runs/0"
            caller.call("POST", f"{run}/claim", WORKER)
            self._together.append({"taskId": task_id, "runId": "0", **WORKER, **TASK_QUEUE})
            for name, kind in ARTIFACTS.items():
                made = caller.call("POST", f"{run}/artifacts/{name}", self._artifact(kind))
                self.learn(made)
                thing = {"taskId": task_id, "runId": "0", "name": name, **INDEXED}
                self._together.append(thing | ({"uploadId": made["uploadId"]} if "uploadId" in made else {}))
            if end:
                reason = {"reason": "intermittent-task"} if end == "exception" else None
                caller.call("POST", f"{run}/{end}", reason)
        self._furnish_index(caller, tasks[0])

    def _free_the_queue(self, caller: Caller) -> None:
        """Take back what hostile calls may have done; of what nobody knows yet it is refused."""
        caller.send(Request("POST", "/api/queue/v1/task-queues/*/resume"))
        caller.send(Request("DELETE", f"/api/queue/v1/task-queues/{quote(QUEUE, safe='')}/limits"))
        of_queue = "/api/queue/v1/provisioners/{provisionerId}/worker-types/{workerType}".format(**TASK_QUEUE)
        lifted = json.dumps({"quarantineUntil": format_time(EXAMPLES_ARE_OF)}).encode()
        kind = (("Content-Type", "application/json"),)
        caller.send(
            Request("PUT", f"{of_queue}/workers/{WORKER['workerGroup']}/{WORKER['workerId']}", lifted, kind)
        )

    def _furnish_objects(self, caller: Caller) -> None:
        """One whose upload is finished and one whose is not."""
        data = {"dataInline": {"contentType": "text/plain", "objectData": "aGVsbG8="}}
        for finished in (True, False):
            name, upload = f"objects/{slugid()}", {"projectId": "taskbus", "uploadId": slugid()}
            body = {**upload, "expires": self._soon(), "proposedUploadMethods": data}
            caller.call("PUT", f"/api/object/v1/upload/{quote(name, safe='')}", body)
            if finished:
                caller.call("POST", f"/api/object/v1/finish-upload/{quote(name, safe='')}", upload)
            self._together.append({"name": name, "uploadId": upload["uploadId"]})

    def _furnish_index(self, caller: Caller, task_id: str) -> None:
        entry = {"taskId": task_id, "rank": int(time.time()), "data": {}, "expires": self._soon()}
        caller.call("PUT", f"/api/index/v1/task/{INDEXED['namespace']}", entry)

    def _soon(self) -> str:
        return format_time(self._began + timedelta(days=1))

    def _task(self, **members: Any) -> Json:
        example: Json = self._present(REQUESTS["create-task-request"]["a build of a graph"], known=0)
        return example | members

    def _artifact(self, kind: str) -> Json:
        typed = {"contentType": "text/plain"}
        members = {
            "link": typed | {"artifact": "public/bytes.bin"},
            "error": {"reason": "file-missing-on-worker", "message": "no file"},
            "reference": typed | {"url": "https://example.com/notes.txt"},
        }
        return {"storageType": kind, "expires": self._soon(), **members.get(kind, typed)}

    def _present(self, value: Any, known: float = 0.5) -> Any:
        """The example with its times moved to now, and known values for some of its own."""
        if isinstance(value, Mapping):
            return {name: self._member(name, member, known) for name, member in value.items()}
        if isinstance(value, list):
            return [self._present(item, known) for item in value]
        if isinstance(value, str) and _TIME.fullmatch(value):
            return format_time(self._began + (datetime.fromisoformat(value) - EXAMPLES_ARE_OF))
        return value

    def _member(self, name: str, value: Any, known: float) -> Any:
        if name == "created":
            return format_time(datetime.now(UTC))
        name = {"dependencies": "taskId", "taskIds": "taskId", "indexes": "namespace"}.get(name, name)
        if self._random.random() < known and name in self._values:
            if isinstance(value, str):
                return self.value(name) or value
            if isinstance(value, list):
                return [self.value(name) or item for item in value]
        return self._present(value, known)


def _members(value: Any) -> Iterator[tuple[str, str]]:
    """Every member that is text, at any depth."""
    if isinstance(value, Mapping):
        for name, member in value.items():
            if isinstance(member, str):
                yield name, member
            else:
                yield from _members(member)
    elif isinstance(value, list):
        for item in value[:KEPT]:
            yield from _members(item)
