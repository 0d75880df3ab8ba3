"""Every reply, also a refusal, must be the one that the model gives at some moment of the call."""

from collections.abc import Iterable
from typing import Any, Final

from tests.simulation.calls import UNAVAILABLE, Reply, Request
from tests.simulation.history import Group, History, Life, Open, Step, Violation, about, of_group
from tests.simulation.model import NOT_FOUND, Refused, State, ms, shown_of

SOON: Final = 5.0
"""Seconds within which a waiting worker must be given a run that became pending."""


class Replies:
    """Judges what servers answer."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._handed: dict[tuple[str, int], str] = {}
        self._handed_by_work: set[tuple[str, int]] = set()

    def answered(self, call: Open, reply: Reply) -> None:
        """The server has answered; whether the client hears of it is another matter."""
        try:
            if reply.error != UNAVAILABLE:
                self._judge_reply(call, reply)
        except Violation as violation:
            self._history.violated(f"{call.request} was answered {reply.error or 'well'}: {violation}")
        self._history.ended(call)

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
                    self._history.owed.append(("task-priority-changed", about(request), request.word))
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
            known = after is state or self._was_committed(about(request), after)
            if known and reply.error is None and shown_of(reply.body["status"]) == after.shown:
                return None
        return f"the model says {expected}, the reply {reply.body.get('status')}"

    def _apply(self, request: Request, state: State, now: int) -> State:
        model, run_id, word = self._history.model, request.run_id or 0, request.word or ""
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
        life = self._history.lives.get(about(call.request))
        steps = life.steps if life is not None else []
        first: State | None = None
        during: list[Step] = []
        for step in steps:
            if step.commit <= call.since:
                first = step.after
            else:
                during.append(step)
        times = {call.began, self._history.clock(), *(step.now for step in during)}
        for state in (first, *(step.after for step in during)):
            for now in times:
                yield state, now

    def _was_committed(self, task_id: str, state: State) -> bool:
        return any(step.after == state for step in reversed(self._history.lives[task_id].steps))

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
            self._history.model.check_times(definition, now)
        except Refused:
            return True
        return False

    def _lacks_dependency(self, task_id: str, definition: dict[str, Any], since: int) -> bool:
        for needed in definition["dependencies"]:
            life = self._history.lives.get(needed)
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
        for task_id, life in self._history.lives.items():
            state, since = life.state, life.pending_since
            if (
                state is not None
                and since is not None
                and life.definition["taskQueueId"] == request.queue_id
                and max(since, self._history.calm_since) < self._history.time() - SOON
                and state.deadline > self._history.clock()
            ):
                self._history.violated(f"{request} got nothing; {task_id} is pending since {since:.3f} s")

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
        steps = self._history.lives[claim["status"]["taskId"]].steps
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
        for commit, group in self._history.groups[group_id]:
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
            self._history.owed.append(("task-group-sealed", of_group(group_id), None))
            return
        changed = set(reply.body["taskIds"])
        if request.method == "change_task_group_priority":
            self._history.owed.append(("task-group-priority-changed", of_group(group_id), request.word))
        for task_id, life in self._history.lives.items():
            if life.group_id != group_id:
                continue
            first, *steps = self._states_since(life, call.since)
            if request.method == "cancel_task_group":
                done = any(s is not None and s.runs and s.runs[-1].resolved_as == "canceled" for s in steps)
                open_all_the_time = all(
                    s is not None and not s.ended and s.deadline > max(call.began, self._history.clock())
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
