"""Changes of single tasks on lists: an outcome for each, several calls on one task, several processes."""

import asyncio

import pytest

from queue_service.core import transitions
from queue_service.core.errors import InsufficientScopes, ResourceNotFound
from queue_service.core.task import Task
from queue_service.operations.tasks import TaskCall
from tests.core.samples import GROUP_ID, HELD_BY, new_ids, task
from tests.operations.queue import LIMITS, Queue, codes, creation, report, request
from tests.store.databases import opened
from tests.store.manual_clock import ManualClock

A, B, C = new_ids(3)


def calls(task_id: str, *rules: object) -> list[TaskCall]:
    return [TaskCall(task_id, rule) for rule in rules]  # type: ignore[arg-type]


def claim_by_id(task: Task, now: object) -> object:
    return transitions.claim_by_id(task, 0, now, now + LIMITS.claim_timeout, **HELD_BY)  # type: ignore[arg-type,operator]


async def test_a_change_is_stored_told_and_answered(queue: Queue) -> None:
    await queue.create(A, dependencies=[A])
    await queue.told()
    changed = await queue.change(A, transitions.schedule)
    assert changed.state == "pending"
    assert await queue.states(A) == ["pending"]
    assert await queue.told() == [f"task-pending {A} 0"]


async def test_a_refused_call_does_not_fail_its_neighbours(queue: Queue) -> None:
    await queue.given(
        task("scheduled pending", task_id=A), task("scheduled completed", task_id=B, ever_resolved=True)
    )
    outcomes = await queue.change_all(
        TaskCall(C, transitions.cancel),
        TaskCall(A, transitions.cancel),
        TaskCall(B, report("failed")),
    )
    assert codes(outcomes) == ["ResourceNotFound", None, "RequestConflict"]
    assert await queue.states(A, B) == ["exception", "completed"]
    assert await queue.told() == [f"task-exception {A} 0"]


async def test_the_caller_is_authorized_for_the_task_as_it_stands(queue: Queue) -> None:
    await queue.given(task("scheduled pending", task_id=A))
    asked: list[str] = []

    def refuse(found: Task) -> None:
        asked.append(found.task_group_id)
        raise InsufficientScopes("no")

    outcomes = await queue.change_all(TaskCall(A, transitions.cancel, refuse))
    assert codes(outcomes) == ["InsufficientScopes"]
    assert asked == [GROUP_ID]
    assert await queue.states(A) == ["pending"]


async def test_what_does_not_exist_is_not_found_before_anybody_is_authorized(queue: Queue) -> None:
    def refuse(found: Task) -> None:
        raise AssertionError("asked for a task that does not exist")

    (outcome,) = await queue.change_all(TaskCall(A, transitions.cancel, refuse))
    assert isinstance(outcome, ResourceNotFound)


# Several calls on one task in one list


async def test_a_later_call_sees_what_an_earlier_one_did(queue: Queue) -> None:
    await queue.given(task(task_id=A))
    outcomes = await queue.change_all(*calls(A, transitions.schedule, claim_by_id, report("completed")))
    assert [found.state for found in outcomes if isinstance(found, Task)] == [
        "pending",
        "running",
        "completed",
    ]
    stored = await queue.task(A)
    assert stored is not None
    assert (stored.state, stored.version) == ("completed", 1)
    assert await queue.told() == [f"task-pending {A} 0", f"task-running {A} 0", f"task-completed {A} 0"]


async def test_equal_calls_in_one_list_have_one_effect(queue: Queue) -> None:
    await queue.given(task("scheduled running", task_id=A))
    outcomes = await queue.change_all(*calls(A, *[report("completed")] * 3))
    assert codes(outcomes) == [None] * 3
    assert await queue.told() == [f"task-completed {A} 0"] * 3
    assert await queue.unlooked_at() == [(A, "completed")]


async def test_an_end_and_a_rerun_in_one_list_still_let_dependents_go(queue: Queue) -> None:
    """Satisfaction is sticky: a rerun that shares the transaction does not take it back."""
    await queue.create_all(creation(A), creation(B, dependencies=[A]))
    await queue.run(A)
    await queue.change_all(*calls(A, report("completed"), transitions.rerun))
    assert await queue.unlooked_at() == [(A, "completed")]
    await queue.work_off_all()
    assert await queue.states(A, B) == ["pending", "pending"]


async def test_every_end_in_one_list_is_looked_at(queue: Queue) -> None:
    """A task that was resolved before and ends again is resolved again, for its group."""
    await queue.given(task("scheduled failed", task_id=A, ever_resolved=True))
    await queue.change_all(*calls(A, transitions.rerun, transitions.cancel))
    assert await queue.unlooked_at() == [(A, "exception")]


async def test_reruns_of_one_list_queue_in_their_order(queue: Queue) -> None:
    ids = new_ids(5)[::-1]
    await queue.given(*(task("scheduled failed", task_id=task_id, ever_resolved=True) for task_id in ids))
    await queue.change_all(*(TaskCall(task_id, transitions.rerun) for task_id in ids))
    assert await queue.claimed_ids(request(5)) == [ids]


async def test_a_changed_priority_moves_the_entry_and_keeps_its_age(queue: Queue, clock: ManualClock) -> None:
    for task_id, priority in ((A, "high"), (B, "low"), (C, "high")):
        await queue.create(task_id, priority=priority)
        clock.advance(seconds=1)
    await queue.change(B, lambda task, now: transitions.change_priority(task, "high", now))
    assert await queue.claimed_ids(request(3)) == [[A, B, C]]


# Several processes


@pytest.mark.parametrize(
    ("history", "rule", "message"),
    [
        ("scheduled running", report("completed"), "task-completed"),
        ("scheduled running", report("failed"), "task-failed"),
        ("scheduled pending", transitions.cancel, "task-exception"),
        ("scheduled running", transitions.cancel, "task-exception"),
        ("scheduled failed", transitions.rerun, "task-pending"),
    ],
    ids=["completed", "failed", "cancel pending", "cancel running", "rerun"],
)
async def test_equal_calls_of_two_processes_have_one_effect(
    postgres_queue: Queue,
    postgres_database_url: str,
    clock: ManualClock,
    history: str,
    rule: object,
    message: str,
) -> None:
    before = task(history, task_id=A, ever_resolved="failed" in history)
    await postgres_queue.given(before)
    async with opened(postgres_database_url, clock) as database:
        other = Queue(database)
        await asyncio.gather(
            *(process.change(A, rule) for process in (postgres_queue, other) * 4)  # type: ignore[arg-type]
        )
    stored = await postgres_queue.task(A)
    assert stored is not None
    assert stored.version == 1
    told = await postgres_queue.told()
    assert {text.split()[0] for text in told} == {message}
    assert len(told) == 8


async def test_a_report_and_a_cancel_of_two_processes_leave_one_end(
    postgres_queue: Queue, postgres_database_url: str, clock: ManualClock
) -> None:
    ids = new_ids(8)
    await postgres_queue.given(*(task("scheduled running", task_id=task_id) for task_id in ids))
    async with opened(postgres_database_url, clock) as database:
        other = Queue(database)
        for task_id in ids:
            await asyncio.gather(
                postgres_queue.change_all(TaskCall(task_id, report("completed"))),
                other.change_all(TaskCall(task_id, transitions.cancel)),
            )
    ends = {"completed": "task-completed", "exception": "task-exception"}
    states = dict(zip(ids, await postgres_queue.states(*ids), strict=True))
    assert sorted(await postgres_queue.told()) == sorted(
        f"{ends[state]} {task_id} 0" for task_id, state in states.items()
    )
    assert sorted(await postgres_queue.unlooked_at()) == sorted(states.items())
