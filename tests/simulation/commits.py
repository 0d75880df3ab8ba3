"""Every change of a commit must be a transition of the model, made by a call that is open or by time.

Reads the tables after each commit: they are what was promised to be kept.
"""

import json
import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

from tests.simulation.history import Group, History, Life, Pause, Step, Violation
from tests.simulation.model import Refused, State, events_of, ms, run_of, satisfies
from tests.simulation.plan import PRIORITIES
from tests.simulation.replies import failure_of, wait_of

TASKS: Final = (
    "SELECT task_id, version, state, priority, deadline, retries, retries_left, ever_resolved, claimed_by_id,"
    " runs, taken_until, queue_order, available_at, extras FROM tasks"
)
LIVING: Final = ("unscheduled", "pending", "running")
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
        self._look_at_queues()
        rows = self._raw.execute(TASKS).fetchall()
        self._unexplained = {row[0]: row for row in rows if self._is_news(row)}
        try:
            while self._unexplained:
                self._explain(self._unexplained.popitem()[1], now)
            if len(rows) != sum(life.state is not None for life in self._history.lives.values()):
                self._look_at_deleted({row[0] for row in rows}, now)
            self._look_at_equals()
        except Violation as violation:
            self._history.violated(str(violation))

    def _is_news(self, row: Sequence[Any]) -> bool:
        life = self._history.lives.get(row[0])
        return life is None or life.version != row[1] or life.state is None

    def _explain(self, row: Sequence[Any], now: int) -> None:
        (
            task_id,
            version,
            name,
            priority,
            deadline,
            retries,
            left,
            ever,
            by_id,
            runs,
            taken,
            order,
            due,
            more,
        ) = row
        counted = json.loads(more) if more else {}
        after = State(
            retries, deadline, PRIORITIES[priority], left,
            tuple(run_of(run) for run in json.loads(runs)), bool(ever), bool(by_id),
            due, counted.get("errors", 0), counted.get("snoozes", 0),
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
        if not after.in_line:
            life.pending_since = None
        elif life.pending_since is None:
            life.pending_since = self._history.time()

    def _explain_creation(self, task_id: str, after: State, now: int) -> Life:
        for call in self._history.open[task_id]:
            if call.request.method == "create_task":
                definition = call.request.definition
                break
        else:
            definition = self._history.fired.get(task_id)
        if definition is None:
            raise Violation(f"{task_id}: exists, and nobody creates it")
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
        life = self._history.lives.setdefault(task_id, Life(definition["taskGroupId"], definition))
        life.waits_for = waits
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
        told = tuple(events_of(before, after))
        perhaps: tuple[tuple[str, int | None], ...] = ()
        if (
            after.name == "exception"
            and before is not None
            and before.name == "pending"
            and not before.in_line
        ):
            perhaps = (("task-pending", len(before.runs) - 1),)  # a rerun may have come between
        life.steps.append(Step(self._history.commits, now, before, after, told, perhaps))
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
        if run.state == "running" and after.snoozes > state.snoozes:
            return self._snoozed(task_id, state, after, number, now)
        if run.state == "pending" and state.available_at is not None and not goal.ended:
            if state.available_at <= now:
                return model.come_due(state, now)
            self._called(task_id, "rerun_task")
            return model.rerun(state, now)
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
            case "completed":
                self._called(task_id, "report_completed", run_id=number)
                return model.report(state, now, number, "completed")
            case "failed":
                return self._failed(task_id, state, after, number, now)
            case "canceled" if after.errors > state.errors:
                self._called(task_id, "cancel_run", run_id=number)
                return model.cancel_run(state, now, number)
            case "canceled":
                self._called(task_id, "cancel_task", "cancel_task_group")
                return model.cancel(state, now)
            case "deadline-exceeded":
                return model.deadline_passed(state, now)
            case "claim-expired":
                return model.claim_expired(state, now)
            case "intermittent-task":
                return self._failed(task_id, state, after, number, now)
            case str(reason):
                self._called(task_id, "report_exception", run_id=number, word=reason)
                return model.report_exception(state, now, number, reason)
        raise Violation(f"{task_id}: {state} became {after}")

    def _failed(self, task_id: str, state: State, after: State, number: int, now: int) -> State:
        """The end of a run by a failure or by an exception that allows another one. Raises Violation."""
        model, found, why = self._history.model, [], "nobody asked for it"
        again = after.runs[number].state == "exception"
        for call in list(self._history.open[task_id]):
            request = call.request
            if request.run_id != number:
                continue
            try:
                if request.method == "report_failed":
                    failure = failure_of(request)
                    due = after.available_at if after.available_at and len(after.runs) == number + 2 else None
                    if due is None and again:
                        due = model.first_due(state, now, failure)  # what came of it was changed at once
                    found.append(model.report_failed(state, now, number, failure, again=again, due=due))
                elif again and request.method == "report_exception" and request.word == "intermittent-task":
                    found.append(model.report_exception(state, now, number, "intermittent-task"))
            except Refused as refused:
                why = str(refused)
        if not found:
            raise Violation(f"{task_id}: {state} became {after}: {why}")
        return next((one for one in found if one.errors == after.errors), found[0])

    def _snoozed(self, task_id: str, state: State, after: State, number: int, now: int) -> State:
        waits = [
            wait_of(call.request)
            for call in self._history.open[task_id]
            if call.request.method == "snooze_run" and call.request.run_id == number
        ]
        if not waits:
            raise Violation(f"{task_id}: was snoozed, and nobody asked for it")
        fitting = [wait for wait in waits if after.available_at == (now + wait if wait else None)]
        return self._history.model.snooze(state, now, number, (fitting or waits)[0])

    def _still_missing(self, life: Life) -> set[str]:
        """What a task waits for; an end from before a rerun may count, as dependents are told of it later."""
        requires = life.definition["requires"]
        return {
            needed
            for needed in life.waits_for
            if not any(
                step.after is not None and satisfies(requires, step.after.name)
                for step in self._history.lives[needed].steps
            )
        }

    def _first_run(self, task_id: str, life: Life, state: State, after: State, now: int) -> State:
        run = after.runs[0] if after.runs else None
        waits_for = self._still_missing(life)
        if run is None and after.available_at is not None and not waits_for:
            return self._history.model.freed(state, now)
        match run and run.created, run and run.resolved_as:
            case "scheduled", _ if state.available_at is not None and state.available_at <= now:
                return self._history.model.come_due(state, now)
            case "scheduled", _:
                if waits_for or state.wishes.held or state.available_at is not None:
                    self._called(task_id, "schedule_task")
                    life.by_call = True
                    return self._history.model.schedule(state, now)
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
        if self._history.paused(life.definition["taskQueueId"]):
            raise Violation(f"{task_id}: was claimed while its task queue is paused")
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

    def _look_at_queues(self) -> None:
        """Pauses and their ends (Q-3)."""
        history = self._history
        for queue_id, paused_at in self._raw.execute("SELECT task_queue_id, paused_at FROM task_queues"):
            known = history.queues[queue_id]
            if not known:
                known.append(Pause(history.commits, history.time(), None))
            before = known[-1].paused_at
            if before == paused_at:
                continue
            word = "resume" if paused_at is None else "pause"
            if before is not None and paused_at is not None:
                history.violated(f"{queue_id} was paused at {before}, now at {paused_at}")
            if not any(call.request.method == f"{word}_task_queues" for call in history.open[queue_id]):
                history.violated(f"{queue_id}: nobody asked to {word} it")
            known.append(Pause(history.commits, history.time(), paused_at))
            history.announced[f"queue {queue_id}"].append(f"queue-{word}d")

    def _look_at_equals(self) -> None:
        """Of unique tasks that are equal, one at most is to be done (U-6, U-8)."""
        living: dict[object, str] = {}
        for task_id, life in self._history.lives.items():
            if life.slot is None or life.state is None or life.state.name not in LIVING:
                continue
            other = living.setdefault(life.slot, task_id)
            if other != task_id:
                raise Violation(f"{task_id}: is {life.state.name}, and {other} is equal to it")

    def _look_at_deleted(self, found: set[str], now: int) -> None:
        for task_id, life in self._history.lives.items():
            if task_id in found or life.state is None:
                continue
            if any(call.request.method == "delete_task" for call in self._history.open[task_id]):
                try:
                    last = self._history.model.delete(life.state, now)
                except Refused:
                    raise Violation(f"{task_id}: was deleted while it runs") from None
                if last is not life.state:
                    self._take(task_id, life, life.state, last, now)
                life.steps.append(Step(self._history.commits, now, last, None, ()))
                life.pending_since = None
                continue
            if now < ms(life.definition["expires"]) + self._history.model.numbers.expiry_grace:
                raise Violation(f"{task_id}: was forgotten before it expired")
            if not life.state.ended:
                raise Violation(f"{task_id}: was deleted {life.state.name}: it never ended")
            life.steps.append(Step(self._history.commits, now, life.state, None, ()))
            life.pending_since = None
