"""Uploads to the object service: begun and finished in a transaction each; the bytes travel between them."""

from collections.abc import Callable
from datetime import timedelta

from queue_service.core import objects as rules
from queue_service.core.objects import Object
from queue_service.store import objects
from queue_service.store.database import Tx


async def begin(tx: Tx, wanted: Object, *, drift: timedelta) -> Object:
    """The object to upload to: the wanted one, or the one that is being uploaded already."""
    stored = await objects.lock(tx, [wanted.name])
    after = rules.begin(wanted, stored.get(wanted.name), tx.now, drift=drift)
    await objects.save(tx, [after])
    return after


async def finish(tx: Tx, name: str, rule: Callable[[Object | None], Object]) -> Object:
    """Apply ``rule``, which tells whether the upload is complete. From then on the object does not change."""
    stored = (await objects.lock(tx, [name])).get(name)
    after = rule(stored)
    if after is not stored:
        await objects.save(tx, [after])
    return after
