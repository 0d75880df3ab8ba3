"""Conservation (WK-9): every added, not yet acked member is exactly one of available, delayed, leased, dead.

Random adds, pops, acks, nacks, extensions, expiries and crashes, against a model that is a few dictionaries.
A crash is a transaction that is cut before its commit, or a consumer that never says anything again.
"""

import asyncio
import shutil
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import text

from queue_service.core.errors import QueueError
from queue_service.features.kv import workset_operations, workset_store
from queue_service.features.kv.workset_operations import LeaseCall, Pop
from queue_service.features.kv.workset_rules import Ack, Extend, LeaseVerb, Nack, SetKey, Step
from queue_service.features.kv.workset_store import NewMember
from queue_service.store.database import Tx, open_database
from tests.store.manual_clock import ManualClock

SET: Final = SetKey("acme:crawl", "urls")
CRASH: Final = st.sampled_from([False] * 6 + [True])
IDS: Final = st.sampled_from([f"m{n}" for n in range(5)])
T = TypeVar("T")


class Crash(Exception):
    """The process ends before the commit."""


@dataclass
class Member:
    """What the model knows of a member."""

    free_at: datetime
    deliveries: int = 0
    lease: str | None = None
    doomed: bool = False
    dead: bool = False
    again: datetime | None = None


@dataclass
class Lease:
    expires: datetime
    mode: str
    members: set[str] = field(default_factory=set)


class Worksets(RuleBasedStateMachine):
    """A set of at most five members, and everything that can happen to it."""

    migrated: ClassVar[Path]
    leases = Bundle("leases")

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.folder = Path(tempfile.mkdtemp())
        file = shutil.copy(self.migrated, self.folder / "taskbus.db")
        self.database = open_database(f"sqlite:///{file}", self.clock, synchronous="OFF")
        self.runner = asyncio.Runner()
        self.members: dict[str, Member] = {}
        self.held: dict[str, Lease] = {}
        self.limit = 0

    def teardown(self) -> None:
        self.runner.run(self.database.close())
        self.runner.close()
        shutil.rmtree(self.folder)

    # ---- what happens ---------------------------------------------------------------------------------

    @initialize(limit=st.sampled_from([0, 1, 2, 3]))
    def configure(self, limit: int) -> None:
        self.limit = limit
        self.write(lambda tx: workset_store.configure(tx, SET, limit))

    @rule(ids=st.lists(IDS, min_size=1, max_size=6), delay=st.sampled_from([0, 0, 700]), crash=CRASH)
    def add(self, ids: list[str], delay: int, crash: bool) -> None:
        free_at = self.now + timedelta(milliseconds=delay)
        added = [NewMember(SET, member_id, 6, free_at, None) for member_id in ids]
        if self.write(lambda tx: workset_operations.add(tx, [added]), crash) is None:
            return
        for member_id in ids:
            present = self.members.get(member_id)
            if present is None or present.dead:
                self.members[member_id] = Member(free_at)
            elif (present.lease and present.free_at > self.now) or present.doomed:
                present.again = free_at

    @rule(
        target=leases,
        limit=st.integers(1, 5),
        ttl=st.sampled_from([1000, 3000]),
        mode=st.sampled_from(["ack-batch", "ack-each"]),
        crash=CRASH,
    )
    def pop(self, limit: int, ttl: int, mode: Any, crash: bool) -> Any:
        request = Pop(SET, limit, timedelta(milliseconds=ttl), mode)
        outcome = self.write(lambda tx: workset_operations.pop(tx, [request]), crash)
        if outcome is None:
            return multiple()
        free = {member_id for member_id, member in self.members.items() if self.state(member) == "available"}
        popped = {member.member_id: member for member in outcome[0].members}
        assert popped.keys() <= free
        assert len(popped) == min(limit, len(free)), "a pop left free members behind"
        if not popped:
            return multiple()
        expires = self.now + timedelta(milliseconds=ttl)
        self.held[request.lease_id] = Lease(expires, mode, set(popped))
        for member_id in popped:
            member = self.members[member_id]
            member.deliveries += 1
            assert popped[member_id].deliveries == member.deliveries
            member.lease, member.free_at = request.lease_id, expires
            member.doomed = 0 < self.limit <= member.deliveries
        return request.lease_id

    @rule(lease_id=leases, ids=st.lists(IDS, max_size=4), crash=CRASH)
    def ack(self, lease_id: str, ids: list[str], crash: bool) -> None:
        named = self.named(lease_id, ids)
        done = self.settle(lease_id, Ack(named), crash)
        for member_id in self.chosen(lease_id, named) if done else ():
            self.take_out(lease_id, member_id)

    @rule(
        lease_id=leases,
        ids=st.lists(IDS, max_size=4),
        delay=st.sampled_from([0, 0, 700]),
        crash=CRASH,
    )
    def nack(self, lease_id: str, ids: list[str], delay: int, crash: bool) -> None:
        named = self.named(lease_id, ids)
        done = self.settle(lease_id, Nack(named, timedelta(milliseconds=delay), "no"), crash)
        for member_id in self.chosen(lease_id, named) if done else ():
            member = self.members[member_id]
            if member.doomed:
                self.end(member_id)
            else:
                member.lease, member.free_at = None, self.now + timedelta(milliseconds=delay)
            self.held[lease_id].members.discard(member_id)

    @rule(lease_id=leases, crash=CRASH)
    def extend(self, lease_id: str, crash: bool) -> None:
        if not self.settle(lease_id, Extend(timedelta(seconds=2)), crash):
            return
        lease = self.held[lease_id]
        lease.expires = self.now + timedelta(seconds=2)
        for member_id in lease.members:
            self.members[member_id].free_at = lease.expires

    @rule(milliseconds=st.sampled_from([1, 300, 700, 999, 1000, 5000]))
    def time_passes(self, milliseconds: int) -> None:
        self.clock.advance(milliseconds=milliseconds)

    @rule(crash=CRASH)
    def bury(self, crash: bool) -> None:
        if self.write(lambda tx: workset_operations.bury(tx, 3), crash) is None:
            return
        while self.write(lambda tx: workset_operations.bury(tx, 3)):
            pass
        for member_id, member in list(self.members.items()):
            if member.doomed and member.free_at <= self.now:
                self.end(member_id)

    # ---- what must hold -------------------------------------------------------------------------------

    @invariant()
    def every_member_is_in_exactly_one_state(self) -> None:
        wanted = Counter(map(self.state, self.members.values()))
        found, rows = self.runner.run(self.look())
        assert (found.available, found.delayed, found.leased, found.dead) == (
            wanted["available"], wanted["delayed"], wanted["leased"], wanted["dead"],
        )  # fmt: skip
        assert sorted(rows) == sorted(self.members), "a member is lost, or there twice"

    async def look(self) -> tuple[workset_store.Counts, list[str]]:
        async with self.database.read() as connection:
            rows = await connection.execute(text("SELECT member_id FROM workset_members"))
            return await workset_store.counts(connection, SET, self.now), rows.scalars()

    # ---- the model ------------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        return self.clock.now()

    def state(self, member: Member) -> str:
        if member.dead or (member.doomed and member.free_at <= self.now):
            return "dead"
        if member.free_at <= self.now:
            return "available"
        return "leased" if member.lease else "delayed"

    def end(self, member_id: str) -> None:
        """A last delivery failed: the member dies, or what was added meanwhile takes its place."""
        member = self.members[member_id]
        self.members[member_id] = Member(member.again) if member.again else Member(self.now, dead=True)

    def take_out(self, lease_id: str, member_id: str) -> None:
        self.held[lease_id].members.discard(member_id)
        member = self.members.pop(member_id)
        if member.again:
            self.members[member_id] = Member(member.again)

    def named(self, lease_id: str, ids: list[str]) -> tuple[str, ...] | None:
        return tuple(ids) if ids and self.held[lease_id].mode == "ack-each" else None

    def chosen(self, lease_id: str, ids: tuple[str, ...] | None) -> set[str]:
        members = self.held[lease_id].members
        return set(members) if ids is None else members & set(ids)

    def settle(self, lease_id: str, verb: LeaseVerb, crash: bool) -> bool:
        """Whether the call was applied; it must be exactly when the lease lives."""
        call = LeaseCall(SET.namespace, lease_id, verb)
        outcomes = self.write(lambda tx: workset_operations.settle_leases(tx, [call]), crash)
        if outcomes is None:
            return False
        lease = self.held[lease_id]
        living = bool(lease.members) and lease.expires > self.now
        if isinstance(outcomes[0], Step):
            assert living or not lease.members, "a dead lease was settled"
            return living
        assert isinstance(outcomes[0], QueueError)
        assert not living, f"a living lease was refused: {outcomes[0]}"
        return False

    def write(self, script: Callable[[Tx], Awaitable[T]], crash: bool = False) -> T | None:
        """The outcome of a transaction; None when it was cut before its commit."""

        async def cut(tx: Tx) -> T:
            outcome = await script(tx)
            if crash:
                raise Crash
            return outcome

        try:
            return self.runner.run(self.database.write(cut))
        except Crash:
            return None


@pytest.mark.timeout(300)
def test_no_member_is_lost_and_none_is_doubled(migrated_sqlite_file: Path) -> None:
    Worksets.migrated = migrated_sqlite_file
    run_state_machine_as_test(
        Worksets,
        settings=settings(
            max_examples=30,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
