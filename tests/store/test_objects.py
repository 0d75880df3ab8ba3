"""Rows of the object service, and the list of bytes to delete."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Final

import pytest

from queue_service.core.objects import Object
from queue_service.store import blob_deletions, objects
from queue_service.store.database import Concurrent, Database, Tx
from tests.core.samples import EXPIRES, NOW
from tests.store.given import read

MILLISECOND: Final = timedelta(milliseconds=1)
OBJECT: Final = Object(
    name="t/fN1SbArXTPSVFNUvaOlinQ/0/public/'a'",
    project_id="none",
    upload_id="dSlITZ4yQgmvxxAi4A8fHQ",
    expires=EXPIRES,
    key="private/ab/cd",
    upload_until=NOW,
    kept_until=NOW + timedelta(days=1),
    hashes={"sha256": "ab"},
)


async def save(database: Database, *given: Object) -> None:
    await database.write(lambda tx: objects.save(tx, given))


async def stored(database: Database) -> Object | None:
    return (await read(database, objects.get, [OBJECT.name])).get(OBJECT.name)


async def test_an_object_comes_back_as_it_was_saved(database: Database) -> None:
    assert await stored(database) is None
    await save(database, OBJECT)
    assert await stored(database) == OBJECT
    finished = replace(OBJECT, finished=True, kept_until=EXPIRES, hashes={"sha512": "cd"})
    await save(database, finished)
    assert await stored(database) == finished


@pytest.mark.parametrize(
    "change", [{"finished": True}, {"key": "private/other"}], ids=["finished", "begun by another"]
)
async def test_nobody_writes_over_an_object_that_another_finished_or_began(
    database: Database, change: dict[str, object]
) -> None:
    await save(database, replace(OBJECT, **change))  # type: ignore[arg-type]

    async def script(tx: Tx) -> None:
        with pytest.raises(Concurrent):
            await objects.save(tx, [OBJECT])

    await database.write(script)


async def test_of_two_that_begin_at_once_one_waits_and_loses(database: Database) -> None:
    async def begin(key: str) -> bool:
        async def script(tx: Tx) -> bool:
            if await objects.lock(tx, [OBJECT.name]):
                return False
            await objects.save(tx, [replace(OBJECT, key=key)])
            return True

        return await database.write(script)

    assert sorted(await asyncio.gather(begin("private/1"), begin("private/2"))) == [False, True]


async def test_objects_are_found_when_nobody_keeps_them_any_more(database: Database) -> None:
    given = [replace(OBJECT, name=str(number), kept_until=NOW + number * MILLISECOND) for number in range(3)]
    await save(database, *given)
    assert await database.write(lambda tx: objects.expired(tx, NOW + 2 * MILLISECOND, 10)) == given[:2]
    assert await database.write(lambda tx: objects.expired(tx, NOW + 2 * MILLISECOND, 1)) == given[:1]
    await database.write(lambda tx: objects.delete(tx, ["0", "1"]))
    assert list(await read(database, objects.get, ["0", "1", "2"])) == ["2"]


async def test_keys_of_bytes_stay_on_the_list_until_they_are_taken_off(database: Database) -> None:
    assert await read(database, blob_deletions.next_due) is None
    keys = [("private/b", NOW + MILLISECOND), ("private/a", NOW), ("private/c", NOW + 2 * MILLISECOND)]
    await database.write(lambda tx: blob_deletions.insert(tx, keys))
    await database.write(lambda tx: blob_deletions.insert(tx, keys[:1]))
    assert await read(database, blob_deletions.next_due) == NOW
    late = NOW + MILLISECOND
    assert await read(database, blob_deletions.due, late, 10) == ["private/a", "private/b"]
    assert await read(database, blob_deletions.due, late, 1) == ["private/a"]
    await database.write(lambda tx: blob_deletions.delete(tx, ["private/a", "private/unknown"]))
    assert await read(database, blob_deletions.due, late, 10) == ["private/b"]
