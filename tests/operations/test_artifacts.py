"""Artifacts in lists: each item has its own outcome, and what is told commits with what is stored."""

from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from queue_service.core.artifacts import S3, Artifact, Content, ErrorReport, Link, ObjectUpload, Reference
from queue_service.core.errors import QueueError
from queue_service.core.objects import Object
from queue_service.operations import artifacts as operations
from queue_service.operations.artifacts import Created, Finish
from queue_service.store import artifacts, objects
from tests.core.samples import EXPIRES, NOW, new_ids, task
from tests.operations.queue import LIMITS, Queue, report
from tests.store.given import read

A, B, C = new_ids(3)
UPLOAD_ID: Final = "dSlITZ4yQgmvxxAi4A8fHQ"


def wanted(task_id: str, name: str, content: Content, **facts: Any) -> Artifact:
    made = Artifact(task_id, 0, name, content, "text/plain", EXPIRES)
    return replace(made, **facts)


async def create(queue: Queue, *given: Artifact) -> list[Created | QueueError]:
    return await queue.database.write(lambda tx: operations.create(tx, given, drift=LIMITS.drift))


async def finish(queue: Queue, *calls: Finish) -> list[Artifact | QueueError]:
    return await queue.database.write(lambda tx: operations.finish(tx, calls))


async def names(queue: Queue, task_id: str) -> list[str]:
    return [found.name for found in await read(queue.database, artifacts.page, task_id, 0, "", 100)]


def codes(outcomes: list[Any]) -> list[str | None]:
    return [outcome.code if isinstance(outcome, QueueError) else None for outcome in outcomes]


async def test_one_bad_artifact_never_fails_its_neighbours(queue: Queue) -> None:
    await queue.given(task("scheduled running", task_id=A), task("scheduled completed", task_id=B))
    outcomes = await create(
        queue,
        wanted(A, "b", Reference("https://a")),
        wanted(B, "b", Reference("https://a")),
        wanted(C, "b", Reference("https://a")),
        wanted(A, "a", S3("private/1", NOW)),
        wanted(A, "c", ErrorReport("file-missing-on-worker", "m"), expires=NOW - timedelta(days=1)),
    )
    assert codes(outcomes) == [None, "RequestConflict", "InputError", None, "InputError"]
    assert (await names(queue, A), await names(queue, B)) == (["a", "b"], [])
    assert await queue.told() == [f"artifact-created {A} 0"]


async def test_the_same_artifact_twice_in_a_list_is_a_repeat(queue: Queue) -> None:
    await queue.given(task("scheduled running", task_id=A))
    outcomes = await create(
        queue,
        wanted(A, "a", Reference("https://a")),
        wanted(A, "a", Link("b")),
        wanted(A, "a", Reference("https://b")),
        wanted(A, "s", S3("private/1", NOW)),
        wanted(A, "s", S3("private/2", NOW)),
    )
    assert codes(outcomes) == [None, None, "RequestConflict", None, None]
    kept = [outcome.artifact.content for outcome in outcomes if isinstance(outcome, Created)]
    assert kept[-2:] == [S3("private/1", NOW)] * 2
    stored = await read(queue.database, artifacts.get, [(A, 0, "a"), (A, 0, "s")])
    assert [found.content for found in stored.values()] == [Link("b"), S3("private/1", NOW)]


async def test_artifacts_are_told_after_the_claim_and_before_the_end_of_their_run(queue: Queue) -> None:
    await queue.create(A)
    await queue.run(A)
    await create(queue, wanted(A, "a", Link("b")))
    await queue.change(A, report("failed"))
    messages = await queue.messages()
    assert [message.exchange for message in messages] == [
        "task-defined",
        "task-pending",
        "task-running",
        "artifact-created",
        "task-failed",
    ]
    assert all(A in message.order_keys for message in messages)


async def test_each_finished_object_has_its_own_outcome(queue: Queue) -> None:
    await queue.given(task("scheduled running", task_id=A))
    hidden = ObjectUpload(UPLOAD_ID)
    await create(queue, *(wanted(A, name, hidden, present=False) for name in ("a", "b", "c")))
    found = Object(
        f"t/{A}/0/a", "none", UPLOAD_ID, EXPIRES, "private/1", NOW, EXPIRES, hashes={}, finished=True
    )
    unfinished = replace(found, name=f"t/{A}/0/b", finished=False)
    another = replace(found, name=f"t/{A}/0/c", upload_id=B)
    await queue.database.write(lambda tx: objects.save(tx, [found, unfinished, another]))
    outcomes = await finish(
        queue, *(Finish(task_id, 0, name, UPLOAD_ID) for task_id in (A, B) for name in ("a", "a", "b", "c"))
    )
    assert codes(outcomes) == [None, None, "InputError", "InputError"] + ["ResourceNotFound"] * 4
    stored = await read(queue.database, artifacts.get, [(A, 0, name) for name in ("a", "b", "c")])
    assert [artifact.present for artifact in stored.values()] == [True, False, False]
    assert await queue.told() == [f"artifact-created {A} 0"] * 2
