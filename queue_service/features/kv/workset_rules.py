"""Rules of worksets: who may say what about a lease, and where its members go (``seed-systems.md`` D.4)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal

from queue_service.core.errors import InputError, LeaseExpired, RequestConflict
from schemas.worksets import AckMode

DEAD: Final = ".dead"
MAX_PAYLOAD: Final = 64 * 1024
"""Bytes of a payload."""

Outcome = Literal["acked", "nacked"]


@dataclass(frozen=True, slots=True)
class SetKey:
    """A set in a namespace, which is written ``tenant:namespace``."""

    namespace: str
    name: str

    @property
    def dead(self) -> "SetKey":
        """Where the members of this set go that were delivered too often."""
        return SetKey(self.namespace, self.name + DEAD)


@dataclass(frozen=True, slots=True)
class Lease:
    """A batch of members that a consumer holds until ``expires``; ``remaining`` of them are not settled."""

    lease_id: str
    set: SetKey
    ack_mode: AckMode
    consumer: str | None
    expires: datetime
    remaining: int
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """A member that a lease has. ``again`` is what was added meanwhile, as JSON."""

    member_id: str
    deliveries: int
    doomed: bool
    again: str | None


@dataclass(frozen=True, slots=True)
class Ack:
    """These members are done; all of the lease when none is named."""

    ids: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class Nack:
    """These members go back; all of the lease when none is named."""

    ids: Sequence[str] | None = None
    delay: timedelta = timedelta(0)
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Extend:
    """The lease ends that much after now."""

    ttl: timedelta


LeaseVerb = Ack | Nack | Extend


@dataclass(frozen=True, slots=True)
class Step:
    """What a call did: the lease after it, and what became of its members."""

    lease: Lease
    removed: tuple[Held, ...] = ()
    """Gone; what was added meanwhile takes their place."""
    returned: tuple[Held, ...] = ()
    died: tuple[Held, ...] = ()
    extended: bool = False


def settle(lease: Lease, held: Mapping[str, Held], verb: LeaseVerb, now: datetime) -> Step:
    """Apply a call to a lease that has these members, all or nothing of it.

    Raises LeaseExpired for a dead lease, and RequestConflict for a call that its mode or its end forbids
    (WK-4 to WK-8).
    """
    if lease.ack_mode == "ack-batch" and not isinstance(verb, Extend) and verb.ids is not None:
        raise RequestConflict(f"The lease `{lease.lease_id}` is `ack-batch`: name no `ids`, all go together.")
    if lease.remaining == 0:
        return _repeated(lease, verb)
    # Members that another pop has taken are missing: then the lease was over by the clock of that process.
    if lease.expires <= now or len(held) != lease.remaining:
        raise LeaseExpired(f"The lease `{lease.lease_id}` is over; nothing was changed.")
    match verb:
        case Extend(ttl):
            return Step(replace(lease, expires=now + ttl), extended=True)
        case Ack(ids):
            chosen = _chosen(held, ids)
            return Step(_shrunk(lease, len(chosen), "acked"), removed=chosen)
        case Nack(ids):
            chosen = _chosen(held, ids)
            last = tuple(member for member in chosen if member.doomed)
            return Step(
                _shrunk(lease, len(chosen), "nacked"),
                removed=tuple(member for member in last if member.again is not None),
                returned=tuple(member for member in chosen if not member.doomed),
                died=tuple(member for member in last if member.again is None),
            )


def is_last(deliveries: int, max_deliveries: int) -> bool:
    """Whether a member is not delivered any more after so many times (WK-8)."""
    return 0 < max_deliveries <= deliveries


def next_token(previous: int, order: int) -> int:
    """A fencing token: larger than all before of this member, also if the clock went back."""
    return max(previous + 1, order)


def check_living(name: str) -> None:
    """Raises InputError for a set of dead members, which only fills by itself."""
    if name.endswith(DEAD):
        raise InputError(
            f"`{name}` holds the dead members of another set: nothing can be added or set there."
        )


def _repeated(lease: Lease, verb: LeaseVerb) -> Step:
    """A lease that has ended answers the same call again, and refuses another."""
    if isinstance(verb, Extend):
        raise RequestConflict(f"The lease `{lease.lease_id}` has ended: it was {lease.outcome}.")
    same = isinstance(verb, Ack) == (lease.outcome == "acked")
    if lease.ack_mode == "ack-batch" and not same:
        raise RequestConflict(f"The lease `{lease.lease_id}` has ended: it was {lease.outcome}.")
    return Step(lease)


def _chosen(held: Mapping[str, Held], ids: Sequence[str] | None) -> tuple[Held, ...]:
    """The members that are named and still there; who is settled already is passed over."""
    if ids is None:
        return tuple(held.values())
    return tuple(held[member_id] for member_id in dict.fromkeys(ids) if member_id in held)


def _shrunk(lease: Lease, by: int, outcome: Outcome) -> Lease:
    left = lease.remaining - by
    return replace(lease, remaining=left, outcome=None if left else outcome)
