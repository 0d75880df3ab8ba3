"""Every verb in every state, before the deadline and at it: runs, retries, flags and messages."""

from datetime import datetime
from typing import Any

import pytest

from events.exchanges import exchange_for
from queue_service.core import telling, transitions
from queue_service.core.errors import QueueError
from queue_service.core.extras import PLAIN
from queue_service.core.task import Task
from schemas.messages import Message
from schemas.times import format_time
from tests.core.samples import CLAIM_TIMEOUT, DEADLINE, GROUP_ID, NOW, TAGS, TASK_ID, WORKER, task
from tests.core.states import STATES
from tests.core.table import VERBS, Edit, Outcome, Verb

Wire = dict[str, Any]
COUNTS = ("max_attempts", "errors", "snoozes")


@pytest.mark.parametrize("late", [False, True], ids=["in time", "at the deadline"])
@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS.keys())
def test_every_state_has_its_outcome(verb: Verb, late: bool) -> None:
    now = DEADLINE if late else NOW
    wrong = {}
    for state in STATES.keys() & verb.states:
        before = STATES[state]
        observed = observe(before, verb, now)
        expected = expect(before, verb.outcome(state, late=late), now)
        if observed != expected:
            wrong[state] = {"observed": observed, "expected": expected}
    assert not wrong


def observe(before: Task, verb: Verb, now: datetime) -> Wire:
    """What the verb did, as plain values."""
    try:
        change = verb.call(before, now)
    except QueueError as refusal:
        return {"refused": refusal.code}
    assert change.before is before
    return {
        "task": wire_of(change.after),
        "messages": told(change.messages),
        "alters": change.alters,
        "resolves": change.resolves,
        "queues": change.queues,
        "delays": change.delays,
        "keeps an error": change.error is not None,
        "ever resolved": change.after.ever_resolved,
        "claimed by id": change.after.claimed_by_id,
    }


def expect(before: Task, outcome: Outcome, now: datetime) -> Wire:
    """What the table says, in the same form."""
    if outcome.refused is not None:
        return {"refused": outcome.refused}
    kinds = [edit[0] for edit in outcome.edits]
    resolves = kinds in (["ended"], ["carrier"])
    after = expected_task(before, outcome, now)
    claimed_by_id = before.claimed_by_id
    if {"taken", "added", "waits"} & set(kinds):
        claimed_by_id = outcome.by_id
    return {
        "task": after,
        "messages": expected_messages(before, outcome, after),
        "alters": bool(outcome.edits or outcome.priority or outcome.available or outcome.released),
        "resolves": resolves,
        "queues": gets_in_line(outcome, kinds),
        "delays": outcome.available is not None,
        "keeps an error": "errors" in outcome.counts,
        "ever resolved": before.ever_resolved or resolves,
        "claimed by id": claimed_by_id,
    }


def gets_in_line(outcome: Outcome, kinds: list[str]) -> bool:
    if "taken" in kinds or outcome.available is not None:
        return False
    return outcome.released or "added" in kinds or "waits" in kinds


def test_the_table_names_every_state_for_every_verb() -> None:
    for verb in VERBS.values():
        for state in verb.states:
            verb.outcome(state, late=False)
            verb.outcome(state, late=True)


def wire_of(task: Task) -> Wire:
    return {
        "runs": [run.to_wire() for run in task.runs],
        "retriesLeft": task.retries_left,
        "priority": task.priority,
        "availableAt": task.available_at,
        "counts": {name: getattr(task.extras or PLAIN, name) for name in COUNTS},
    }


def expected_task(before: Task, outcome: Outcome, now: datetime) -> Wire:
    runs = [run.to_wire() for run in before.runs]
    counts = {name: getattr(before.extras or PLAIN, name) for name in COUNTS}
    available = outcome.available
    if available is None and not outcome.edits and not outcome.released:
        available = before.available_at
    for edit in outcome.edits:
        runs = edited(runs, edit, now)
    left = before.retries_left - 1 if outcome.takes_retry else before.retries_left
    return {
        "runs": runs,
        "retriesLeft": left if outcome.left is None else outcome.left,
        "priority": outcome.priority or before.priority,
        "availableAt": available,
        "counts": {name: value + outcome.counts.get(name, 0) for name, value in counts.items()},
    }


def edited(runs: list[Wire], edit: Edit, now: datetime) -> list[Wire]:
    at, until = format_time(now), format_time(now + CLAIM_TIMEOUT)
    match edit:
        case ("added", reason):
            return [*runs, {"runId": len(runs), "state": "pending", "reasonCreated": reason, "scheduled": at}]
        case ("carrier", reason):
            times = {"scheduled": at, "resolved": at}
            return [
                {
                    "runId": 0,
                    "state": "exception",
                    "reasonCreated": "exception",
                    "reasonResolved": reason,
                    **times,
                }
            ]
        case ("ended", state, reason):
            change = {"state": state, "reasonResolved": reason, "resolved": at}
        case ("taken", group, worker):
            holder = {"workerGroup": group, "workerId": worker}
            change = {"state": "running", "started": at, "takenUntil": until, **holder}
        case ("renewed",):
            change = {"takenUntil": until}
        case ("waits",):
            kept = {name: runs[-1][name] for name in ("runId", "reasonCreated", "scheduled")}
            return [*runs[:-1], kept | {"state": "pending"}]
        case _:
            raise ValueError(edit)
    return [*runs[:-1], runs[-1] | change]


def told(messages: tuple[Message, ...]) -> list[tuple[str, Wire]]:
    return [(exchange_for(type(message)).name, message.to_wire()) for message in messages]


def expected_messages(before: Task, outcome: Outcome, after: Wire) -> list[tuple[str, Wire]]:
    return [expected_message(before, text.split(), after) for text in outcome.tells]


def expected_message(before: Task, words: list[str], after: Wire) -> tuple[str, Wire]:
    """The exact members of ``queue-behaviour.md`` 10, with the status after the transition."""
    name, *rest = words
    if rest[1:] == ["as", "it", "was"]:
        return expected_message(before, words[:2], wire_of(before))
    status = status_of(after)
    body: Wire = {"version": 1, "status": status, "task": {"tags": TAGS}}
    if name == "task-defined":
        unscheduled = {"state": "unscheduled", "runs": [], "retriesLeft": before.retries}
        return name, body | {"status": status | unscheduled}
    if name == "task-priority-changed":
        del body["task"]
        return name, body | {"oldPriority": before.priority, "newPriority": after["priority"]}
    which, by = rest[0], rest[1:]
    runs = after["runs"]
    run_ids = {"last": len(runs) - 1, "new": len(runs) - 1, "ended": len(before.runs) - 1, "0": 0, "1": 1}
    run = runs[run_ids[which]]
    body["runId"] = run["runId"]
    if by:
        body |= {"workerGroup": run["workerGroup"], "workerId": run["workerId"]}
    if name == "task-running":
        body["takenUntil"] = run["takenUntil"]
    return name, body


def status_of(after: Wire) -> Wire:
    return {
        "taskId": TASK_ID,
        "provisionerId": "prov",
        "workerType": "type",
        "taskQueueId": "prov/type",
        "schedulerId": "sched",
        "projectId": "none",
        "taskGroupId": GROUP_ID,
        "priority": after["priority"],
        "deadline": format_time(DEADLINE),
        "expires": "2024-05-31T12:00:00.123Z",
        "retriesLeft": after["retriesLeft"],
        "state": after["runs"][-1]["state"] if after["runs"] else "unscheduled",
        "runs": after["runs"],
    }


# What is not a verb in a state


def test_create_without_dependencies_is_pending_at_once() -> None:
    change = transitions.create(task(), NOW, unmet_dependencies=False)
    run = {"runId": 0, "state": "pending", "reasonCreated": "scheduled", "scheduled": format_time(NOW)}
    assert change.before is None
    assert wire_of(change.after)["runs"] == [run]
    assert (change.alters, change.queues, change.resolves) == (True, True, False)
    outcome = Outcome(tells=("task-defined", "task-pending new"))
    assert told(change.messages) == expected_messages(task(), outcome, wire_of(change.after))


def test_create_with_unmet_dependencies_stays_unscheduled() -> None:
    change = transitions.create(task(), NOW, unmet_dependencies=True)
    assert change.after.runs == ()
    assert (change.alters, change.queues, change.resolves) == (True, False, False)
    outcome = Outcome(tells=("task-defined",))
    assert told(change.messages) == expected_messages(task(), outcome, wire_of(change.after))


def test_a_retry_must_be_claimed_anew_by_its_worker() -> None:
    """A repeat of claimTask is for the run that was claimed by id, not for the retry that came after it."""
    held = STATES["running, claimed by id"]
    retried = transitions.report_exception(held, 0, "worker-shutdown", NOW).after
    running = transitions.claim(retried, NOW, NOW + CLAIM_TIMEOUT, worker_group="eu-1", worker_id="w-1").after
    with pytest.raises(QueueError, match="cannot be claimed"):
        transitions.claim_by_id(running, 1, NOW, NOW + CLAIM_TIMEOUT, worker_group="eu-1", worker_id="w-1")


def test_a_reclaim_keeps_the_claim_by_id() -> None:
    renewed = transitions.reclaim(STATES["running, claimed by id"], 0, NOW, NOW + CLAIM_TIMEOUT).after
    again = transitions.claim_by_id(renewed, 0, NOW, DEADLINE, worker_group="eu-1", worker_id="w-1")
    assert [message.to_wire()["takenUntil"] for message in again.messages] == [
        format_time(NOW + CLAIM_TIMEOUT)
    ]


def test_held_names_a_run_that_no_worker_had() -> None:
    with pytest.raises(ValueError, match="run 0 is pending and was never claimed"):
        telling.held(STATES["pending"].runs[0])


def test_the_worker_of_a_running_run_is_the_one_that_claimed_it() -> None:
    run = STATES["running"].runs[0]
    assert telling.held(run)[:2] == (WORKER["workerGroup"], WORKER["workerId"])
