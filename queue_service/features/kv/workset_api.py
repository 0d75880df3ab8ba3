"""The handlers of worksets: add, pop, settle, count."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from pydantic_core import from_json

from queue_service.api.endpoint import Call
from queue_service.clock import Clock
from queue_service.core.errors import InputTooLarge, QueueError
from queue_service.features.kv import rules, workset_operations, workset_store
from queue_service.features.kv.api import namespace_of
from queue_service.features.kv.pop_desk import WEIGHT_OF_MEMBER, PopDesk
from queue_service.features.kv.workset_operations import Added, LeaseCall, Pop
from queue_service.features.kv.workset_rules import (
    MAX_PAYLOAD,
    Ack,
    Extend,
    Nack,
    SetKey,
    Step,
    check_living,
)
from queue_service.features.kv.workset_store import NewMember, Taken
from queue_service.operations.batching import Batcher
from queue_service.store.database import Database
from schemas import worksets as shapes
from schemas.task import PRIORITIES

LEASES: Final = 16
"""Calls about leases that share a transaction: each may have a thousand members."""


class WorksetApi:
    """Handlers with what they need: consumers wait at a desk, other calls share transactions."""

    def __init__(self, database: Database, clock: Clock, desk: PopDesk) -> None:
        self._database = database
        self._clock = clock
        self._desk = desk
        lanes = 1 if database.is_sqlite else 2
        self._additions = Batcher[Sequence[NewMember], Added](self._add, lanes=lanes)
        self._settlements = Batcher[LeaseCall, Step](self._settle, max_items=LEASES, lanes=lanes)

    async def close(self) -> None:
        """Answer who waits, and finish the transactions under way."""
        await self._desk.close()
        await self._additions.close()
        await self._settlements.close()

    async def configure_set(self, call: Call[shapes.WorksetSettings]) -> shapes.WorksetResponse:
        key, wanted = _set(call), call.body.max_deliveries
        check_living(key.name)
        await self._database.write(lambda tx: workset_store.configure(tx, key, wanted))
        return await self.workset(call)

    async def workset(self, call: Call[Any]) -> shapes.WorksetResponse:
        key = _set(call)
        async with self._database.read() as connection:
            limits = await workset_store.max_deliveries(connection, [key])
            counts = await workset_store.counts(connection, key, self._clock.now())
        return shapes.WorksetResponse.trusted(
            set=key.name,
            max_deliveries=limits.get(key, 0),
            available=counts.available,
            delayed=counts.delayed,
            leased=counts.leased,
            dead=counts.dead,
            oldest_available=counts.oldest_available,
        )

    async def add_members(self, call: Call[shapes.AddMembersRequest]) -> shapes.AddMembersResponse:
        key = _set(call)
        check_living(key.name)
        now = self._clock.now()
        members = [
            NewMember(
                key,
                rules.check_key(member.id),
                PRIORITIES.index(member.priority),
                member.available_at or now,
                _payload(member.payload, place),
            )
            for place, member in enumerate(call.body.members)
        ]
        weight = max(call.size, len(members) * WEIGHT_OF_MEMBER)
        added = await self._additions.submit(members, weight=weight)
        return shapes.AddMembersResponse.trusted(
            added=added.added, existing=added.existing, requeued=added.requeued
        )

    async def pop_members(self, call: Call[shapes.PopRequest]) -> shapes.PopResponse:
        body = call.body
        request = Pop(_set(call), body.limit, _milliseconds(body.lease_ttl_ms), body.ack_mode, body.consumer)
        wait = 0.0 if body.wait is None else body.wait.total_seconds()
        popped = await self._desk.pop(request, seconds=wait, gone=call.disconnected)
        if popped.lease is None:
            return shapes.PopResponse.trusted(members=())
        return shapes.PopResponse.trusted(
            lease_id=popped.lease.lease_id,
            expires=popped.lease.expires,
            ack_mode=popped.lease.ack_mode,
            members=tuple(map(_member, popped.members)),
        )

    async def ack(self, call: Call[shapes.AckRequest]) -> shapes.AckResponse:
        step = await self._settlements.submit(_lease_call(call, Ack(call.body.ids)))
        return shapes.AckResponse.trusted(
            lease_id=step.lease.lease_id, acked=len(step.removed), left=step.lease.remaining
        )

    async def nack(self, call: Call[shapes.NackRequest]) -> shapes.NackResponse:
        body = call.body
        verb = Nack(body.ids, body.delay or timedelta(0), body.error)
        step = await self._settlements.submit(_lease_call(call, verb))
        return shapes.NackResponse.trusted(
            lease_id=step.lease.lease_id,
            returned=len(step.returned) + len(step.removed),
            dead=len(step.died),
            left=step.lease.remaining,
        )

    async def extend(self, call: Call[shapes.ExtendRequest]) -> shapes.ExtendResponse:
        verb = Extend(_milliseconds(call.body.lease_ttl_ms))
        step = await self._settlements.submit(_lease_call(call, verb))
        return shapes.ExtendResponse.trusted(lease_id=step.lease.lease_id, expires=step.lease.expires)

    async def _add(self, calls: Sequence[Sequence[NewMember]]) -> Sequence[Added]:
        return await self._database.write(lambda tx: workset_operations.add(tx, calls))

    async def _settle(self, calls: Sequence[LeaseCall]) -> Sequence[Step | QueueError]:
        return await self._database.write(lambda tx: workset_operations.settle_leases(tx, calls))


def _set(call: Call[Any]) -> SetKey:
    return SetKey(namespace_of(call), call.params["set"])


def _lease_call(call: Call[Any], verb: Ack | Nack | Extend) -> LeaseCall:
    return LeaseCall(namespace_of(call), call.params["leaseId"], verb)


def _milliseconds(number: int) -> timedelta:
    return timedelta(milliseconds=number)


def _payload(value: Any, place: int) -> str | None:
    if value is None:
        return None
    text = rules.json_text(value, f"members/{place}/payload")
    if (size := len(text.encode())) > MAX_PAYLOAD:
        raise InputTooLarge(
            f"`members/{place}/payload` has {size} bytes and must have at most {MAX_PAYLOAD}."
        )
    return text


def _member(member: Taken) -> shapes.PoppedMember:
    return shapes.PoppedMember.trusted(
        id=member.member_id,
        payload=None if member.payload is None else from_json(member.payload),
        deliveries=member.deliveries,
        token=member.token,
        error=member.error,
    )
