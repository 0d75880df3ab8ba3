"""After an end: dependents go, and the group is told (``queue-behaviour.md`` 4, 5, 10)."""

import asyncio
import itertools

import pytest

from queue_service.core import transitions
from queue_service.operations import resolutions
from tests.core.samples import DEADLINE, GROUP_ID, new_ids
from tests.operations.queue import Queue, creation, report
from tests.store.databases import opened
from tests.store.manual_clock import ManualClock

A, B, C, D, E = new_ids(5)


@pytest.mark.parametrize(
    ("outcome", "states"),
    [
        ("completed", ["pending", "pending"]),
        ("failed", ["unscheduled", "pending"]),
        ("canceled", ["unscheduled", "pending"]),
    ],
)
async def test_who_goes_when_a_task_ends(queue: Queue, outcome: str, states: list[str]) -> None:
    await queue.create_all(
        creation(A),
        creation(B, dependencies=[A], requires="all-completed"),
        creation(C, dependencies=[A], requires="all-resolved"),
    )
    await queue.end(A, outcome)
    await queue.work_off_all()
    assert await queue.states(B, C) == states


async def test_a_retry_lets_nobody_go(queue: Queue) -> None:
    await queue.create_all(creation(A), creation(B, dependencies=[A], requires="all-resolved"))
    await queue.run(A)
    await queue.change(A, lambda task, now: transitions.report_exception(task, 0, "worker-shutdown", now))
    await queue.work_off_all()
    assert await queue.states(B) == ["unscheduled"]


async def test_a_dependent_waits_for_the_last_of_its_dependencies(queue: Queue) -> None:
    await queue.create_all(*map(creation, (A, B, C)), creation(D, dependencies=[A, B, C]))
    for task_id, state in ((B, "unscheduled"), (A, "unscheduled"), (C, "pending")):
        await queue.end(task_id)
        await queue.work_off_all()
        assert await queue.states(D) == [state]


async def test_all_dependencies_may_end_in_one_batch(queue: Queue) -> None:
    await queue.create_all(*map(creation, (A, B, C)), creation(D, dependencies=[A, B, C]))
    for task_id in (A, B, C):
        await queue.end(task_id)
    await queue.told()
    assert await queue.work_off() == 3
    assert await queue.told(D) == [f"task-pending {D} 0"]


async def test_satisfied_stays_satisfied_when_the_dependency_is_rerun(queue: Queue) -> None:
    await queue.create_all(creation(A), creation(B), creation(C, dependencies=[A, B]))
    await queue.end(A)
    await queue.work_off_all()
    await queue.change(A, transitions.rerun)
    await queue.end(B)
    await queue.work_off_all()
    assert await queue.states(A, C) == ["pending", "pending"]


async def test_a_failure_that_is_rerun_and_completes_satisfies_then(queue: Queue) -> None:
    await queue.create_all(creation(A), creation(B, dependencies=[A]))
    await queue.end(A, "failed")
    await queue.work_off_all()
    assert await queue.states(B) == ["unscheduled"]
    await queue.change(A, transitions.rerun)
    await queue.end(A)
    await queue.work_off_all()
    assert await queue.states(B) == ["pending"]


async def test_a_dependent_is_told_once_however_often_its_dependency_ends(queue: Queue) -> None:
    await queue.create_all(creation(A), creation(B, dependencies=[A]))
    for _ in range(2):
        await queue.end(A)
        await queue.work_off_all()
        await queue.change(A, transitions.rerun)
    assert (await queue.told(B)).count(f"task-pending {B} 0") == 1


async def test_a_dependent_past_its_deadline_is_not_scheduled(queue: Queue, clock: ManualClock) -> None:
    await queue.create_all(creation(A), creation(B, dependencies=[A]))
    await queue.run(A)
    clock.move_to(DEADLINE)
    await queue.change(A, report("completed"))
    await queue.told()
    await queue.work_off_all()
    assert await queue.states(B) == ["unscheduled"]
    assert await queue.told(B) == []


async def test_a_dependent_that_was_scheduled_by_hand_is_left_alone(queue: Queue) -> None:
    await queue.create_all(creation(A), creation(B, dependencies=[A]))
    await queue.change(B, transitions.schedule)
    await queue.end(A)
    await queue.told()
    await queue.work_off_all()
    assert await queue.told(B) == []
    found = await queue.task(B)
    assert found is not None
    assert len(found.runs) == 1


async def test_a_chain_goes_step_by_step(queue: Queue) -> None:
    chain = (A, B, C, D)
    await queue.create_all(
        creation(A),
        *(creation(after, dependencies=[before]) for before, after in itertools.pairwise(chain)),
    )
    for task_id in chain:
        await queue.end(task_id)
        await queue.work_off_all()
    assert await queue.states(*chain) == ["completed"] * 4


# Order


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "one after the other"])
async def test_a_dependent_must_not_overtake_the_end_of_any_dependency(queue: Queue, together: bool) -> None:
    """The relay keeps the order of rows that share a key, however long they wait for the broker."""
    await queue.create_all(*map(creation, (A, B)), creation(C, dependencies=[A, B]))
    for task_id in (A, B):
        await queue.end(task_id)
        if not together:
            await queue.work_off_all()
    await queue.work_off_all()
    (pending,) = [message for message in await queue.messages() if str(message) == f"task-pending {C} 0"]
    assert set(pending.order_keys) == {"~" + A, "~" + B, C}


async def test_a_dependent_that_is_created_later_must_not_overtake_them_either(queue: Queue) -> None:
    await queue.create_all(*map(creation, (A, B)))
    for task_id in (A, B):
        await queue.end(task_id)
    await queue.messages()
    await queue.create(C, dependencies=[A, B])
    assert [set(message.order_keys) for message in await queue.messages()] == [{"~" + A, "~" + B, C}] * 2


async def test_the_group_must_not_overtake_the_end_of_any_of_its_tasks(queue: Queue) -> None:
    await queue.create(A, taskGroupId=GROUP_ID)
    await queue.end(A)
    ended, resolved = (await queue.messages())[-1:], []
    await queue.work_off_all()
    resolved = await queue.messages()
    assert [str(message) for message in ended + resolved] == [
        f"task-completed {A} 0",
        f"task-group-resolved {GROUP_ID}",
    ]
    assert "~" + GROUP_ID in ended[0].order_keys
    assert resolved[0].order_keys == (GROUP_ID,)


async def test_dependents_are_told_before_the_group(queue: Queue) -> None:
    await queue.create_all(creation(A), creation(B, dependencies=[A]))
    await queue.end(A)
    await queue.told()
    await queue.work_off_all()
    assert await queue.told() == [f"task-pending {B} 0", f"task-group-resolved {A}"]


# Many


@pytest.mark.parametrize("count", [6, 7, 8, 14])
async def test_more_dependents_than_fit_into_a_transaction_all_go(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(resolutions, "EDGES", 7)
    dependents = new_ids(count)
    await queue.create_all(creation(A), *(creation(task_id, dependencies=[A]) for task_id in dependents))
    await queue.end(A)
    await queue.told()
    await queue.work_off_all()
    told = await queue.told()
    assert sorted(told[:-1]) == [f"task-pending {task_id} 0" for task_id in dependents]
    assert told[-1] == f"task-group-resolved {A}"
    assert await queue.unlooked_at() == []


async def test_ends_are_worked_off_in_batches(queue: Queue) -> None:
    await queue.create_all(*map(creation, (A, B, C)))
    for task_id in (A, B, C):
        await queue.end(task_id)
    assert [await queue.work_off(limit=2) for _ in range(3)] == [2, 1, 0]


async def test_an_end_of_a_task_that_is_gone_is_passed_over(queue: Queue, clock: ManualClock) -> None:
    await queue.create(A)
    await queue.end(A)
    clock.advance(days=40)
    await queue.delete_expired()
    await queue.told()
    assert await queue.work_off() == 1
    assert await queue.told() == []
    assert await queue.unlooked_at() == []


# Groups


async def group_told(queue: Queue) -> int:
    """How often the group was told to be resolved since the last look."""
    await queue.work_off_all()
    return (await queue.told()).count(f"task-group-resolved {GROUP_ID}")


async def test_a_group_is_resolved_with_its_last_task(queue: Queue) -> None:
    await queue.create_all(*(creation(task_id, taskGroupId=GROUP_ID) for task_id in (A, B, C)))
    for task_id, outcome, told in ((A, "completed", 0), (C, "failed", 0), (B, "canceled", 1)):
        await queue.end(task_id, outcome)
        assert await group_told(queue) == told


async def test_the_message_tells_the_group_and_when_it_was_sealed(queue: Queue) -> None:
    await queue.create(A, taskGroupId=GROUP_ID)
    await queue.seal(GROUP_ID)
    await queue.end(A)
    await queue.messages()
    await queue.work_off_all()
    (message,) = await queue.messages()
    assert message.body == {
        "version": 1,
        "taskGroupId": GROUP_ID,
        "schedulerId": "sched",
        "expires": "2024-05-31T13:00:00.123Z",
        "sealed": "2024-05-01T12:00:00.123Z",
    }


async def test_an_unscheduled_task_keeps_its_group_open(queue: Queue) -> None:
    await queue.create_all(
        creation(A, taskGroupId=GROUP_ID), creation(B, taskGroupId=GROUP_ID, dependencies=[B])
    )
    await queue.end(A)
    assert await group_told(queue) == 0


async def test_a_rerun_does_not_open_a_group_and_its_end_is_told_again(queue: Queue) -> None:
    await queue.create_all(*(creation(task_id, taskGroupId=GROUP_ID) for task_id in (A, B)))
    await queue.end(A, "failed")
    await queue.change(A, transitions.rerun)
    await queue.end(B)
    assert await group_told(queue) == 1
    await queue.end(A)
    assert await group_told(queue) == 1


async def test_a_task_that_is_added_later_resolves_its_group_again(queue: Queue) -> None:
    await queue.create(A, taskGroupId=GROUP_ID)
    await queue.end(A)
    assert await group_told(queue) == 1
    await queue.create(B, taskGroupId=GROUP_ID)
    assert await group_told(queue) == 0
    await queue.end(B)
    assert await group_told(queue) == 1


async def test_a_retry_does_not_resolve_a_group(queue: Queue) -> None:
    await queue.create(A, taskGroupId=GROUP_ID)
    await queue.run(A)
    await queue.change(A, lambda task, now: transitions.report_exception(task, 0, "intermittent-task", now))
    assert await group_told(queue) == 0


async def test_dependents_in_the_same_group_keep_it_open(queue: Queue) -> None:
    await queue.create_all(
        creation(A, taskGroupId=GROUP_ID), creation(B, taskGroupId=GROUP_ID, dependencies=[A])
    )
    await queue.end(A)
    assert await group_told(queue) == 0
    await queue.end(B)
    assert await group_told(queue) == 1


# Several processes


async def test_two_processes_at_once_leave_no_dependent_behind(
    postgres_queue: Queue, postgres_database_url: str, clock: ManualClock
) -> None:
    """Each works off the end of one of two dependencies, at the same time."""
    firsts, seconds, dependents = new_ids(8), new_ids(8), new_ids(8)
    await postgres_queue.create_all(*map(creation, [*firsts, *seconds]))
    await postgres_queue.create_all(
        *(
            creation(dependent, dependencies=[first, second])
            for first, second, dependent in zip(firsts, seconds, dependents, strict=True)
        )
    )
    async with opened(postgres_database_url, clock) as database:
        other = Queue(database)
        for first, second in zip(firsts, seconds, strict=True):
            await postgres_queue.end(first)
            await postgres_queue.end(second)
            worked = await asyncio.gather(postgres_queue.work_off(limit=1), other.work_off(limit=1))
            assert sum(worked) == 2
    assert await postgres_queue.states(*dependents) == ["pending"] * 8
    told = await postgres_queue.told(*dependents)
    assert sorted(text for text in told if "pending" in text) == [
        f"task-pending {task_id} 0" for task_id in dependents
    ]


async def test_two_processes_at_once_tell_a_resolved_group(
    postgres_queue: Queue, postgres_database_url: str, clock: ManualClock
) -> None:
    groups = new_ids(5)
    async with opened(postgres_database_url, clock) as database:
        other = Queue(database)
        for group_id in groups:
            first, second = new_ids(2)
            await postgres_queue.create_all(
                *(creation(task_id, taskGroupId=group_id) for task_id in (first, second))
            )
            await asyncio.gather(end_and_look(postgres_queue, first), end_and_look(other, second))
    told = [text for text in await postgres_queue.told() if "group" in text]
    assert {text.split()[1] for text in told} == set(groups)


async def end_and_look(process: Queue, task_id: str) -> None:
    await process.end(task_id)
    await process.work_off()
