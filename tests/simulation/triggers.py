"""Triggers: each change must be one that the second model gives, and each tick has its tasks once (TR-13).

After every commit the rows of triggers and of their firings are held against ``ticks.py``.
"""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Final

from schemas.times import format_time, from_ms
from tests.simulation.calls import Reply
from tests.simulation.history import History, Open, Violation
from tests.simulation.model import CONFLICT, NOT_FOUND, ms
from tests.simulation.ticks import (
    PUNCTUAL,
    Covered,
    Fired,
    Standing,
    Wanted,
    chosen,
    ended,
    look,
    resumed,
    wanted_of,
)

TRIGGERS: Final = (
    "SELECT trigger_id, state, created, offset_ms, next_tick, waiting, progress, version FROM triggers"
    " ORDER BY trigger_id"
)
FIRES: Final = (
    "SELECT trigger_id, number, scheduled_for, window_from, window_to, outcome, task_id FROM trigger_fires"
    " ORDER BY trigger_id, number"
)
MARKS: Final = "SELECT key, value FROM kv_entries WHERE namespace = 'taskbus:triggers'"
TOGETHER: Final = 100
"""Ticks that are due in so many milliseconds are fired at once (R-3)."""
SOON: Final = 5.0
"""Seconds within which a tick must fire when nothing is out of order."""


@dataclass(frozen=True)
class Fire:
    number: int
    fired: Fired
    outcome: str
    task_id: str


@dataclass
class Known:
    """What is known of a trigger."""

    wanted: Wanted
    created: int
    offset: int
    standing: Standing
    version: int
    changed: float
    """The time of the simulation at which its owner changed it last."""
    fires: list[Fire] = field(default_factory=list)
    states: list[tuple[int, str]] = field(default_factory=list)
    """What it was from a commit on."""

    def tick_after(self, moment: int) -> int:
        number = (moment - self.created - self.offset) // self.wanted.duration + 1
        return self.created + max(number, 1) * self.wanted.duration + self.offset


class Triggers:
    """Judges triggers by the clock."""

    def __init__(self, history: History, raw: sqlite3.Connection) -> None:
        self._history = history
        self._raw = raw
        self._known: dict[str, Known] = {}
        self._new: dict[str, list[Fire]] = {}

    # ---- commits --------------------------------------------------------------------------------------

    def look(self) -> None:
        """Before the tasks of a commit are judged: which of them triggers have made."""
        self._new = {}
        for trigger_id, number, tick, start, end, outcome, task_id in self._raw.execute(FIRES):
            known = self._known.get(trigger_id)
            if known is None or number > len(known.fires):
                fire = Fire(number, (tick, None if start is None else (start, end)), outcome, task_id)
                self._new.setdefault(trigger_id, []).append(fire)
                if known is not None and outcome == "created":
                    self._history.fired[task_id] = {**known.wanted.task, "taskGroupId": task_id}

    def committed(self, now: int) -> None:
        """Every change of this commit must be explained."""
        rows = {row[0]: row for row in self._raw.execute(TRIGGERS)}
        for trigger_id in sorted({*rows, *self._known}):
            try:
                self._explain(trigger_id, rows.get(trigger_id), now)
            except Violation as violation:
                self._history.violated(f"trigger {trigger_id}: {violation}")

    def _explain(self, trigger_id: str, row: Sequence[Any] | None, now: int) -> None:
        known = self._known.get(trigger_id)
        if row is None:
            self._called(trigger_id, "delete_trigger")
            del self._known[trigger_id]
            return
        after = _standing(row)
        _look_at_ranges(after)
        if known is None:
            known = self._known[trigger_id] = self._created(trigger_id, row, after, now)
        elif row[7] != known.version:
            if row[7] != known.version + 1:
                raise Violation(f"version {row[7]} after {known.version}")
            try:
                self._changed(trigger_id, known, after, now)
            finally:
                known.version, known.standing = row[7], after
        elif trigger_id in self._new:
            raise Violation("it has fired, and stays as it was")
        else:
            return
        known.states.append((self._history.commits, after.state))
        if after.mark is not None:
            self._look_at_mark(trigger_id, after.mark, known)

    def _created(self, trigger_id: str, row: Sequence[Any], after: Standing, now: int) -> Known:
        call = self._called(trigger_id, "create_trigger")
        wanted = wanted_of(call.request.body)
        most = call.request.body["interval"].get("randomOffset", 0) * 1000
        known = Known(wanted, row[2], row[3], after, row[7], self._history.time())
        if row[2] != now or not 0 <= row[3] < max(most, 1):
            raise Violation(f"it was created at {row[2]}, {row[3]} ms off")
        first = Standing(
            "active", known.tick_after(now), now if wanted.immediate else None, mark=wanted.start
        )
        if after != first:
            raise Violation(f"it begins as {after}, not as {first}")
        return known

    def _changed(self, trigger_id: str, known: Known, after: Standing, now: int) -> None:
        """What happened between two versions: a look at the clock, a call, or the ends of tasks."""
        before, fires = known.standing, self._new.get(trigger_id, [])
        looked = after.next_tick != before.next_tick or (
            before.waiting is not None and after.waiting != before.waiting and before.state == after.state
        )
        if looked or fires:
            expected = self._looked(known, after, fires, now)
        elif after.state == "paused" and before.state == "active":
            self._called(trigger_id, "pause_trigger")
            expected = [replace(before, state="paused")]
        elif after.state == "active" and before.state != "active":
            self._called(trigger_id, "resume_trigger")
            known.changed = self._history.time()
            expected = [resumed(known.wanted, before, now)]
        else:
            expected = [self._told_of_ends(known, before, after)]
        if after not in expected:
            raise Violation(f"{before} became {after}, not {expected}")
        if after.state == "blocked" and before.state != "blocked":
            self._history.announced[f"trigger {trigger_id}"].append("trigger-blocked")

    def _looked(self, known: Known, after: Standing, fires: Sequence[Fire], now: int) -> list[Standing]:
        """The clock was looked at: what it may have become. Raises Violation for ticks that are wrong."""
        before, wanted = known.standing, known.wanted
        early, late = sorted((now, self._history.clock()))
        ticks = range(before.next_tick, after.next_tick, wanted.duration)
        if before.state != "active":
            raise Violation(f"it is {before.state} and fires")
        if (after.next_tick - known.created - known.offset) % wanted.duration:
            raise Violation(f"{after.next_tick} is no tick")
        if (ticks and ticks[-1] > late + TOGETHER) or after.next_tick <= early + TOGETHER:
            raise Violation(f"looked at {early}: {[*ticks]} are due, {after.next_tick} is not")
        self._look_at_punctuality(known, ticks, now)
        found = [fire.fired for fire in fires]
        ids = [fire.task_id for fire in fires]
        if [fire.number for fire in fires] != [len(known.fires) + n + 1 for n in range(len(fires))]:
            raise Violation(f"firings are numbered {[fire.number for fire in fires]}")
        possible = []
        for moment in {early, late}:
            punctual = bool(ticks) and ticks[-1] >= moment - PUNCTUAL
            standing, fired = look(wanted, before, chosen(wanted, ticks, punctual), after.next_tick, ids)
            if fired == found:
                possible.append(standing)
        if not possible:
            raise Violation(f"{before} passes {[*ticks]} and fires {found}, not {fired}")
        twice = {fire.fired for fire in known.fires} & set(found)
        if twice and not wanted.immediate:  # a clock that was put back shows the same moment again
            raise Violation(f"{twice} fired before")
        deadline = ms(wanted.task["deadline"])
        for fire in fires:
            self._look_at_task(fire, early, late, deadline)
            if fire.outcome != "created":
                possible = [ended(wanted, one, fire.task_id, completed=False) for one in possible]
        known.fires.extend(fires)
        return possible

    def _look_at_task(self, fire: Fire, early: int, late: int, deadline: int) -> None:
        life = self._history.lives.get(fire.task_id)
        if fire.outcome == "created" and (life is None or deadline < early):
            raise Violation(f"{fire} has no task, or one that is too late")
        if fire.outcome != "created" and (life is not None or deadline >= late):
            raise Violation(f"{fire} has a task, or no reason to have none")
        if life is None:
            return
        (text,) = self._raw.execute(
            "SELECT definition FROM task_definitions WHERE task_id = ?", (fire.task_id,)
        ).fetchone()
        told = json.loads(text)["extra"]["trigger"]
        tick, span = fire.fired
        window = span and {"from": format_time(from_ms(span[0])), "to": format_time(from_ms(span[1]))}
        if told["scheduledFor"] != format_time(from_ms(tick)) or told.get("window") != window:
            raise Violation(f"the task of {fire} is told {told}")

    def _look_at_punctuality(self, known: Known, ticks: Sequence[int], now: int) -> None:
        """In calm a tick fires soon, not when somebody happens to look."""
        late = (now - ticks[0]) / 1000 if ticks else 0.0
        if late > SOON and self._history.time() - late > max(known.changed, self._history.calm_since):
            raise Violation(f"{ticks[0]} was fired {late:.1f} s late")

    def _told_of_ends(self, known: Known, before: Standing, after: Standing) -> Standing:
        """Tasks have ended, some of those that the trigger waits for."""
        there = {one.task_id: one.state for one in after.ranges}
        over = [one for one in before.unfinished if one not in after.unfinished]
        over += [
            one.task_id
            for one in before.ranges
            if one.state == "running" and there.get(one.task_id) != "running" and one.task_id not in over
        ]
        for task_id in over:
            life = self._history.lives.get(task_id)
            ends = [step.after.name for step in life.steps if step.after and step.after.ended] if life else []
            if not ends:
                raise Violation(f"it was told that {task_id} has ended")
            before = ended(known.wanted, before, task_id, completed=ends[0] == "completed")
        return before

    def _look_at_mark(self, trigger_id: str, mark: int, known: Known) -> None:
        """The watermark is kept, once it has moved."""
        marks = dict(self._raw.execute(MARKS))
        kept = marks.get(f"watermark/sim/{trigger_id}")
        if (kept is None and mark != known.wanted.start) or (kept and ms(json.loads(kept)) != mark):
            raise Violation(f"its watermark is kept as {kept}, not as {mark}")

    def _called(self, trigger_id: str, method: str) -> Open:
        for call in self._history.open["trigger"]:
            if call.request.trigger_id == trigger_id and call.request.method == method:
                return call
        raise Violation(f"nobody asked for {method}")

    # ---- replies, and the end -------------------------------------------------------------------------

    def answered(self, call: Open, reply: Reply) -> None:
        """Raises Violation when that cannot be the answer."""
        request = call.request
        known = self._known.get(str(request.trigger_id))
        states = [] if known is None else self._during(known, call.since)
        match request.method, reply.error:
            case "delete_trigger", None:
                pass
            case "create_trigger", None:
                if known is None:
                    raise Violation("there is no such trigger")
            case "pause_trigger", None if "paused" in states:
                pass
            case "resume_trigger", None if "active" in states:
                pass
            case "pause_trigger", code if code == CONFLICT and "blocked" in states:
                pass
            case _, code if code == NOT_FOUND and (known is None or known.states[0][0] > call.since):
                pass
            case _:
                raise Violation(f"it was {states}")

    @staticmethod
    def _during(known: Known, since: int) -> list[str]:
        before = [state for commit, state in known.states if commit <= since][-1:]
        return [*before, *(state for commit, state in known.states if commit > since)]

    def stuck(self, now: int) -> list[str]:
        """What should have fired by now."""
        found = []
        for trigger_id, known in self._known.items():
            standing = known.standing
            if standing.state != "active":
                continue
            if standing.next_tick < now:
                found.append(f"trigger {trigger_id} is due since {standing.next_tick}")
            for task_id in standing.unfinished:
                life = self._history.lives[task_id]
                if life.state is None or (life.state.ended and life.steps[-1].now < now):
                    found.append(f"trigger {trigger_id} waits for {task_id}, which has ended")
            if standing.waiting is not None and not standing.unfinished and standing.waiting < now:
                found.append(f"trigger {trigger_id} waits for nothing since {standing.waiting}")
        return found


def _standing(row: Sequence[Any]) -> Standing:
    progress = json.loads(row[6])
    ranges = (
        Covered((start, end), task_id, state, tries)
        for start, end, task_id, state, tries in progress.get("ranges", ())
    )
    return Standing(
        row[1], row[4], row[5], tuple(progress.get("unfinished", ())), progress.get("mark"), tuple(ranges)
    )


def _look_at_ranges(standing: Standing) -> None:
    """Contiguous ranges begin at the watermark and have no holes (TR-5)."""
    spans = [one.span for one in standing.ranges]
    if spans and spans[0][0] != standing.mark:
        raise Violation(f"{spans} do not begin at {standing.mark}")
    if any(one[1] != two[0] for one, two in pairwise(spans)):
        raise Violation(f"{spans} are not contiguous")
