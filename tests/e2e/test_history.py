"""The checker of histories finds what it is there for, and nothing else."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from schemas.ids import slugid
from schemas.task import Run, TaskStatus
from schemas.times import format_time
from tests.e2e.history import Heard, copies, expected_of, problems

NOW = datetime(2026, 1, 2, tzinfo=UTC)
GROUP, FIRST, SECOND = slugid(), slugid(), slugid()


def run(run_id: int, state: str, reason_created: str = "scheduled") -> Run:
    """A run that a worker has had, unless it is pending."""
    held = {"worker_group": "g", "worker_id": "w", "started": NOW} if state != "pending" else {}
    over = {"resolved": NOW, "reason_resolved": "claim-expired" if state == "exception" else state}
    return Run.model_validate(
        {
            "run_id": run_id,
            "state": state,
            "reason_created": reason_created,
            "scheduled": NOW,
            **held,
            **(over if state not in ("pending", "running") else {}),
        }
    )


def status(task_id: str, *runs: Run) -> TaskStatus:
    return TaskStatus(
        task_id=task_id,
        provisioner_id="prov",
        worker_type="type",
        task_queue_id="prov/type",
        scheduler_id="-",
        project_id="none",
        task_group_id=GROUP,
        deadline=NOW,
        expires=NOW,
        retries_left=5,
        state=runs[-1].state if runs else "unscheduled",
        runs=runs,
    )


def story(task_id: str, *states: str) -> list[Heard]:
    """The messages of a task's life in one run, with ids of their own."""
    told = [heard(task_id, "task-defined", None)]
    return told + [heard(task_id, f"task-{state}", 0) for state in states]


def heard(task_id: str, exchange: str, run_id: int | None, message_id: str = "", **runs: str) -> Heard:
    """A message whose status has the run it is about, or else the ``runs`` r0, r1 …"""
    known = {int(name[1:]): state for name, state in runs.items()}
    if run_id is not None and not known:
        known = {run_id: exchange.removeprefix("task-")}
    body: dict[str, Any] = {
        "version": 1,
        "status": {
            "taskId": task_id,
            "state": known[max(known)] if known else "unscheduled",
            "runs": [{"runId": number, "state": state} for number, state in known.items()],
        },
    }
    return Heard(exchange, message_id or slugid(), body if run_id is None else {**body, "runId": run_id})


def group_end() -> Heard:
    body = {"taskGroupId": GROUP, "schedulerId": "-", "expires": format_time(NOW)}
    return Heard("task-group-resolved", slugid(), body)


DONE = story(FIRST, "pending", "running", "completed")
STANDS = status(FIRST, run(0, "completed"))


def test_a_whole_life_is_in_order() -> None:
    assert problems([*DONE, group_end()], [STANDS]) == []


def test_a_retry_is_part_of_a_life() -> None:
    retried = [
        *story(FIRST, "pending", "running"),
        heard(FIRST, "task-exception", 0, r0="exception", r1="pending"),
        heard(FIRST, "task-pending", 1, r0="exception", r1="pending"),
    ]
    assert problems(retried, [status(FIRST, run(0, "exception"), run(1, "pending", "retry"))]) == []


def test_a_run_that_never_was_has_only_an_end() -> None:
    canceled = Run(
        run_id=0,
        state="exception",
        reason_created="exception",
        reason_resolved="canceled",
        scheduled=NOW,
        resolved=NOW,
    )
    assert [str(event) for event in expected_of(status(FIRST, canceled))] == ["defined", "exception 0"]


def test_copies_of_a_message_are_no_problem_and_are_counted() -> None:
    twice = [*DONE, *DONE, group_end()]
    assert problems(twice, [STANDS]) == []
    assert copies(twice) == len(DONE)


def test_tasks_may_be_heard_of_in_turn() -> None:
    other = story(SECOND, "pending", "running", "completed")
    mixed = [message for pair in zip(DONE, other, strict=True) for message in pair]
    assert problems([*mixed, group_end()], [STANDS, status(SECOND, run(0, "completed"))]) == []


@pytest.mark.parametrize("lost", range(4))
def test_a_lost_message_is_found(lost: int) -> None:
    told = [message for place, message in enumerate(DONE) if place != lost]
    problem, *_ = problems([*told, group_end()], [STANDS])
    assert problem.startswith(f"{FIRST}: expected defined, pending 0, running 0, completed 0; heard ")


@pytest.mark.parametrize("early", range(1, 4))
def test_a_message_that_overtook_another_is_found(early: int) -> None:
    told = [*DONE[: early - 1], DONE[early], DONE[early - 1], *DONE[early + 1 :]]
    found = problems([*told, group_end()], [STANDS])
    assert [problem.partition(":")[0] for problem in found] == [FIRST]


def test_a_message_told_again_under_another_id_is_found() -> None:
    again = replace(DONE[1], message_id="another")
    assert problems([*DONE, again, group_end()], [STANDS]) == [
        f"{FIRST}: expected defined, pending 0, running 0, completed 0; "
        "heard defined, pending 0, running 0, completed 0, pending 0"
    ]


def test_one_id_for_two_messages_is_found() -> None:
    clash = replace(DONE[3], message_id=DONE[2].message_id)
    assert f"message-id {clash.message_id} stands for different messages" in problems(
        [*DONE[:3], clash, group_end()], [STANDS]
    )


def test_a_status_from_before_the_change_is_found() -> None:
    stale = heard(FIRST, "task-running", 0, r0="pending")
    assert problems([*DONE[:2], stale, DONE[3], group_end()], [STANDS]) == [
        f"{FIRST}: the message running 0 says state pending, runs {{0: 'pending'}}"
    ]


def test_a_message_about_an_unknown_task_is_found() -> None:
    assert problems(story(SECOND), []) == [f"{SECOND}: heard defined of a task that does not exist"]


def test_a_dependent_that_did_not_wait_is_found() -> None:
    dependent = story(SECOND, "pending")
    both = [STANDS, status(SECOND, run(0, "pending"))]
    waits = {SECOND: [FIRST]}
    assert problems([dependent[0], *DONE, dependent[1]], both, waits) == []
    assert problems([*dependent, *DONE], both, waits) == [
        f"{SECOND}: heard pending before the end of {FIRST}, which it waits for"
    ]


def test_a_group_whose_end_was_not_told_is_found() -> None:
    assert problems(DONE, [STANDS]) == [f"group {GROUP}: nothing heard of its being resolved"]


def test_a_group_told_resolved_too_early_is_found() -> None:
    assert problems([*DONE[:3], group_end(), DONE[3]], [STANDS]) == [
        f"group {GROUP}: heard that it is resolved before the end of its last task"
    ]


def test_a_group_may_be_resolved_grow_and_be_resolved_again() -> None:
    both = [STANDS, status(SECOND, run(0, "completed"))]
    grown = [*DONE, group_end(), *story(SECOND, "pending", "running", "completed"), group_end()]
    assert problems(grown, both) == []
