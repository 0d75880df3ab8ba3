"""The checker of histories: every commit, every reply and every delivery is held against the model.

It reads the tables after each commit (that is what was promised to be kept), knows which calls are open, and
demands that each change is one of the model's transitions, made by an open call or by time.
"""

import json
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tests.simulation.broker import Delivery
from tests.simulation.calls import UNAVAILABLE, Reply, Request
from tests.simulation.model import (
    NOT_FOUND,
    Model,
    Refused,
    State,
    events_of,
    ms,
    run_of,
    satisfies,
    shown_of,
)
from tests.simulation.plan import PRIORITIES

TASKS: Final = (
    "SELECT task_id, version, state, priority, deadline, retries, retries_left, ever_resolved, claimed_by_id,"
    " runs, taken_until, queue_order FROM tasks"
)
MOST_TRANSITIONS: Final = 200
SOON: Final = 5.0
"""Seconds within which a waiting worker must be given a run that became pending."""


class Violation(Exception):
    """The promise is broken."""


@dataclass(eq=False)
class Open:
    """A call under way, and when it began: the number of commits then, and the service's time."""

    request: Request
    since: int
    began: int
    on_death: Callable[[], None] = lambda: None
    """What the client does when it notices that the server died."""


@dataclass(frozen=True)
class Step:
    """One transition that was committed. No state before: created; none after: deleted."""

    commit: int
    now: int
    before: State | None
    after: State | None
    told: tuple[tuple[str, int | None], ...]


@dataclass
class Life:
    """What is known of a task."""

    group_id: str
    definition: dict[str, Any]
    version: int = -1
    steps: list[Step] = field(default_factory=list)
    waits_for: set[str] = field(default_factory=set)
    by_call: bool = False
    """Scheduled by somebody, not by its dependencies."""
    pending_since: float | None = None

    @property
    def state(self) -> State | None:
        return self.steps[-1].after if self.steps else None


@dataclass(frozen=True)
class Group:
    scheduler_id: str
    sealed: int | None


class Judge:
    """``clock`` tells the service's time in milliseconds, ``time`` the seconds that have passed."""

    def __init__(
        self, model: Model, raw: sqlite3.Connection, clock: Callable[[], int], time: Callable[[], float]
    ) -> None:
        self.violations: list[str] = []
        self.calm_since = 0.0
        """Since when nothing was out of order."""
        self.commits = 0
        self.judged = 0
        self.lives: dict[str, Life] = {}
        self._model = model
        self._raw = raw
        self._clock = clock
        self._time = time
        self._open: dict[str, list[Open]] = defaultdict(list)
        """By task, group or task queue."""
        self._groups: dict[str, list[tuple[int, Group | None]]] = defaultdict(list)
        self._handed: dict[tuple[str, int], str] = {}
        self._handed_by_work: set[tuple[str, int]] = set()
        self._owed: list[tuple[str, str, str | None]] = []
        self._dependents: dict[str, set[str]] = defaultdict(set)
        self._unexplained: dict[str, Sequence[Any]] = {}
        self._ends: list[tuple[str, str]] = []

    def violated(self, text: str) -> None:
        self.violations.append(f"at {self._time():.3f} s: {text}")

    # ---- calls ----------------------------------------------------------------------------------------

    def opened(self, request: Request) -> Open:
        """The call reaches a server."""
        call = Open(request, self.commits, self._clock())
        self._open[_about(request)].append(call)
        return call

    def ended(self, call: Open) -> None:
        """Nothing more can come of it."""
        self._open[_about(call.request)].remove(call)

    def answered(self, call: Open, reply: Reply) -> None:
        """The server has answered; whether the client hears of it is another matter."""
        self.judged += 1
        try:
            if reply.error != UNAVAILABLE:
                self._judge_reply(call, reply)
        except Violation as violation:
            self.violated(f"{call.request} was answered {reply.error or 'well'}: {violation}")
        self.ended(call)

    def _judge_reply(self, call: Open, reply: Reply) -> None:
        request = call.request
        match request.method:
            case "create_task":
                self._judge_creation(call, reply)
            case "claim_work":
                self._judge_work(call, reply)
            case "seal_task_group" | "cancel_task_group" | "change_task_group_priority":
                self._judge_group_call(call, reply)
            case _:
                if (refused := self._disagreement(call, reply)) is not None:
                    raise Violation(refused)
                if request.method == "change_task_priority" and reply.error is None:
                    self._owed.append(("task-priority-changed", _about(request), request.word))
                if request.method == "claim_task" and reply.error is None:
                    self._hand_out(request, reply.body)

    def _disagreement(self, call: Open, reply: Reply) -> str | None:
        """None when the model gives this reply at some moment of the call."""
        request = call.request
        expected = set()
        for state, now in self._moments(call):
            try:
                if state is None:
                    raise Refused(NOT_FOUND)
                after = self._apply(request, state, now)
            except Refused as refused:
                expected.add(refused.code)
                if reply.error == refused.code:
                    return None
                continue
            expected.add(f"{after.name} {after.runs[-1:]}")
            known = after is state or self._was_committed(_about(request), after)
            if known and reply.error is None and shown_of(reply.body["status"]) == after.shown:
                return None
        return f"the model says {expected}, the reply {reply.body.get('status')}"

    def _apply(self, request: Request, state: State, now: int) -> State:
        model, run_id, word = self._model, request.run_id or 0, request.word or ""
        match request.method:
            case "status":
                return state
            case "schedule_task":
                return model.schedule(state, now)
            case "rerun_task":
                return model.rerun(state, now)
            case "cancel_task":
                return model.cancel(state, now)
            case "change_task_priority":
                return model.change_priority(state, now, word)
            case "claim_task":
                return model.claim_task(state, now, run_id, request.worker or "")
            case "reclaim_task":
                return model.reclaim(state, now, run_id)
            case "report_completed":
                return model.report(state, now, run_id, "completed")
            case "report_failed":
                return model.report(state, now, run_id, "failed")
            case "report_exception":
                return model.report_exception(state, now, run_id, word)
        raise NotImplementedError(request.method)

    def _moments(self, call: Open) -> Iterable[tuple[State | None, int]]:
        """The states that the task was in while the call was under way, each with the times it may meet."""
        life = self.lives.get(_about(call.request))
        steps = life.steps if life is not None else []
        first: State | None = None
        during: list[Step] = []
        for step in steps:
            if step.commit <= call.since:
                first = step.after
            else:
                during.append(step)
        times = {call.began, self._clock(), *(step.now for step in during)}
        for state in (first, *(step.after for step in during)):
            for now in times:
                yield state, now

    def _was_committed(self, task_id: str, state: State) -> bool:
        return any(step.after == state for step in reversed(self.lives[task_id].steps))

    def _judge_creation(self, call: Open, reply: Reply) -> None:
        request = call.request
        task_id, definition = request.task_id, request.definition
        assert task_id is not None
        assert definition is not None
        groups = self._groups_during(definition["taskGroupId"], call.since)
        barred = [
            group is not None
            and (group.sealed is not None or group.scheduler_id != definition["schedulerId"])
            for group in groups
        ]
        moments = list(self._moments(call))
        match reply.error:
            case None:
                if all(barred):
                    raise Violation("its group is sealed, or has another scheduler")
                shown = shown_of(reply.body["status"])
                if all(state is None or state.shown != shown for state, _ in moments):
                    raise Violation(f"no such state was committed: {shown}")
            case "RequestConflict":
                other = any(s is not None and s.priority != definition["priority"] for s, _ in moments)
                if not (any(barred) or other):
                    raise Violation("nothing is in conflict")
            case "InputError":
                if not (
                    any(self._out_of_time(definition, now) for _, now in moments)
                    or self._lacks_dependency(task_id, definition, call.since)
                ):
                    raise Violation("nothing is wrong with it")
            case other_error:
                raise Violation(f"no reason for {other_error}")

    def _out_of_time(self, definition: dict[str, Any], now: int) -> bool:
        try:
            self._model.check_times(definition, now)
        except Refused:
            return True
        return False

    def _lacks_dependency(self, task_id: str, definition: dict[str, Any], since: int) -> bool:
        for needed in definition["dependencies"]:
            life = self.lives.get(needed)
            if needed == task_id:
                continue
            if life is None or not life.steps or ms(life.definition["expires"]) < ms(definition["deadline"]):
                return True
            if life.steps[0].commit > since or life.state is None:
                return True
        return False

    def _judge_work(self, call: Open, reply: Reply) -> None:
        request = call.request
        if reply.error is not None:
            raise Violation("claimWork has no reason to refuse")
        tasks = reply.body["tasks"]
        if len(tasks) > request.wanted:
            raise Violation(f"{len(tasks)} runs for a worker that wants {request.wanted}")
        for claim in tasks:
            self._hand_out(request, claim)
            self._find_claim(call, claim)

    def waited_in_vain(self, request: Request) -> None:
        """A worker waited as long as it may and got nothing."""
        for task_id, life in self.lives.items():
            state, since = life.state, life.pending_since
            if (
                state is not None
                and since is not None
                and life.definition["taskQueueId"] == request.queue_id
                and max(since, self.calm_since) < self._time() - SOON
                and state.deadline > self._clock()
            ):
                self.violated(f"{request} got nothing; {task_id} is pending since {since:.3f} s")

    def _hand_out(self, request: Request, claim: dict[str, Any]) -> None:
        """No run is held by two workers."""
        run = (claim["status"]["taskId"], claim["runId"])
        holder = self._handed.setdefault(run, request.worker or "")
        if holder != request.worker or (request.method == "claim_work" and run in self._handed_by_work):
            raise Violation(f"run {run} was handed out to {holder} and to {request.worker}")
        if request.method == "claim_work":
            self._handed_by_work.add(run)

    def _find_claim(self, call: Open, claim: dict[str, Any]) -> None:
        shown = shown_of(claim["status"])
        steps = self.lives[claim["status"]["taskId"]].steps
        for step in reversed(steps):
            if step.commit <= call.since:
                break
            found = step.after is not None and step.after.shown == shown
            if found and shown[2][claim["runId"]].worker == call.request.worker:
                return
        raise Violation(f"no such claim was committed: {shown}")

    def _groups_during(self, group_id: str, since: int) -> list[Group | None]:
        first: Group | None = None
        during: list[Group | None] = []
        for commit, group in self._groups[group_id]:
            if commit <= since:
                first = group
            else:
                during.append(group)
        return [first, *during]

    def _judge_group_call(self, call: Open, reply: Reply) -> None:
        request = call.request
        group_id = request.group_id or ""
        groups = self._groups_during(group_id, call.since)
        match reply.error:
            case "ResourceNotFound":
                if all(group is not None for group in groups):
                    raise Violation("the group was there all the time")
                return
            case "RequestConflict":
                unsealed = any(group is not None and group.sealed is None for group in groups)
                if request.method != "cancel_task_group" or not unsealed:
                    raise Violation("nothing is in conflict")
                return
            case str():
                raise Violation("no reason to refuse")
        if request.method == "seal_task_group":
            if groups[-1] is not None and groups[-1].sealed != ms(reply.body["sealed"]):
                raise Violation(f"the group was sealed at {groups[-1].sealed}")
            self._owed.append(("task-group-sealed", _group(group_id), None))
            return
        changed = set(reply.body["taskIds"])
        if request.method == "change_task_group_priority":
            self._owed.append(("task-group-priority-changed", _group(group_id), request.word))
        for task_id, life in self.lives.items():
            if life.group_id != group_id:
                continue
            first, *steps = self._states_since(life, call.since)
            if request.method == "cancel_task_group":
                done = any(s is not None and s.runs and s.runs[-1].resolved_as == "canceled" for s in steps)
                open_all_the_time = all(
                    s is not None and not s.ended and s.deadline > max(call.began, self._clock())
                    for s in (first, *steps)
                )
            else:
                done = any(s is not None and s.priority == request.word for s in steps)
                open_all_the_time = False
            if task_id in changed and not done:
                raise Violation(f"{task_id} is said to be changed and is not")
            if task_id not in changed and open_all_the_time:
                raise Violation(f"{task_id} was left out")

    @staticmethod
    def _states_since(life: Life, since: int) -> list[State | None]:
        first: State | None = None
        during: list[State | None] = []
        for step in life.steps:
            if step.commit <= since:
                first = step.after
            else:
                during.append(step.after)
        return [first, *during]

    # ---- commits --------------------------------------------------------------------------------------

    def committed(self, now: int) -> None:
        """Every change of this commit must be explained."""
        self.commits += 1
        self._look_at_groups(now)
        rows = self._raw.execute(TASKS).fetchall()
        self._unexplained = {row[0]: row for row in rows if self._is_news(row)}
        try:
            while self._unexplained:
                self._explain(self._unexplained.popitem()[1], now)
            if len(rows) != sum(life.state is not None for life in self.lives.values()):
                self._look_at_deleted({row[0] for row in rows}, now)
        except Violation as violation:
            self.violated(str(violation))

    def _is_news(self, row: Sequence[Any]) -> bool:
        life = self.lives.get(row[0])
        return life is None or life.version != row[1] or life.state is None

    def _explain(self, row: Sequence[Any], now: int) -> None:
        task_id, version, name, priority, deadline, retries, left, ever, by_id, runs, taken, order = row
        after = State(
            retries, deadline, PRIORITIES[priority], left,
            tuple(run_of(run) for run in json.loads(runs)), bool(ever), bool(by_id),
        )  # fmt: skip
        life = self.lives.get(task_id)
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
            life.pending_since = self._time()

    def _explain_creation(self, task_id: str, after: State, now: int) -> Life:
        for call in self._open[task_id]:
            if call.request.method == "create_task":
                definition = call.request.definition
                break
        else:
            raise Violation(f"{task_id}: exists, and nobody creates it")
        assert definition is not None
        waits = set()
        for needed in definition["dependencies"]:
            if needed in self._unexplained and needed not in self.lives:
                self._explain(self._unexplained.pop(needed), now)
            other = self.lives.get(needed)
            state = other.state if other is not None else None
            if needed != task_id and (other is None or state is None):
                raise Violation(f"{task_id}: waits for {needed}, which does not exist")
            if state is None or not satisfies(definition["requires"], state.name):
                waits.add(needed)
            self._dependents[needed].add(task_id)
        life = self.lives[task_id] = Life(definition["taskGroupId"], definition, waits_for=waits)
        try:
            group = self._groups[life.group_id][-1][1] if self._groups[life.group_id] else None
            if group is None:
                raise Violation(f"{task_id}: has no group")
            created = self._model.create(definition, now, waits=bool(waits))
        except Refused as refused:
            raise Violation(f"{task_id}: was created, which is {refused}") from None
        self._take(task_id, life, None, created, now)
        return life

    def _take(self, task_id: str, life: Life, before: State | None, after: State, now: int) -> None:
        life.steps.append(Step(self.commits, now, before, after, tuple(events_of(before, after))))
        if after.ended and (before is None or not before.ended):
            if before is None or not before.ever_resolved:
                self._ends.append((life.group_id, task_id))
            for dependent in self._dependents[task_id]:
                if satisfies(self.lives[dependent].definition["requires"], after.name):
                    self.lives[dependent].waits_for.discard(task_id)

    def _next(self, task_id: str, life: Life, state: State, after: State, now: int) -> State:
        """One transition on the way from a state to another. Raises Violation or Refused."""
        model = self._model
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
                return self._model.freed(state, now)
            case "rerun", _:
                self._called(task_id, "rerun_task")
                life.by_call = True
                return self._model.rerun(state, now)
            case "exception", "canceled":
                self._called(task_id, "cancel_task", "cancel_task_group")
                return self._model.cancel(state, now)
            case "exception", "deadline-exceeded":
                return self._model.deadline_passed(state, now)
        raise Violation(f"{task_id}: {state} became {after}")

    def _claimed(self, task_id: str, life: Life, state: State, after: State, now: int) -> State:
        worker = after.runs[len(state.runs) - 1].worker or ""
        by_id = [call for call in self._open[task_id] if call.request.method == "claim_task"]
        if after.by_id or not self._open[life.definition["taskQueueId"]]:
            if not any(call.request.worker == worker for call in by_id):
                raise Violation(f"{task_id}: {worker} has it and did not claim it")
            return self._model.claim(state, now, worker, by_id=True)
        asking = self._open[life.definition["taskQueueId"]]
        if any(call.request.worker == worker for call in asking):
            return self._model.claim(state, now, worker)
        if any(call.request.worker == worker for call in by_id):
            return self._model.claim(state, now, worker, by_id=True)
        raise Violation(f"{task_id}: {worker} has it and did not ask for work")

    def _called(
        self, task_id: str, *methods: str, run_id: int | None = None, word: str | None = None
    ) -> None:
        """Somebody asked for this. Raises Violation."""
        for call in (*self._open[task_id], *self._open[self.lives[task_id].group_id]):
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
        for group_id in {*found, *self._groups}:
            known = self._groups[group_id]
            last = known[-1][1] if known else None
            if (group := found.get(group_id)) != last:
                known.append((self.commits, group))
                if last is not None and group is not None and last.sealed is not None:
                    self.violated(f"group {group_id} was sealed at {last.sealed}, now {group.sealed}")

    def _look_at_deleted(self, found: set[str], now: int) -> None:
        for task_id, life in self.lives.items():
            if task_id in found or life.state is None:
                continue
            if now < ms(life.definition["expires"]) + self._model.numbers.expiry_grace:
                raise Violation(f"{task_id}: was forgotten before it expired")
            if not life.state.ended:
                raise Violation(f"{task_id}: was deleted {life.state.name}: it never ended")
            life.steps.append(Step(self.commits, now, life.state, None, ()))
            life.pending_since = None

    # ---- the end --------------------------------------------------------------------------------------

    def stuck(self, *names: str) -> list[str]:
        """Tasks that are in one of these states."""
        return [
            f"{task_id} {life.state.name}"
            for task_id, life in self.lives.items()
            if life.state is not None and life.state.name in names
        ]

    def finished(self, deliveries: Sequence[Delivery]) -> None:
        """Everything that was to be told must have been told, in order."""
        copies: dict[str, Delivery] = {}
        for delivery in deliveries:
            if copies.setdefault(delivery.message_id, delivery).text != delivery.text:
                self.violated(f"message-id {delivery.message_id} stands for two messages")
        told: dict[str, list[tuple[int, Delivery]]] = defaultdict(list)
        for place, delivery in enumerate(copies.values()):
            body = delivery.body
            about = body["status"]["taskId"] if "status" in body else _group(body["taskGroupId"])
            told[about].append((place, delivery))
        places = {}
        for task_id, life in self.lives.items():
            places[task_id] = self._judge_told(task_id, life, told[task_id])
        self._judge_causes(places)
        self._judge_groups(places, told)
        self._judge_owed(told)

    def _judge_told(
        self, task_id: str, life: Life, told: Sequence[tuple[int, Delivery]]
    ) -> dict[tuple[str, int | None], int]:
        """Per task in commit order; what is told again was told before."""
        expected = [(event, step.after) for step in life.steps for event in step.told]
        shown = {step.after.shown for step in life.steps if step.after is not None}
        places: dict[tuple[str, int | None], int] = {}
        for place, delivery in told:
            if delivery.exchange == "task-priority-changed":
                continue
            event = (delivery.exchange, delivery.body.get("runId"))
            status = delivery.body["status"]
            if event in places:
                if event[0] != "task-defined" and shown_of(status) not in shown:
                    self.violated(f"{task_id}: {event} told again with a status that never was: {status}")
                continue
            number = len(places)
            if number >= len(expected) or expected[number][0] != event:
                wanted = [name for name, _ in expected]
                heard = [(item.exchange, item.body.get("runId")) for _, item in told]
                self.violated(f"{task_id}: heard {heard}, to be told was {wanted}")
                return places
            state = expected[number][1]
            if event[0] == "task-defined":
                if status["runs"] or status["state"] != "unscheduled":
                    self.violated(f"{task_id}: defined as {status}")
            elif state is not None and shown_of(status) != state.shown:
                self.violated(f"{task_id}: {event} told with {shown_of(status)}, it was {state.shown}")
            places[event] = place
        if len(places) < len(expected):
            missing = [name for name, _ in expected[len(places) :]]
            self.violated(f"{task_id}: never told: {missing}")
        return places

    def _judge_causes(self, places: dict[str, dict[tuple[str, int | None], int]]) -> None:
        """A dependent is told pending after the end of what it waited for."""
        for task_id, life in self.lives.items():
            pending = places[task_id].get(("task-pending", 0))
            if pending is None or life.by_call:
                continue
            for needed in life.definition["dependencies"]:
                ends = [place for (name, _), place in places.get(needed, {}).items() if name[5:] in _ENDS]
                if needed != task_id and not any(place < pending for place in ends):
                    self.violated(f"{task_id}: told pending before the end of {needed}")

    def _judge_groups(
        self,
        places: dict[str, dict[tuple[str, int | None], int]],
        told: dict[str, list[tuple[int, Delivery]]],
    ) -> None:
        """task-group-resolved comes after the end of the group's last task."""
        last_end: dict[str, str] = {}
        for group_id, task_id in self._ends:
            last_end[group_id] = task_id
        for group_id, task_id in last_end.items():
            members = [life for life in self.lives.values() if life.group_id == group_id]
            existing = [life.state for life in members]
            if any(state is None or not state.ever_resolved for state in existing):
                continue
            ends = [place for (name, _), place in places[task_id].items() if name[5:] in _ENDS]
            heard = [
                place for place, item in told[_group(group_id)] if item.exchange == "task-group-resolved"
            ]
            if not any(place > min(ends, default=0) for place in heard):
                self.violated(f"group {group_id}: its being resolved was not told")

    def _judge_owed(self, told: dict[str, list[tuple[int, Delivery]]]) -> None:
        for exchange, about, word in self._owed:
            for _, delivery in told[about]:
                if delivery.exchange == exchange and word in (None, delivery.body.get("newPriority")):
                    break
            else:
                self.violated(f"{exchange} {word or ''} of {about} was never told")


_ENDS: Final = ("completed", "failed", "exception")


def _about(request: Request) -> str:
    return request.task_id or request.group_id or request.queue_id or ""


def _group(group_id: str) -> str:
    """Of a group, which may have the id of one of its tasks."""
    return f"group {group_id}"
