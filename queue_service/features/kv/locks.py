"""Named locks: a value that must not exist yet, ends by itself, and whose version fences (KV-11).

For features that hold a lock while they work; callers of the API do the same with puts and deletes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from queue_service.core.errors import QueueError
from queue_service.features.kv.operations import Written, write
from queue_service.features.kv.rules import Delete, Place, Put, json_text
from queue_service.store.database import Tx


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock that somebody holds. ``token`` is larger than that of all earlier holders."""

    place: Place
    owner: str
    token: int
    expires: datetime


async def acquire(tx: Tx, wanted: Sequence[tuple[Place, str]], *, ttl: timedelta) -> list[Lock | QueueError]:
    """A lock for each place and owner, or the RequestConflict that tells that another has it."""
    calls = [Put(place, json_text(owner, "owner"), "json", ttl, 0) for place, owner in wanted]
    return _locks(wanted, await write(tx, calls))


async def renew(tx: Tx, locks: Sequence[Lock], *, ttl: timedelta) -> list[Lock | QueueError]:
    """These locks with more time, or the RequestConflict that tells that one was lost."""
    calls = [Put(lock.place, json_text(lock.owner, "owner"), "json", ttl, lock.token) for lock in locks]
    return _locks([(lock.place, lock.owner) for lock in locks], await write(tx, calls))


async def release(tx: Tx, locks: Sequence[Lock]) -> None:
    """Let go of these locks; one that was lost stays with whom it went to."""
    await write(tx, [Delete(lock.place, lock.token) for lock in locks])


def _locks(
    wanted: Sequence[tuple[Place, str]], outcomes: Sequence[Written | QueueError]
) -> list[Lock | QueueError]:
    locks: list[Lock | QueueError] = []
    for (place, owner), outcome in zip(wanted, outcomes, strict=True):
        if isinstance(outcome, QueueError):
            locks.append(outcome)
        else:
            entry = outcome.after
            assert entry is not None
            assert entry.expires is not None
            locks.append(Lock(place, owner, entry.version, entry.expires))
    return locks
