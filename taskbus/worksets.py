"""Worksets as methods: adding members, and draining a set batch by batch."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Literal, Protocol

from schemas.times import format_time
from schemas.worksets import (
    AckMode,
    AckResponse,
    AddMembersResponse,
    ExtendResponse,
    NackResponse,
    PoppedMember,
    PopResponse,
    WorksetResponse,
)
from taskbus.errors import Conflict
from taskbus.keeping import kept
from taskbus.tasks import Duration, parse_duration

logger = logging.getLogger(__name__)

Ack = Literal["each", "batch"]
NewMembers = Iterable[str | Mapping[str, Any]]
"""Ids, or objects with an id and perhaps ``payload``, ``availableAt`` and ``priority``."""
_CHUNK: Final = 1000
_MODES: Final[dict[Ack, AckMode]] = {"each": "ack-each", "batch": "ack-batch"}
LONGEST_WAIT: Final = 20.0
ANSWER_SECONDS: Final = 30.0
MAX_ERROR: Final = 4000


class Caller(Protocol):
    """The part of a client that is used here."""

    async def _get(self, shape: Any, *path: str) -> Any: ...

    async def _post(
        self, shape: Any, *path: str, body: bytes | None = None, answer_seconds: float = ANSWER_SECONDS
    ) -> Any: ...

    async def _put(self, shape: Any, *path: str, body: bytes) -> Any: ...


class Workset:
    """A set of members; made by :meth:`taskbus.kv.Kv.workset`."""

    def __init__(
        self, client: Caller, tenant: str, namespace: str, name: str, open_batches: "set[Batches]"
    ) -> None:
        self._client = client
        self._place = (tenant, namespace)
        self._path = (tenant, namespace, "sets", name)
        self._open = open_batches

    async def add(self, members: NewMembers) -> AddMembersResponse:
        """Add members, a thousand in a call. One that is present stays; one that is leased comes again."""
        entries = [dict(_member(member)) for member in members]
        added = 0
        existing: tuple[str, ...] = ()
        requeued: tuple[str, ...] = ()
        for start in range(0, len(entries), _CHUNK):
            body = _json({"members": entries[start : start + _CHUNK]})
            answer: AddMembersResponse = await self._client._post(
                AddMembersResponse, *self._path, "members", body=body
            )
            added += answer.added
            existing += answer.existing
            requeued += answer.requeued
        return AddMembersResponse(added=added, existing=existing, requeued=requeued)

    async def pop(
        self,
        limit: int = 1,
        *,
        lease: Duration = "60s",
        ack: Ack = "batch",
        wait: float = 0.0,
        consumer: str | None = None,
    ) -> "Batch | None":
        """Lease up to ``limit`` members; None if there are none, after ``wait`` seconds (at most 20)."""
        ttl = parse_duration(lease).total_seconds()
        body: dict[str, Any] = {"limit": limit, "leaseTtlMs": round(ttl * 1000), "ackMode": _MODES[ack]}
        if wait:
            body["wait"] = wait
        if consumer is not None:
            body["consumer"] = consumer
        popped: PopResponse = await self._client._post(
            PopResponse, *self._path, "pop", body=_json(body), answer_seconds=ANSWER_SECONDS + wait
        )
        if popped.lease_id is None or popped.expires is None:
            return None
        return Batch(self, popped.lease_id, popped.expires, popped.members, ttl)

    async def ack(self, lease_id: str, ids: Iterable[str] | None = None) -> AckResponse:
        """Remove members of a lease, or all that it has. Raises LeaseExpired: then nothing is removed."""
        body = {} if ids is None else {"ids": list(ids)}
        answer: AckResponse = await self._settle(AckResponse, lease_id, "ack", body)
        return answer

    async def nack(
        self,
        lease_id: str,
        ids: Iterable[str] | None = None,
        *,
        delay: Duration | None = None,
        error: str | None = None,
    ) -> NackResponse:
        """Give members of a lease back, or all that it has, now or after ``delay``. Raises LeaseExpired."""
        body: dict[str, Any] = {} if ids is None else {"ids": list(ids)}
        if delay is not None:
            body["delay"] = parse_duration(delay).total_seconds()
        if error is not None:
            body["error"] = error[:MAX_ERROR].replace("\0", "")
        answer: NackResponse = await self._settle(NackResponse, lease_id, "nack", body)
        return answer

    async def extend(self, lease_id: str, lease: Duration = "60s") -> ExtendResponse:
        """Let a lease end that much after now. Raises LeaseExpired."""
        body = {"leaseTtlMs": round(parse_duration(lease).total_seconds() * 1000)}
        answer: ExtendResponse = await self._settle(ExtendResponse, lease_id, "extend", body)
        return answer

    async def counts(self) -> WorksetResponse:
        """How many members are available, delayed, leased and dead."""
        found: WorksetResponse = await self._client._get(WorksetResponse, *self._path)
        return found

    async def configure(self, *, max_deliveries: int) -> WorksetResponse:
        """Put members aside as dead after so many deliveries, into the set ``<name>.dead``; 0 is never."""
        body = _json({"maxDeliveries": max_deliveries})
        found: WorksetResponse = await self._client._put(WorksetResponse, *self._path, body=body)
        return found

    def batches(
        self,
        limit: int = 1,
        *,
        ack: Ack = "batch",
        lease: Duration = "60s",
        wait: float | None = None,
        consumer: str | None = None,
    ) -> "Batches":
        """Batch after batch: ``async for batch in workset.batches(limit=50, ack="each")``.

        A batch is acked when the body of the loop has run to its end, and given back when the loop is left
        before; its lease is extended meanwhile. ``wait``: end when there was nothing for so many seconds;
        None is never.
        """
        return Batches(self, self._open, limit, ack, lease, wait, consumer)

    async def _settle(self, shape: Any, lease_id: str, verb: str, body: Mapping[str, Any]) -> Any:
        return await self._client._post(shape, *self._place, "leases", lease_id, verb, body=_json(body))


class Batch:
    """Members that are leased. Iterate over it; what is acked or given back singly is settled."""

    def __init__(
        self,
        workset: Workset,
        lease_id: str,
        expires: datetime,
        members: tuple[PoppedMember, ...],
        lease_seconds: float,
    ) -> None:
        self._workset = workset
        self._open = {member.id: member for member in members}
        self.lease_id = lease_id
        self.expires = expires
        self.members = members
        self.lease_seconds = lease_seconds
        self.lost = False
        """Whether the lease could not be extended in time: others may have the members."""

    def __iter__(self) -> Iterator[PoppedMember]:
        return iter(self.members)

    def __len__(self) -> int:
        return len(self.members)

    async def ack(self, *ids: str) -> None:
        """These members are done, or all that are left. Raises LeaseExpired, Conflict for a whole batch."""
        if self._open:
            await self._workset.ack(self.lease_id, ids or None)
            self._settled(ids)

    async def nack(self, *ids: str, delay: Duration | None = None, error: str | None = None) -> None:
        """Give these members back, or all that are left. Raises LeaseExpired, Conflict for a whole batch."""
        if self._open:
            await self._workset.nack(self.lease_id, ids or None, delay=delay, error=error)
            self._settled(ids)

    async def extend(self) -> None:
        """Hold the lease for as long again. Raises LeaseExpired."""
        if self._open:
            try:
                self.expires = (await self._workset.extend(self.lease_id, f"{self.lease_seconds}s")).expires
            except Conflict:
                self.lost = True
                raise

    def _settled(self, ids: tuple[str, ...]) -> None:
        for member_id in ids or tuple(self._open):
            self._open.pop(member_id, None)


class Batches:
    """The batches of a set, one after the other; made by :meth:`Workset.batches`.

    In ``async with workset.batches(…) as batches`` a loop that is left by ``break`` acks its batch, and an
    exception is told as the reason. A bare loop cannot tell them apart: both give the members back.
    """

    def __init__(
        self,
        workset: Workset,
        opened: "set[Batches]",
        limit: int,
        ack: Ack,
        lease: Duration,
        wait: float | None,
        consumer: str | None,
    ) -> None:
        self._workset = workset
        self._opened = opened
        self._limit = limit
        self._ack: Ack = ack
        self._lease = lease
        self._wait = wait
        self._consumer = consumer
        self._batch: Batch | None = None
        self._keeping = AsyncExitStack()
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> "Batches":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or isinstance(error, GeneratorExit):
            await self._finish()
        await self.aclose(error)

    async def __aiter__(self) -> AsyncIterator[Batch]:
        self._opened.add(self)
        try:
            while (batch := await self._next()) is not None:
                yield batch
                await self._finish()
        finally:
            await self.aclose()

    async def aclose(self, error: BaseException | None = None) -> None:
        """Give back what is not acked."""
        self._opened.discard(self)
        async with self._turn:
            batch = await self._let_go()
            if batch is not None:
                reason = "the consumer left" if error is None else f"{type(error).__name__}: {error}"
                await _quietly(batch.nack(error=reason))

    async def _next(self) -> Batch | None:
        loop = asyncio.get_running_loop()
        end = None if self._wait is None else loop.time() + self._wait
        while True:
            left = LONGEST_WAIT if end is None else max(end - loop.time(), 0.0)
            batch = await self._workset.pop(
                self._limit,
                lease=self._lease,
                ack=self._ack,
                wait=round(min(left, LONGEST_WAIT), 3),
                consumer=self._consumer,
            )
            if batch is not None:
                self._batch = batch
                await self._keeping.enter_async_context(kept(batch.extend, every=batch.lease_seconds / 3))
                return batch
            if end is not None and loop.time() >= end:
                return None

    async def _finish(self) -> None:
        async with self._turn:
            batch = await self._let_go()
            if batch is not None:
                await _quietly(batch.ack())

    async def _let_go(self) -> Batch | None:
        batch, self._batch = self._batch, None
        await self._keeping.aclose()
        return batch


async def _quietly(settling: Any) -> None:
    """What belongs to a lease that is over comes again by itself."""
    try:
        await settling
    except Conflict as error:
        logger.warning("a batch was not settled, its members come again: %s", error.message)


def _member(member: str | Mapping[str, Any]) -> Mapping[str, Any]:
    if isinstance(member, str):
        return {"id": member}
    when = member.get("availableAt")
    return {**member, "availableAt": format_time(when)} if isinstance(when, datetime) else member


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()
