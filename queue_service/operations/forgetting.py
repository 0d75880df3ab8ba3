"""What expires beside tasks: artifacts and objects, and then the bytes of both (``queue-behaviour.md`` 11).

Record and bytes go in two steps. The transaction that deletes a record puts the key of its bytes on a list;
the bytes are deleted, and then the key. A crash between two steps repeats one. Keys are never used twice,
so that no late step meets bytes that are alive.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from queue_service import faults
from queue_service.blobs.store import BlobStore
from queue_service.core.artifacts import S3, Artifact, ObjectUpload, object_name
from queue_service.core.objects import Object
from queue_service.store import artifacts, blob_deletions, objects
from queue_service.store.artifacts import key_of
from queue_service.store.database import Database, Tx

SLOWEST_UPLOAD: Final = timedelta(hours=12)
"""How long after its URL has ended an upload that began in time may still be under way."""


async def delete_artifacts(tx: Tx, before: datetime, limit: int) -> int:
    """Delete artifacts that expired before this time, with their objects; how many there were."""
    found = await artifacts.expired(tx, before, limit)
    await artifacts.delete(tx, [key_of(artifact) for artifact in found])
    names = [object_name(artifact) for artifact in found if isinstance(artifact.content, ObjectUpload)]
    owned = await objects.lock(tx, names)
    await objects.delete(tx, list(owned))
    await blob_deletions.insert(tx, [*_uploaded(tx, found), *_stored(tx, owned.values())])
    return len(found)


async def delete_objects(tx: Tx, before: datetime, limit: int) -> int:
    """Delete objects that expired, or whose upload was given up, before this time; how many there were."""
    found = await objects.expired(tx, before, limit)
    await objects.delete(tx, [item.name for item in found])
    await blob_deletions.insert(tx, _stored(tx, found))
    return len(found)


async def delete_blobs(database: Database, blobs: BlobStore, limit: int) -> int:
    """Delete bytes whose record is gone; how many there were. Raises BlobsUnavailable."""
    async with database.read() as connection:
        keys = await blob_deletions.due(connection, database.clock.now(), limit)
    if keys:
        await blobs.delete(keys)
        faults.point("blobs.deleted")
        await database.write(lambda tx: blob_deletions.delete(tx, keys))
    return len(keys)


def _uploaded(tx: Tx, found: Sequence[Artifact]) -> Iterable[tuple[str, datetime]]:
    for artifact in found:
        if isinstance(artifact.content, S3):
            yield artifact.content.key, _over(tx, artifact.content.upload_until)


def _stored(tx: Tx, found: Iterable[Object]) -> Iterable[tuple[str, datetime]]:
    for item in found:
        yield item.key, _over(tx, item.upload_until)


def _over(tx: Tx, upload_until: datetime) -> datetime:
    """From when on nothing can be uploaded: at once, but for what lives shorter than its upload URL."""
    return tx.now if upload_until <= tx.now else upload_until + SLOWEST_UPLOAD
