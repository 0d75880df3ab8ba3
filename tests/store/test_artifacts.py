"""Artifact rows: what is written comes back, and each statement touches only what it means."""

from dataclasses import replace
from datetime import timedelta
from typing import Final

import pytest

from queue_service.core.artifacts import S3, Artifact, Content, ErrorReport, Link, ObjectUpload, Reference
from queue_service.store import artifacts, expiry
from queue_service.store.artifacts import key_of
from queue_service.store.database import Concurrent, Database
from tests.core.samples import EXPIRES, NOW, new_ids, task
from tests.store.given import read, store

MILLISECOND: Final = timedelta(milliseconds=1)
A, B = new_ids(2)
UPLOAD_ID: Final = "dSlITZ4yQgmvxxAi4A8fHQ"
CONTENTS: Final[tuple[Content, ...]] = (
    S3("private/ab/cd", NOW),
    ObjectUpload(UPLOAD_ID),
    Reference("https://example.com/?a='b'&c=%22#d"),
    Link("a\"b'c\\d {}"),
    ErrorReport("file-missing-on-worker", "ünï \x00 😀\n\"'"),
)
NAMES: Final = (" ", "!", "../../x", "A", "a", "a/", "a//b", "public/'quoted'\\\"", "~" * 1024)
"""In the order of their bytes."""


def artifact(name: str = "public/log", content: Content = CONTENTS[0], **facts: object) -> Artifact:
    made = Artifact(A, 0, name, content, "text/plain", EXPIRES)
    return replace(made, **facts)  # type: ignore[arg-type]


async def save(database: Database, *given: Artifact) -> None:
    await database.write(lambda tx: artifacts.save(tx, given))


async def get(database: Database, *wanted: Artifact) -> list[Artifact]:
    found = await read(database, artifacts.get, [key_of(item) for item in wanted])
    return list(found.values())


@pytest.mark.parametrize("content", CONTENTS, ids=lambda content: content.storage_type)
async def test_an_artifact_comes_back_as_it_was_saved(database: Database, content: Content) -> None:
    given = artifact(content=content, content_length=2**53, present=False)
    await save(database, given)
    assert await get(database, given) == [given]


async def test_artifacts_of_a_run_are_paged_in_the_order_of_their_names(database: Database) -> None:
    given = [artifact(name) for name in NAMES]
    await save(database, *reversed(given), artifact(run_id=1), artifact(task_id=B))
    assert await read(database, artifacts.page, A, 0, "", 100) == given
    assert await read(database, artifacts.page, A, 0, NAMES[2], 3) == given[3:6]
    assert await read(database, artifacts.page, A, 7, "", 100) == []


async def test_a_repeat_changes_content_and_expiry_and_nothing_else(database: Database) -> None:
    await save(database, artifact(content=Reference("https://a"), content_length=5))
    later = EXPIRES + MILLISECOND
    again = artifact(content=Link("b"), content_type="x", expires=later, content_length=6, present=False)
    await save(database, again)
    kept = artifact(content=Link("b"), expires=later, content_length=5)
    assert await get(database, again) == [kept]


async def test_an_artifact_is_marked_present_once(database: Database) -> None:
    hidden, other = artifact(content=ObjectUpload(UPLOAD_ID), present=False), artifact("other", present=False)
    await save(database, hidden, other)
    await database.write(lambda tx: artifacts.mark_present(tx, [key_of(hidden)]))
    assert await get(database, hidden, other) == [other, replace(hidden, present=True)]

    async def again(tx: object) -> None:
        with pytest.raises(Concurrent):
            await artifacts.mark_present(tx, [key_of(hidden)])  # type: ignore[arg-type]

    await database.write(again)


async def test_expired_artifacts_are_found_and_deleted_the_oldest_first(database: Database) -> None:
    given = [artifact(str(number), expires=EXPIRES + number * MILLISECOND) for number in range(4)]
    await save(database, *given)
    before = EXPIRES + 3 * MILLISECOND
    assert await database.write(lambda tx: artifacts.expired(tx, EXPIRES, 10)) == []
    found = await database.write(lambda tx: artifacts.expired(tx, before, 2))
    assert found == given[:2]
    await database.write(lambda tx: artifacts.delete(tx, [key_of(item) for item in found]))
    assert await get(database, *given) == given[2:]


async def test_a_task_stays_until_its_artifacts_are_gone(database: Database) -> None:
    await store(database, *(task("scheduled completed", task_id=task_id) for task_id in (A, B)))
    await save(database, artifact())
    late = EXPIRES + MILLISECOND
    assert await database.write(lambda tx: expiry.delete_tasks(tx, late, 10)) == 1
    await database.write(lambda tx: artifacts.delete(tx, [key_of(artifact())]))
    assert await database.write(lambda tx: expiry.delete_tasks(tx, late, 10)) == 1
