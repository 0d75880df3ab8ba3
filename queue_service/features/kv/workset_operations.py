"""Worksets at work: adding, popping, settling leases and burying the dead, many calls in one transaction."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Final

from pydantic_core import from_json, to_json

from queue_service.core.errors import QueueError, ResourceNotFound
from queue_service.features.kv import lease_store, workset_store
from queue_service.features.kv.workset_rules import (
    Extend,
    Held,
    Lease,
    LeaseVerb,
    Nack,
    SetKey,
    Step,
    is_last,
    next_token,
    settle,
)
from queue_service.features.kv.workset_store import Moved, NewMember, Picked, Taken, Taking
from queue_service.store import outbox
from queue_service.store.database import Tx
from queue_service.store.outbox import Outgoing
from queue_service.store.signals import TopicStirred
from schemas.ids import slugid
from schemas.times import from_ms, to_ms
from schemas.worksets import AckMode, WorksetMemberDeadMessage

MAX_BYTES: Final = 8 * 1024 * 1024
"""Of the payloads that a pop hands out; a larger first member is handed out alone."""


@dataclass(frozen=True, slots=True)
class Added:
    """What became of the members of one call, in their order."""

    added: int
    existing: tuple[str, ...]
    requeued: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pop:
    """A consumer that asks for up to ``limit`` members."""

    set: SetKey
    limit: int
    ttl: timedelta
    ack_mode: AckMode
    consumer: str | None = None
    lease_id: str = field(default_factory=slugid)
    alive: Callable[[], bool] = lambda: True
    """Whether the consumer still listens; nothing is leased to one that left."""


@dataclass(frozen=True, slots=True)
class Popped:
    """The lease and its members in their order; without members ``next_free`` is when to look again."""

    lease: Lease | None
    members: tuple[Taken, ...] = ()
    next_free: datetime | None = None
    doomed_at: datetime | None = None
    """When members die if nobody acks them; None if no delivery is a last one."""


@dataclass(frozen=True, slots=True)
class LeaseCall:
    """Something that a consumer says about its lease, which must be of this namespace."""

    namespace: str
    lease_id: str
    verb: LeaseVerb


def topic_of(key: SetKey) -> str:
    """What is announced when members of a set may have become free."""
    return "set-" + blake2b(f"{key.namespace}/{key.name}".encode(), digest_size=12).hexdigest()


# ---- adding -------------------------------------------------------------------------------------------


async def add(tx: Tx, calls: Sequence[Sequence[NewMember]]) -> list[Added]:
    """Add the members of many calls. Who is present stays as it is; who is leased comes again (WK-1)."""
    members = {_key(member): member for call in reversed(calls) for member in reversed(call)}
    known = await workset_store.add(tx, list(reversed(members.values())))
    await workset_store.repeat(tx, {key: _again(members[key]) for key, is_new in known.items() if not is_new})
    fresh = {key for key, is_new in known.items() if is_new}
    await workset_store.remove(tx, ((key.dead, member_id) for key, member_id in fresh))
    for key in {key for key, _ in fresh}:
        tx.announce(TopicStirred(topic_of(key)))
    return [_added(call, known, fresh) for call in calls]


def _added(
    call: Sequence[NewMember], known: dict[tuple[SetKey, str], bool], fresh: set[tuple[SetKey, str]]
) -> Added:
    added = 0
    existing: list[str] = []
    requeued: list[str] = []
    for key in map(_key, call):
        if key in fresh:
            fresh.discard(key)  # a repetition finds it present
            added += 1
        elif known.get(key) is False:
            requeued.append(key[1])
        else:
            existing.append(key[1])
    return Added(added, tuple(existing), tuple(requeued))


def _key(member: NewMember) -> tuple[SetKey, str]:
    return member.set, member.member_id


def _again(member: NewMember) -> str:
    return to_json(
        {
            "priority": member.priority,
            "availableAt": to_ms(member.available_at),
            "payload": member.payload,
        }
    ).decode()


def _renewed(key: SetKey, member: Held) -> NewMember:
    """The member as it was added while it was leased."""
    assert member.again is not None
    added = from_json(member.again)
    return NewMember(
        key, member.member_id, added["priority"], from_ms(added["availableAt"]), added["payload"]
    )


# ---- popping ------------------------------------------------------------------------------------------


async def pop(tx: Tx, requests: Sequence[Pop]) -> list[Popped]:
    """What each consumer gets: the most urgent members, who waits longest first; earlier requests first.

    A few statements for each set asked for, whatever the number of members (WK-2, WK-3).
    """
    limits = await workset_store.max_deliveries(tx.connection, dict.fromkeys(r.set for r in requests))
    queues: dict[SetKey, deque[Picked]] = {}
    next_free: dict[SetKey, datetime | None] = {}
    for key in dict.fromkeys(request.set for request in requests):
        wanted = sum(r.limit for r in requests if r.set == key and r.alive())
        queues[key], next_free[key] = await _pick(tx, key, wanted)
    takings: dict[str, list[Taking]] = {}
    for request in requests:
        chosen = _share(queues[request.set], request.limit) if request.alive() else []
        takings[request.lease_id] = [
            Taking(
                request.set,
                member.member_id,
                request.lease_id,
                tx.now + request.ttl,
                next_token(member.token, tx.next_queue_order()),
                is_last(member.deliveries + 1, limits.get(request.set, 0)),
            )
            for member in chosen
        ]
    all_taken = [taking for own in takings.values() for taking in own]
    if not all_taken:
        return [Popped(None, next_free=next_free[request.set]) for request in requests]
    taken = await workset_store.take(tx, all_taken)
    outcomes = [_popped(tx, r, takings[r.lease_id], taken, next_free[r.set]) for r in requests]
    await lease_store.insert_leases(tx, [outcome.lease for outcome in outcomes if outcome.lease])
    return outcomes


async def _pick(tx: Tx, key: SetKey, wanted: int) -> tuple[deque[Picked], datetime | None]:
    """Free members, and when the next one will be free."""
    picked: deque[Picked] = deque()
    heads = await workset_store.heads(tx.connection, key)
    for priority, head in heads:
        if head <= tx.now and len(picked) < wanted:
            picked.extend(await workset_store.pick(tx, key, priority, wanted - len(picked)))
    return picked, min((head for _, head in heads), default=None)


def _share(queue: deque[Picked], limit: int) -> list[Picked]:
    chosen: list[Picked] = []
    size = 0
    while queue and len(chosen) < limit and (not chosen or size + queue[0].size <= MAX_BYTES):
        chosen.append(queue.popleft())
        size += chosen[-1].size
    return chosen


def _popped(
    tx: Tx,
    request: Pop,
    takings: Sequence[Taking],
    taken: dict[tuple[str, str], Taken],
    next_free: datetime | None,
) -> Popped:
    if not takings:
        return Popped(None, next_free=next_free)
    expires = tx.now + request.ttl
    lease = Lease(request.lease_id, request.set, request.ack_mode, request.consumer, expires, len(takings))
    members = tuple(taken[request.lease_id, taking.member_id] for taking in takings)
    return Popped(lease, members, doomed_at=expires if any(t.doomed for t in takings) else None)


# ---- settling -----------------------------------------------------------------------------------------


async def settle_leases(tx: Tx, calls: Sequence[LeaseCall]) -> list[Step | QueueError]:
    """Acks, nacks and extensions of many leases; each call wholly or not at all (WK-4 to WK-8)."""
    lease_ids = list(dict.fromkeys(call.lease_id for call in calls))
    leases = await lease_store.lock(tx, lease_ids)
    held = await workset_store.held(tx, lease_ids)
    results = _Results(tx)
    outcomes: list[Step | QueueError] = []
    for call in calls:
        lease = leases.get(call.lease_id)
        try:
            if lease is None or lease.set.namespace != call.namespace:
                raise ResourceNotFound(f"There is no lease `{call.lease_id}` in `{call.namespace}`.")
            step = settle(lease, held[call.lease_id], call.verb, tx.now)
        except QueueError as error:
            outcomes.append(error)
            continue
        outcomes.append(step)
        leases[call.lease_id] = step.lease
        results.take(call.verb, step, held[call.lease_id])
    await results.write()
    return outcomes


async def bury(tx: Tx, limit: int) -> int:
    """Put aside members whose last delivery ran out; how many there were (WK-8)."""
    dying = await workset_store.due_to_die(tx, limit)
    results = _Results(tx)
    for item in dying:
        if item.member.again is not None:
            results.remove(item.set, [item.member])
        else:
            error = f"The lease of delivery {item.member.deliveries} expired."
            results.die(item.set, [item.member], error)
    await results.write()
    return len(dying)


class _Results:
    """What the calls of a transaction did to leases and members, written at its end."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx
        self._leases: dict[str, Lease] = {}
        self._removed: dict[tuple[SetKey, str], None] = {}
        self._renewed: list[NewMember] = []
        self._moved: dict[tuple[SetKey, str], Moved] = {}
        self._dead: list[tuple[SetKey, str]] = []
        self._told: list[Outgoing] = []
        self._stirred: dict[SetKey, None] = {}

    def take(self, verb: LeaseVerb, step: Step, held: dict[str, Held]) -> None:
        """The effects of a call; whoever left the lease is taken out of ``held``."""
        lease = step.lease
        self._leases[lease.lease_id] = lease
        self.remove(lease.set, step.removed)
        if isinstance(verb, Nack):
            self._give_back(lease.set, step.returned, verb)
            self.die(lease.set, step.died, verb.error or "The member was nacked.")
        if isinstance(verb, Extend) and step.extended:
            for member in held.values():
                self._move(lease.set, member, lease.set.name, lease.expires, lease.lease_id, member.doomed)
        for member in (*step.removed, *step.returned, *step.died):
            del held[member.member_id]

    def remove(self, key: SetKey, members: Iterable[Held]) -> None:
        """These members are gone; what was added meanwhile takes their place."""
        for member in members:
            self._removed[key, member.member_id] = None
            self._moved.pop((key, member.member_id), None)
            if member.again is not None:
                self._renewed.append(_renewed(key, member))
                self._stirred[key] = None

    def die(self, key: SetKey, members: Iterable[Held], error: str) -> None:
        """These members go to the set of the dead, and it is told."""
        tenant, _, namespace = key.namespace.partition(":")
        for member in members:
            self._move(key, member, key.dead.name, self._tx.now, None, False, error)
            self._dead.append((key.dead, member.member_id))
            message = WorksetMemberDeadMessage.trusted(
                tenant=tenant,
                namespace=namespace,
                set=key.name,
                member_id=member.member_id,
                deliveries=member.deliveries,
                error=error,
            )
            order = f"kv/{key.namespace}/{key.name}/{member.member_id}"
            self._told.append(Outgoing(message, (), (order,)))
            self._stirred[key.dead] = None

    async def write(self) -> None:
        """Write everything, and wake who waits for members."""
        await workset_store.remove(self._tx, (*self._removed, *self._dead))
        await workset_store.insert_members(self._tx, self._renewed)
        await workset_store.move(self._tx, list(self._moved.values()))
        await lease_store.save(self._tx, list(self._leases.values()))
        await outbox.record(self._tx, self._told)
        for key in self._stirred:
            self._tx.announce(TopicStirred(topic_of(key)))

    def _give_back(self, key: SetKey, members: Sequence[Held], verb: Nack) -> None:
        for member in members:
            self._move(key, member, key.name, self._tx.now + verb.delay, None, False, verb.error)
            self._stirred[key] = None

    def _move(
        self,
        key: SetKey,
        member: Held,
        to_set: str,
        available_at: datetime,
        lease_id: str | None,
        doomed: bool,
        error: str | None = None,
    ) -> None:
        self._moved[key, member.member_id] = Moved(
            key, member.member_id, to_set, available_at, lease_id, doomed, error
        )
