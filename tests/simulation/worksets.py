"""Worksets: every change of a member must be one that an open call makes, or time (WK-1 to WK-9).

At every commit each member that was added and is not acked is there once; what a reply says was committed.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from tests.simulation.calls import Reply, Request
from tests.simulation.history import History, Open, Violation
from tests.simulation.model import CONFLICT, NOT_FOUND

MEMBERS: Final = (
    "SELECT member_id, set_name, available_at, deliveries, token, lease_id, doomed, again"
    " FROM workset_members ORDER BY member_id"
)
LIMIT: Final = "SELECT max_deliveries FROM worksets"
DEAD: Final = ".dead"
SOON: Final = 5.0
"""Seconds within which a waiting consumer must be given a member that is free."""


@dataclass(frozen=True)
class Member:
    """As it is in its set. The lease is that of its last delivery, until it is given back."""

    set_name: str
    free_at: int
    deliveries: int
    token: int
    lease: str | None
    doomed: bool
    again: str | None

    @property
    def dead(self) -> bool:
        return self.set_name.endswith(DEAD)

    def held(self, now: int) -> bool:
        return self.lease is not None and self.free_at > now


class Worksets:
    """Judges members and leases of the only set there is."""

    def __init__(self, history: History, raw: sqlite3.Connection) -> None:
        self._history = history
        self._raw = raw
        self.members: dict[str, Member] = {}
        self._leased: dict[str, dict[str, tuple[int, int]]] = defaultdict(dict)
        """Deliveries and token of the members of each lease, as they were popped."""
        self._ends: dict[str, int] = {}
        self._added: dict[str, int] = {}
        """At which commit each member was added last."""
        self._free_since: dict[str, float] = {}
        self._latest = 0
        self.max_deliveries = 0

    # ---- commits --------------------------------------------------------------------------------------

    def committed(self, now: int) -> None:
        """Every change of this commit must be explained."""
        self._latest = max(self._latest, now)
        self.max_deliveries = next((row[0] for row in self._raw.execute(LIMIT)), 0)
        found: dict[str, Member] = {}
        for member_id, *facts, doomed, again in self._raw.execute(MEMBERS):
            if member_id in found:
                self._history.violated(f"{member_id} is in two sets")
            found[member_id] = Member(*facts, bool(doomed), again)
        if found == self.members:
            return
        for member_id in sorted({*found, *self.members}):
            before, after = self.members.get(member_id), found.get(member_id)
            if before == after:
                continue
            try:
                self._explain(member_id, before, after, now)
            except Violation as violation:
                self._history.violated(f"{member_id}: {before} became {after}: {violation}")
            if after is None or after.dead or after.lease is not None or after.free_at > now:
                self._free_since.pop(member_id, None)
            else:
                self._free_since.setdefault(member_id, self._history.time())
        self.members = found

    def _explain(self, member_id: str, before: Member | None, after: Member | None, now: int) -> None:
        """Raises Violation."""
        if before is None or before.dead:
            if after is None or after.dead or after.lease is not None or after.deliveries:
                raise Violation("nothing does that")
            self._added_by_call(member_id)
        elif after is None:
            self._settled(member_id, before, now, "ack")
        elif after.dead:
            self._ended_in_vain(member_id, before, now)
            self._history.announced[f"member {member_id}"].append(f"dead after {before.deliveries}")
        elif after.lease is not None and after.lease != before.lease:
            self._popped(member_id, before, after, now)
        elif after.lease is not None:
            self._changed_while_held(member_id, before, after, now)
        elif after.deliveries == 0 and before.again is not None:
            if before.doomed and before.free_at <= now:
                return  # what was added meanwhile takes the place of the dead
            self._settled(member_id, before, now, *(("ack", "nack") if before.doomed else ("ack",)))
        else:
            call = self._settled(member_id, before, now, "nack")
            if before.doomed or after.deliveries != before.deliveries:
                raise Violation("it was given back otherwise than it was")
            if after.free_at != now + round(call.body.get("delay", 0) * 1000):
                raise Violation("it waits for another time than was asked for")

    def _added_by_call(self, member_id: str) -> None:
        for call in self._history.open["set"]:
            if call.request.method == "add_members" and member_id in _ids_of(call.request):
                self._added[member_id] = self._history.commits
                return
        raise Violation("nobody adds it")

    def _popped(self, member_id: str, before: Member, after: Member, now: int) -> None:
        assert after.lease is not None
        if before.free_at > now or before.doomed:
            raise Violation("it was not free")
        if after.deliveries != before.deliveries + 1 or after.token <= before.token:
            raise Violation("the delivery is not counted, or its token not larger than the last")
        if after.doomed != (0 < self.max_deliveries <= after.deliveries):
            raise Violation(f"of {self.max_deliveries} deliveries")
        asking = [call for call in self._history.open["set"] if call.request.method == "pop_members"]
        if not any(after.free_at == now + call.request.body["leaseTtlMs"] for call in asking):
            raise Violation("nobody asks for it")
        self._look_at_patience(member_id, asking)
        self._leased[after.lease][member_id] = (after.deliveries, after.token)
        self._ends[after.lease] = after.free_at

    def _look_at_patience(self, member_id: str, asking: Sequence[Open]) -> None:
        """Who waits is served soon, not when it gives up (WK-2)."""
        free = max(self._free_since.get(member_id, self._history.time()), self._history.calm_since)
        waiting = [call.time for call in asking if "wait" in call.request.body and not call.gone]
        late = self._history.time() - max(free, min(waiting, default=self._history.time()))
        if late > SOON:
            raise Violation(f"somebody has waited for it for {late:.1f} s")

    def _changed_while_held(self, member_id: str, before: Member, after: Member, now: int) -> None:
        assert after.lease is not None
        if not (before.held(now) or before.doomed):  # who is about to be buried gets a new life
            raise Violation("its lease is over")
        if after.again != before.again:
            calls = self._history.open["set"]
            if not any(member_id in _ids_of(call.request) for call in calls):
                raise Violation("nobody adds it again")
        if after.free_at != before.free_at:
            if not before.held(now):
                raise Violation("a lease that is over was extended")
            ends = {now + call.body["leaseTtlMs"] for call in self._about(after.lease, "extend")}
            if after.free_at not in ends:
                raise Violation("nobody extends its lease so")
            self._ends[after.lease] = after.free_at

    def _ended_in_vain(self, member_id: str, before: Member, now: int) -> None:
        if not before.doomed:
            raise Violation("it has deliveries left")
        if before.free_at > now:
            self._settled(member_id, before, now, "nack")

    def _settled(self, member_id: str, before: Member, now: int, *verbs: str) -> Request:
        """The call that did it; its lease must live."""
        if before.lease is None or not before.held(now):
            raise Violation("nobody has it")
        for request in self._about(before.lease, *verbs):
            if member_id in request.body.get("ids", (member_id,)):
                return request
        raise Violation(f"nobody asked to {' or '.join(verbs)} it")

    def _about(self, lease_id: str, *verbs: str) -> list[Request]:
        """Open calls about a lease."""
        requests = (call.request for call in self._history.open["set"])
        return [one for one in requests if one.lease_id == lease_id and one.method in verbs]

    # ---- replies --------------------------------------------------------------------------------------

    def answered(self, call: Open, reply: Reply) -> None:
        """Raises Violation when that cannot be the answer."""
        match call.request.method:
            case "configure_set" if reply.error is None:
                return
            case "add_members" if reply.error is None:
                self._judge_addition(call, reply.body)
            case "pop_members" if reply.error is None:
                self._judge_pop(reply.body)
            case "ack" | "nack" | "extend":
                self._judge_settlement(call, reply)
            case _:
                raise Violation("no reason to refuse")

    def _judge_addition(self, call: Open, body: dict[str, Any]) -> None:
        ids = _ids_of(call.request)
        told = (*body["existing"], *body["requeued"])
        if body["added"] + len(told) != len(ids):
            raise Violation(f"of {len(ids)} members {body['added']} + {len(told)} are told of")
        for member_id in set(ids) - set(told):
            if self._added.get(member_id, -1) <= call.since:
                raise Violation(f"{member_id} was not added")

    def _judge_pop(self, body: dict[str, Any]) -> None:
        if body["members"]:
            shown = {member["id"]: (member["deliveries"], member["token"]) for member in body["members"]}
            if self._leased.get(body["leaseId"]) != shown:
                raise Violation(f"another lease was committed: {self._leased.get(body['leaseId'])}")

    def _judge_settlement(self, call: Open, reply: Reply) -> None:
        request = call.request
        lease_id = request.lease_id or ""
        members = self._leased[lease_id]
        held = [member for member in members if self._holds(lease_id, member)]
        end = self._ends.get(lease_id, 0)
        match reply.error:
            case None if request.method != "extend":
                forgotten = set(held) & set(request.body.get("ids", members))
                if forgotten:
                    raise Violation(f"{forgotten} are still leased")
            case None:
                pass
            case "LeaseExpired":
                if len(held) == len(members) and end > max(self._latest, self._history.clock()):
                    raise Violation("the lease lives")
            case code if code == CONFLICT:
                if held:
                    raise Violation("the lease has not ended")
            case code if code == NOT_FOUND:
                grace = self._history.model.numbers.expiry_grace
                if end + grace > max(self._latest, self._history.clock()):
                    raise Violation("the lease is known")
            case _:
                raise Violation("no reason to refuse")

    def _holds(self, lease_id: str, member_id: str) -> bool:
        member = self.members.get(member_id)
        return member is not None and not member.dead and member.lease == lease_id


def _ids_of(request: Request) -> list[str]:
    return [member["id"] for member in request.body.get("members", ())]
