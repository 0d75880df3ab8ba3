"""Every reply, also a refusal, must be the one that the model gives at some moment of the call."""

from collections.abc import Callable, Iterable
from typing import Any, Final

from tests.simulation.calls import Reply, Request
from tests.simulation.history import Group, History, Life, Open, Step, Violation, about, of_group
from tests.simulation.model import CONFLICT, NOT_FOUND, Failure, Refused, State, ms, shown_of

SOON: Final = 5.0
"""Seconds within which a waiting worker must be given a run that became pending."""
COUNTED: Final = ("unscheduled", "pending", "running", "completed")
"""In these states a unique task keeps its equals away (U-6)."""
Way = Callable[[State, int], State]


class Replies:
    """Judges what servers answer."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._handed: set[int] = set()
        """Claims that were handed out by claimWork: the places of their steps in memory."""

    def answered(self, call: Open, reply: Reply) -> None:
        """Raises Violation when that cannot be the answer."""
        request = call.request
        match request.method:
            case "create_task":
                self._judge_creation(call, reply)
            case "claim_work":
                self._judge_work(call, reply)
            case "seal_task_group" | "cancel_task_group" | "change_task_group_priority":
                self._judge_group_call(call, reply)
            case "pause_task_queues" | "resume_task_queues":
                self._judge_pause(call, reply)
            case "task_attempts":
                self._judge_attempts(call, reply)
            case _:
                if (refused := self._disagreement(call, reply)) is not None:
                    if not (reply.error == CONFLICT and self._held_back(call)):
                        raise Violation(refused)
                elif request.method == "change_task_priority" and reply.error is None:
                    self._history.owed.append(("task-priority-changed", about(request), request.word))
                elif request.method == "claim_task" and reply.error is None:
                    self._find_claim(call, reply.body)

    def _disagreement(self, call: Open, reply: Reply) -> str | None:
        """None when the model gives this reply at some moment of the call."""
        request = call.request
        expected = set()
        for state, now in self._moments(call):
            for apply in self._ways(call):
                try:
                    if state is None:
                        raise Refused(NOT_FOUND)
                    after = apply(state, now)
                except Refused as refused:
                    expected.add(refused.code)
                    if reply.error == refused.code:
                        return None
                    continue
                expected.add(f"{after.name} {after.runs[-1:]}")
                known = (
                    after is state
                    or self._was_committed(about(request), after)
                    or self._passed_over(request, state)
                )
                if known and reply.error is None and shown_of(reply.body["status"]) == after.shown:
                    return None
        return f"the model says {expected}, the reply {reply.body.get('status')}"

    def _ways(self, call: Open) -> Iterable[Way]:
        """What the call may do to a task: one thing, but for the chance in when a failure is tried again."""
        request = call.request
        if request.method != "report_failed":
            yield lambda state, now: self._apply(request, state, now)
            return
        model, run_id, failure = self._history.model, request.run_id or 0, failure_of(request)
        dues = {state.available_at for state, _ in self._moments(call) if state is not None} | {None}
        yield lambda state, now: model.report_failed(state, now, run_id, failure, again=False, due=None)
        for due in dues:
            yield lambda state, now, due=due: model.report_failed(
                state, now, run_id, failure, again=True, due=due
            )

    def _held_back(self, call: Open) -> bool:
        """Whether a pause or an equal task is reason enough to refuse (Q-2, U-9)."""
        request, history = call.request, self._history
        if request.method == "claim_task" and (life := history.lives.get(about(request))) is not None:
            pauses = history.queues[life.definition["taskQueueId"]]
            before = [pause for pause in pauses if pause.commit <= call.since][-1:]
            during = [pause for pause in pauses if pause.commit > call.since]
            return any(pause.paused_at is not None for pause in (*before, *during))
        if request.method != "rerun_task" or about(request) not in history.lives:
            return False
        equals = history.equals(about(request))
        return any(
            state is not None and state.name in COUNTED
            for _, life in equals
            for state in self._states_since(life, call.since)
        )

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
            case "snooze_run":
                return model.snooze(state, now, run_id, wait_of(request))
            case "cancel_run":
                return model.cancel_run(state, now, run_id)
            case "delete_task":
                return model.delete(state, now)
            case "report_completed":
                return model.report(state, now, run_id, "completed")
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

    def _passed_over(self, request: Request, state: State) -> bool:
        """Whether a later call of the same transaction may have left no trace of what this one did.

        Of two changes of priority a commit shows the last, and none of a claim that was renewed in a run
        that was snoozed then. Messages tell of each change of priority.
        """
        following = [
            step.after for step in self._history.lives[about(request)].steps
            if step.before == state and step.after is not None
        ]  # fmt: skip
        match request.method:
            case "change_task_priority":
                return any(after.priority != state.priority for after in following)
            case "reclaim_task":
                return any(after.snoozes > state.snoozes for after in following)
        return False

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
            case None if reply.body.get("uniqueSkippedAsDuplicate"):
                self._judge_duplicate(call, reply)
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

    def _judge_duplicate(self, call: Open, reply: Reply) -> None:
        """U-7: the status is that of an equal task that counted."""
        status, definition = reply.body["status"], call.request.definition
        assert definition is not None
        life = self._history.lives.get(status["taskId"])
        if "unique" not in definition or life is None or life.slot != definition["payload"]["slot"]:
            raise Violation(f"{status['taskId']} is not equal to it")
        for state in self._states_since(life, call.since):
            if state is not None and state.name in COUNTED and state.shown == shown_of(status):
                return
        raise Violation(f"{status['taskId']} was at no moment as it is shown")

    def _judge_pause(self, call: Open, reply: Reply) -> None:
        queue_id = call.request.queue_id or ""
        pauses = self._history.queues[queue_id]
        if reply.error == NOT_FOUND and not any(pause.commit <= call.since for pause in pauses):
            return
        if reply.error is not None:
            raise Violation("no reason to refuse")
        ((shown),) = reply.body["taskQueues"]
        paused_at = ms(shown["pausedAt"]) if "pausedAt" in shown else None
        if (call.request.method == "pause_task_queues") != (paused_at is not None):
            raise Violation("it did the opposite")
        states = [pause for pause in pauses if pause.commit <= call.since][-1:]
        states += [pause for pause in pauses if pause.commit > call.since]
        if all(pause.paused_at != paused_at for pause in states):
            raise Violation(f"no such pause was committed: {shown}")

    def _judge_attempts(self, call: Open, reply: Reply) -> None:
        """C-1 to C-3, C-15."""
        if reply.error is not None:
            if reply.error != NOT_FOUND or all(state is not None for state, _ in self._moments(call)):
                raise Violation("no reason to refuse")
            return
        told = reply.body
        shown = (told["attempt"], told["snoozes"], len(told["errors"]),
                 ms(told["availableAt"]) if "availableAt" in told else None)  # fmt: skip
        states = [state for state, _ in self._moments(call) if state is not None]
        expected = {(state.attempt, state.snoozes, state.history, state.available_at) for state in states}
        # Its parts are read one after the other, so a commit may come between them.
        if shown not in expected and len({id(state) for state in states}) == 1:
            raise Violation(f"the model says {expected}, it says {shown}")

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
            self._find_claim(call, claim, by_work=True)

    def waited_in_vain(self, request: Request) -> None:
        """A worker waited as long as it may and got nothing."""
        history = self._history
        pauses = history.queues[request.queue_id or ""]
        if history.paused(request.queue_id or ""):
            return
        calm_since = max(history.calm_since, pauses[-1].time if pauses else 0.0)
        for task_id, life in history.lives.items():
            state, since = life.state, life.pending_since
            if state is None or life.definition["taskQueueId"] != request.queue_id:
                continue
            if since is None and state.available_at is not None:
                overdue = (history.clock() - state.available_at) / 1000
                since = history.time() - overdue if overdue > 0 else None
            if (
                since is not None
                and max(since, calm_since) < history.time() - SOON
                and state.deadline > history.clock()
            ):
                history.violated(f"{request} got nothing; {task_id} is pending since {since:.3f} s")

    def _find_claim(self, call: Open, claim: dict[str, Any], *, by_work: bool = False) -> None:
        """The commit of a claim; what claimWork hands out is handed out once."""
        shown = shown_of(claim["status"])
        steps = self._history.lives[claim["status"]["taskId"]].steps
        twice = False
        for step in reversed(steps):
            if step.commit <= call.since and by_work:
                break
            found = step.after is not None and step.after.shown == shown
            if found and shown[2][claim["runId"]].worker == call.request.worker:
                if not by_work:
                    return
                if id(step) not in self._handed:
                    self._handed.add(id(step))
                    return
                twice = True
        what = "was handed out twice" if twice else "was never committed"
        raise Violation(f"the claim {shown} {what}")

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


def failure_of(request: Request) -> Failure:
    """What a reportFailed tells."""
    body = request.body
    again = ms(body["retryAt"]) if "retryAt" in body else None
    return Failure(bool(body), body.get("retry", True), again)


def wait_of(request: Request) -> int:
    """For how long a snooze puts a run off, in milliseconds."""
    return round(request.body["delay"] * 1000)
