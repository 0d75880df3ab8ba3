"""What a round has broken, told from outside: answers and deliveries against where every task stands.

The state machine is that of ``tests/simulation/model.py``, the order of messages that of
``tests/e2e/history.py``.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from schemas.queue import CreateTaskRequest
from schemas.task import TaskStatus
from tests.chaos.record import UNANSWERED, Record, Said
from tests.e2e.history import Heard
from tests.e2e.history import problems as problems_of_messages
from tests.simulation.model import Model, Numbers, Refused, Run, State, ms, run_of, shown_of

EXPECTED: Final = (UNANSWERED, 200, 409, 503)
"""Statuses that a round may bring. No other is an answer to these calls, whatever is broken."""


class Judge:
    """Judges one round whose tasks have these ``definitions`` and stand like this in the end."""

    def __init__(
        self,
        definitions: Mapping[str, CreateTaskRequest],
        statuses: Sequence[TaskStatus],
        record: Record,
        claim_timeout: float,
    ) -> None:
        self._definitions = definitions
        self._statuses = statuses
        self._record = record
        self._claim_timeout = round(claim_timeout * 1000)
        self._final = {status.task_id: status.to_wire() for status in statuses}

    def deliveries(self, heard: Sequence[Heard]) -> list[str]:
        """Every change told at least once, per task in commit order, with a status that was."""
        waits = {task_id: definition.dependencies for task_id, definition in self._definitions.items()}
        found = problems_of_messages(heard, self._statuses, waits, self._record.repeated())
        for message in heard:
            if (status := message.body.get("status")) is not None:
                found += (f"message {message.exchange}: {text}" for text in self._forgotten(status))
        return found

    def calls(self) -> list[str]:
        """Every answer against the end."""
        return [
            *self._unended(),
            *self._impossible(),
            *self._unexpected(),
            *self._lost(),
            *self._held_twice(),
        ]

    def _unended(self) -> Iterator[str]:
        for task_id in self._definitions.keys() - self._final.keys():
            yield f"{task_id}: was created and does not exist"
        for status in self._statuses:
            if status.state in ("unscheduled", "pending", "running"):
                yield f"{status.task_id}: never ended, is {status.state}"

    def _impossible(self) -> Iterator[str]:
        """Each life must be one of the model's: runs one after another, each resolved once, for a reason."""
        for status in self._statuses:
            definition = self._definitions[status.task_id].to_wire()
            try:
                lived = _relived(definition, status.to_wire(), self._claim_timeout)
            except Refused as refused:
                yield f"{status.task_id}: its life is refused by the model ({refused}): {status.to_wire()}"
                continue
            if lived.shown != shown_of(status.to_wire()):
                yield f"{status.task_id}: stands at {status.to_wire()}, the model at {lived.shown}"

    def _unexpected(self) -> Iterator[str]:
        for said in self._record.answers:
            if said.status not in EXPECTED:
                yield f"{said.by} asked {said.call} and was answered {said.status} {said.answer}"

    def _lost(self) -> Iterator[str]:
        """What an answer shows has been committed, and stays."""
        for said in self._record.answers:
            if said.status != 200 or said.answer is None:
                continue
            for claim in said.answer.get("tasks", ()):
                yield from self._lost_of(said, claim["status"])
            if "status" in said.answer:
                yield from self._lost_of(said, said.answer["status"])

    def _lost_of(self, said: Said, status: Mapping[str, Any]) -> Iterator[str]:
        yield from (
            f"{said.by} asked {said.call}, answered and forgotten: {text}" for text in self._forgotten(status)
        )
        if said.task is not None and said.task[2] in ("completed", "failed", "exception"):
            _, run_id, verb = said.task
            assert run_id is not None
            run = status["runs"][run_id]
            if run["state"] != verb or run.get("workerId") != said.by:
                yield f"{said.by} asked {said.call} and was answered with {run}"

    def _forgotten(self, status: Mapping[str, Any]) -> Iterator[str]:
        """A status that was shown is a part of the task's life."""
        final = self._final.get(status["taskId"])
        if final is None:
            yield f"{status['taskId']} does not exist"
            return
        stands, shown = shown_of(final)[2], shown_of(dict(status))[2]
        for number, run in enumerate(shown):
            if number >= len(stands) or not _precedes(run, stands[number]):
                yield f"{status['taskId']}: run {number} was {run} and is {stands[number : number + 1]}"

    def _held_twice(self) -> Iterator[str]:
        """No run is handed out twice."""
        holders: dict[tuple[str, int], str] = {}
        for said in self._record.answers:
            if said.status != 200 or "claim-work/" not in said.call:
                continue
            for claim in (said.answer or {}).get("tasks", ()):
                run = (claim["status"]["taskId"], claim["runId"])
                if run in holders:
                    yield f"run {run} was handed out to {holders[run]} and to {said.by}"
                holders[run] = said.by
                if claim["status"]["runs"][claim["runId"]]["workerId"] != said.by:
                    yield f"run {run} was handed out to {said.by} as another worker's"


def _precedes(before: Run, after: Run) -> bool:
    """Whether a run can have become the other."""
    if before.ended:
        return before == after
    same = before.created == after.created and before.scheduled == after.scheduled
    if before.state == "pending":
        return same
    return (
        same
        and (before.worker, before.started) == (after.worker, after.started)
        and (before.taken_until or 0) <= (after.taken_until or 0)
    )


def _relived(definition: Mapping[str, Any], status: Mapping[str, Any], claim_timeout: int) -> State:
    """The state that the model reaches on this way. Raises Refused where it cannot go on."""
    model = Model(Numbers(claim_timeout, deadline_delay=0, expiry_grace=0, drift=0, max_deadline=0))
    retries = definition["retries"]
    state = State(retries, ms(definition["deadline"]), definition["priority"], retries)
    for number, run in enumerate(map(run_of, status["runs"])):
        if len(state.runs) == number and run.created == "scheduled":
            state = model.freed(state, run.scheduled)
        if run.started is not None:
            state = model.claim(state, run.started, run.worker or "")
            if run.taken_until != run.started + claim_timeout:
                state = model.reclaim(state, (run.taken_until or 0) - claim_timeout, number)
        if run.resolved is not None:
            state = _resolved(model, state, number, run)
    return state


def _resolved(model: Model, state: State, number: int, run: Run) -> State:
    now = run.resolved or 0
    match run.resolved_as:
        case "completed" | "failed" as outcome:
            return model.report(state, now, number, outcome)
        case "canceled":
            return model.cancel(state, now)
        case "deadline-exceeded":
            return model.deadline_passed(state, now)
        case "claim-expired":
            return model.claim_expired(state, now)
        case reason:
            return model.report_exception(state, now, number, reason or "")
