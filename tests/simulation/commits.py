"""Every change of a commit must be a transition of the model, made by a call that is open or by time.

Reads the tables after each commit: they are what was promised to be kept.
"""

import json
import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

from tests.simulation.history import Group, History, Life, Step, Violation
from tests.simulation.model import Refused, State, events_of, ms, run_of, satisfies
from tests.simulation.plan import PRIORITIES

TASKS: Final = (
    "SELECT task_id, version, state, priority, deadline, retries, retries_left, ever_resolved, claimed_by_id,"
    " runs, taken_until, queue_order FROM tasks"
)
MOST_TRANSITIONS: Final = 200


class Commits:
    """Judges what processes commit."""

    def __init__(self, history: History, raw: sqlite3.Connection) -> None:
        self._history = history
        self._raw = raw
        self._dependents: dict[str, set[str]] = defaultdict(set)
        self._unexplained: dict[str, Sequence[Any]] = {}

    def committed(self, now: int) -> None:
        """Every change of this commit must be explained."""
        self._history.commits += 1
        self._look_at_groups(now)
        rows = self._raw.execute(TASKS).fetchall()
        self._unexplained = {row[0]: row for row in rows if self._is_news(row)}
        try:
            while self._unexplained:
                self._explain(self._unexplained.popitem()[1], now)
            if len(rows) != sum(life.state is not None for life in self._history.lives.values()):
                self._look_at_deleted({row[0] for row in rows}, now)
        except Violation as violation:
            self._history.violated(str(violation))

    def _is_news(self, row: Sequence[Any]) -> bool:
        life = self._history.lives.get(row[0])
        return life is None or life.version != row[1] or life.state is None

    def _explain(self, row: Sequence[Any], now: int) -> None:
        task_id, version, name, priority, deadline, retries, left, ever, by_id, runs, taken, order = row
        after = State(
            retries, deadline, PRIORITIES[priority], left,
            tuple(run_of(run) for run in json.loads(runs)), bool(ever), bool(by_id),
        )  # fmt: skip
        life = self._history.lives.get(task_id)
        if life is None or life.state is None:
            life = self._explain_creation(task_id, after, now)
        elif version <= life.version:
            raise Violation(f"{task_id}: version {version} after {life.version}")
        life.version = version
        for _ in range(MOST_TRANSITIONS):
            state = life.state
            assert state is not None
            if state == after:
                break
            try:
                following = self._next(task_id, life, state, after, now)
            except Refused as refused:
                raise Violation(f"{task_id}: {state} became {after}, which is {refused}") from None
            self._take(task_id, life, state, following, now)
        else:
            raise Violation(f"{task_id}: no way from {life.state} to {after}")
        if name != after.name:
            raise Violation(f"{task_id}: its row says {name}, its runs say {after.name}")
        if name == "running" and taken != after.runs[-1].taken_until:
            raise Violation(f"{task_id}: runs without a timer for its claim: {taken}")
        if name == "pending" and order is None:
            raise Violation(f"{task_id}: is pending without a place in the queue")
        if name != "pending":
            life.pending_since = None
        elif life.pending_since is None:
            life.pending_since = self._history.time()

    def _explain_creation(self, task_id: str, after: State, now: int) -> Life:
        for call in self._history.open[task_id]:
            if call.request.method == "create_task":
                definition = call.request.definition
                break
        else:
            raise Violation(f"{task_id}: exists, and nobody creates it")
        assert definition is not None
        waits = set()
        for needed in definition["dependencies"]:
            if needed in self._unexplained and needed not in self._history.lives:
                self._explain(self._unexplained.pop(needed), now)
            other = self._history.lives.get(needed)
            state = other.state if other is not None else None
            if needed != task_id and (other is None or state is None):
                raise Violation(f"{task_id}: waits for {needed}, which does not exist")
            if state is None or not satisfies(definition["requires"], state.name):
                waits.add(needed)
            self._dependents[needed].add(task_id)
        life = self._history.lives[task_id] = Life(definition["taskGroupId"], definition, waits_for=waits)
        try:
            group = (
                self._history.groups[life.group_id][-1][1] if self._history.groups[life.group_id] else None
            )
            if group is None:
                raise Violation(f"{task_id}: has no group")
            created = self._history.model.create(definition, now, waits=bool(waits))
        except Refused as refused:
            raise Violation(f"{task_id}: was created, which is {refused}") from None
        self._take(task_id, life, None, created, now)
        return life

    def _take(self, task_id: str, life: Life, before: State | None, after: State, now: int) -> None:
        life.steps.append(Step(self._history.commits, now, before, after, tuple(events_of(before, after))))
        if after.ended and (before is None or not before.ended):
            if before is None or not before.ever_resolved:
                self._history.ends.append((life.group_id, task_id))
            for dependent in self._dependents[task_id]:
                if satisfies(self._history.lives[dependent].definition["requires"], after.name):
                    self._history.lives[dependent].waits_for.discard(task_id)

    def _next(self, task_id: str, life: Life, state: State, after: State, now: int) -> State:
        """One transition on the way from a state to another. Raises Violation or Refused."""
        model = self._history.model
        if after.priority != state.priority and not state.ever_resolved:
            self._called(task_id, "change_task_priority", "change_task_group_priority", word=after.priority)
            return model.change_priority(state, now, after.priority)
        if not state.runs:
            return self._first_run(task_id, life, state, after, now)
        number = len(state.runs) - 1
        run, goal = state.runs[-1], after.runs[number]
        if run == goal:
            if len(after.runs) > number + 1 and after.runs[number + 1].created == "rerun":
                self._called(task_id, "rerun_task")
                return model.rerun(state, now)
            raise Violation(f"{task_id}: {state} became {after}")
        if run.state == "pending" and goal.started is not None:
            return self._claimed(task_id, life, state, after, now)
        if run.state == "running" and run.taken_until != goal.taken_until:
            self._called(task_id, "reclaim_task", run_id=number)
            return model.reclaim(state, now, number)
        match goal.resolved_as:
            case "completed" | "failed":
                self._called(task_id, f"report_{goal.resolved_as}", run_id=number)
                return model.report(state, now, number, goal.resolved_as)
            case "canceled":
                self._called(task_id, "cancel_task", "cancel_task_group")
                return model.cancel(state, now)
            case "deadline-exceeded":
                return model.deadline_passed(state, now)
            case "claim-expired":
                return model.claim_expired(state, now)
            case str(reason):
                self._called(task_id, "report_exception", run_id=number, word=reason)
                return model.report_exception(state, now, number, reason)
        raise Violation(f"{task_id}: {state} became {after}")

    def _first_run(self, task_id: str, life: Life, state: State, after: State, now: int) -> State:
        run = after.runs[0] if after.runs else None
        match run and run.created, run and run.resolved_as:
            case "scheduled", _:
                if life.waits_for:
                    self._called(task_id, "schedule_task")
                    life.by_call = True
                return self._history.model.freed(state, now)
            case "rerun", _:
                self._called(task_id, "rerun_task")
                life.by_call = True
                return self._history.model.rerun(state, now)
            case "exception", "canceled":
                self._called(task_id, "cancel_task", "cancel_task_group")
                return self._history.model.cancel(state, now)
            case "exception", "deadline-exceeded":
                return self._history.model.deadline_passed(state, now)
        raise Violation(f"{task_id}: {state} became {after}")

    def _claimed(self, task_id: str, life: Life, state: State, after: State, now: int) -> State:
        worker = after.runs[len(state.runs) - 1].worker or ""
        by_id = [call for call in self._history.open[task_id] if call.request.method == "claim_task"]
        if after.by_id or not self._history.open[life.definition["taskQueueId"]]:
            if not any(call.request.worker == worker for call in by_id):
                raise Violation(f"{task_id}: {worker} has it and did not claim it")
            return self._history.model.claim(state, now, worker, by_id=True)
        asking = self._history.open[life.definition["taskQueueId"]]
        if any(call.request.worker == worker for call in asking):
            return self._history.model.claim(state, now, worker)
        if any(call.request.worker == worker for call in by_id):
            return self._history.model.claim(state, now, worker, by_id=True)
        raise Violation(f"{task_id}: {worker} has it and did not ask for work")

    def _called(
        self, task_id: str, *methods: str, run_id: int | None = None, word: str | None = None
    ) -> None:
        """Somebody asked for this. Raises Violation."""
        for call in (
            *self._history.open[task_id],
            *self._history.open[self._history.lives[task_id].group_id],
        ):
            request = call.request
            fits = run_id in (None, request.run_id) and word in (None, request.word)
            if fits and request.method in methods:
                return
        raise Violation(f"{task_id}: nobody asked for {' or '.join(methods)} {run_id} {word}")

    def _look_at_groups(self, now: int) -> None:
        found: dict[str, Group] = {}
        for group_id, scheduler_id, sealed in self._raw.execute(
            "SELECT task_group_id, scheduler_id, sealed FROM task_groups"
        ):
            found[group_id] = Group(scheduler_id, sealed)
        for group_id in {*found, *self._history.groups}:
            known = self._history.groups[group_id]
            last = known[-1][1] if known else None
            if (group := found.get(group_id)) != last:
                known.append((self._history.commits, group))
                if last is not None and group is not None and last.sealed is not None:
                    self._history.violated(
                        f"group {group_id} was sealed at {last.sealed}, now {group.sealed}"
                    )

    def _look_at_deleted(self, found: set[str], now: int) -> None:
        for task_id, life in self._history.lives.items():
            if task_id in found or life.state is None:
                continue
            if now < ms(life.definition["expires"]) + self._history.model.numbers.expiry_grace:
                raise Violation(f"{task_id}: was forgotten before it expired")
            if not life.state.ended:
                raise Violation(f"{task_id}: was deleted {life.state.name}: it never ended")
            life.steps.append(Step(self._history.commits, now, life.state, None, ()))
            life.pending_since = None
