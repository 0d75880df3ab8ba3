"""createTask on lists (``queue-behaviour.md`` 3, 4, 5): an outcome for each, groups, dependencies."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from queue_service.core import transitions
from queue_service.core.errors import InputError, RequestConflict
from queue_service.core.task import Task
from queue_service.store.dependencies import waiting_for
from schemas.times import format_time
from tests.core.samples import DEADLINE, EXPIRES, GROUP_ID, new_ids
from tests.operations.queue import Queue, codes, creation, report, request
from tests.store.databases import opened
from tests.store.given import read
from tests.store.manual_clock import ManualClock

A, B, C, D = new_ids(4)
HOUR = timedelta(hours=1)


async def test_a_task_without_dependencies_is_pending_and_told_in_order(queue: Queue) -> None:
    created = await queue.create(A)
    assert created.state == "pending"
    assert await queue.task(A) == created
    assert await queue.told() == [f"task-defined {A}", f"task-pending {A} 0"]


async def test_tasks_of_one_list_queue_in_their_order(queue: Queue) -> None:
    ids = new_ids(10)[::-1]
    await queue.create_all(*map(creation, ids))
    assert await queue.claimed_ids(request(10)) == [ids]


# Repeats


async def test_a_repeat_is_answered_with_the_current_status_and_told_again(queue: Queue) -> None:
    first = await queue.create(A)
    await queue.told()
    assert await queue.create(A) == first
    assert await queue.told() == [f"task-defined {A}", f"task-pending {A} 0"]


async def test_a_repeat_of_a_running_task_tells_only_that_it_is_defined(queue: Queue) -> None:
    await queue.create(A)
    running = await queue.run(A)
    await queue.told()
    assert replace(await queue.create(A), version=0) == running
    (message,) = await queue.messages()
    assert (message.exchange, message.body["status"]["state"]) == ("task-defined", "unscheduled")


async def test_a_repeat_in_the_same_list_is_one_task(queue: Queue) -> None:
    first, second = await queue.create_all(creation(A), creation(A))
    assert first == second
    assert await queue.told() == [f"task-defined {A}", f"task-pending {A} 0"] * 2
    assert await queue.claimed_ids(request(5)) == [[A]]


async def test_another_definition_is_a_conflict_that_changes_nothing(queue: Queue) -> None:
    await queue.create(A)
    await queue.told()
    with pytest.raises(RequestConflict, match="already exists with another definition"):
        await queue.create(A, retries=4)
    assert await queue.told() == []


async def test_another_definition_in_the_same_list_is_a_conflict(queue: Queue) -> None:
    outcomes = await queue.create_all(creation(A), creation(A, retries=4), creation(B))
    assert codes(outcomes) == [None, "RequestConflict", None]


async def test_a_repeat_is_compared_with_the_current_priority(queue: Queue) -> None:
    await queue.create(A, priority="low")
    await queue.change(A, lambda task, now: transitions.change_priority(task, "high", now))
    with pytest.raises(RequestConflict):
        await queue.create(A, priority="low")
    assert (await queue.create(A, priority="high")).priority == "high"


async def test_equal_creations_of_two_processes_make_one_task(
    postgres_queue: Queue, postgres_database_url: str, clock: ManualClock
) -> None:
    async with opened(postgres_database_url, clock) as database:
        other = Queue(database)
        ids = new_ids(8)
        for task_id in ids:
            one, two = await asyncio.gather(postgres_queue.create(task_id), other.create(task_id))
            assert one == two
        told = await postgres_queue.told()
        assert sorted(told) == sorted(
            [f"task-defined {key}" for key in ids * 2] + [f"task-pending {key} 0" for key in ids * 2]
        )
        (claimed,) = await postgres_queue.claimed_ids(request(100))
        assert sorted(claimed) == ids


# Groups


async def test_a_group_is_made_with_its_first_task(queue: Queue) -> None:
    await queue.create(A, taskGroupId=GROUP_ID)
    group = await queue.group(GROUP_ID)
    assert group is not None
    assert (group.scheduler_id, group.expires, group.sealed) == ("sched", EXPIRES + HOUR, None)


async def test_a_task_that_outlives_its_group_prolongs_it(queue: Queue) -> None:
    await queue.create(A, taskGroupId=GROUP_ID)
    for later, expected in ((HOUR, EXPIRES + HOUR), (2 * HOUR, EXPIRES + 3 * HOUR)):
        (task_id,) = new_ids(1)
        await queue.create(task_id, taskGroupId=GROUP_ID, expires=format_time(EXPIRES + later))
        group = await queue.group(GROUP_ID)
        assert group is not None
        assert group.expires == expected


async def test_the_longest_lived_task_of_a_list_decides_how_long_the_group_lives(queue: Queue) -> None:
    expiries = {A: EXPIRES, B: EXPIRES + 5 * HOUR, C: EXPIRES + HOUR}
    await queue.create_all(
        *(creation(key, taskGroupId=GROUP_ID, expires=format_time(value)) for key, value in expiries.items())
    )
    group = await queue.group(GROUP_ID)
    assert group is not None
    assert group.expires == EXPIRES + 6 * HOUR


async def test_another_scheduler_may_not_join_a_group(queue: Queue) -> None:
    await queue.create(A, taskGroupId=GROUP_ID)
    with pytest.raises(RequestConflict, match="belongs to schedulerId `sched`"):
        await queue.create(B, taskGroupId=GROUP_ID, schedulerId="other")
    assert await queue.task(B) is None


async def test_of_two_schedulers_in_one_list_the_first_gets_the_group(queue: Queue) -> None:
    outcomes = await queue.create_all(
        creation(A, taskGroupId=GROUP_ID, schedulerId="first"),
        creation(B, taskGroupId=GROUP_ID, schedulerId="second", expires=format_time(EXPIRES + 9 * HOUR)),
        creation(C, taskGroupId=GROUP_ID, schedulerId="first"),
    )
    assert codes(outcomes) == [None, "RequestConflict", None]
    group = await queue.group(GROUP_ID)
    assert group is not None
    assert (group.scheduler_id, group.expires) == ("first", EXPIRES + HOUR)


async def test_no_task_joins_a_sealed_group_not_even_one_that_is_in_it(queue: Queue) -> None:
    await queue.create(A, taskGroupId=GROUP_ID)
    await queue.seal(GROUP_ID)
    await queue.told()
    for task_id in (A, B):
        with pytest.raises(RequestConflict, match="was sealed"):
            await queue.create(task_id, taskGroupId=GROUP_ID)
    assert await queue.told() == []


async def test_the_group_is_checked_before_the_definition(queue: Queue) -> None:
    """The order of the wire (3.1, 8 before 9): both are conflicts, the text tells which."""
    await queue.create(A, taskGroupId=GROUP_ID)
    await queue.create(B, taskGroupId=C, schedulerId="other")
    with pytest.raises(RequestConflict, match="belongs to schedulerId"):
        await queue.create(A, taskGroupId=C)


# Dependencies


async def test_a_task_with_open_dependencies_waits(queue: Queue) -> None:
    await queue.create(A)
    await queue.told()
    assert (await queue.create(B, dependencies=[A])).state == "unscheduled"
    assert await queue.told() == [f"task-defined {B}"]


@pytest.mark.parametrize(
    ("requires", "outcome", "state"),
    [
        ("all-completed", "completed", "pending"),
        ("all-completed", "failed", "unscheduled"),
        ("all-completed", "canceled", "unscheduled"),
        ("all-resolved", "completed", "pending"),
        ("all-resolved", "failed", "pending"),
        ("all-resolved", "canceled", "pending"),
    ],
)
async def test_dependencies_that_are_satisfied_already_count(
    queue: Queue, requires: str, outcome: str, state: str
) -> None:
    await queue.create(A)
    await queue.end(A, outcome)
    assert (await queue.create(B, dependencies=[A], requires=requires)).state == state


async def test_one_open_dependency_is_enough_to_wait(queue: Queue) -> None:
    await queue.create_all(creation(A), creation(B))
    await queue.end(A)
    assert (await queue.create(C, dependencies=[A, B])).state == "unscheduled"
    await queue.end(B)
    await queue.work_off_all()
    assert await queue.states(C) == ["pending"]


async def test_a_task_may_depend_on_one_before_it_in_the_list(queue: Queue) -> None:
    outcomes = await queue.create_all(creation(A), creation(B, dependencies=[A]))
    assert [outcome.state for outcome in outcomes if isinstance(outcome, Task)] == ["pending", "unscheduled"]
    await queue.end(A)
    await queue.work_off_all()
    assert await queue.states(B) == ["pending"]


async def test_a_task_may_not_depend_on_one_that_comes_after_it(queue: Queue) -> None:
    outcomes = await queue.create_all(creation(A, dependencies=[B]), creation(B))
    assert codes(outcomes) == ["InputError", None]


async def test_a_task_may_not_depend_on_one_that_was_refused_before_it(queue: Queue) -> None:
    outcomes = await queue.create_all(creation(A, dependencies=[D]), creation(B, dependencies=[A]))
    assert codes(outcomes) == ["InputError", "InputError"]


async def test_a_task_that_lists_itself_waits_until_it_is_scheduled(queue: Queue) -> None:
    assert (await queue.create(A, dependencies=[A])).state == "unscheduled"
    await queue.work_off_all()
    assert await queue.states(A) == ["unscheduled"]
    assert (await queue.change(A, transitions.schedule)).state == "pending"


async def test_missing_dependencies_are_refused_and_leave_nothing(queue: Queue) -> None:
    with pytest.raises(InputError) as refusal:
        await queue.create(A, dependencies=[B, C])
    assert refusal.value.message.splitlines()[1:] == [f" * {B}", f" * {C}"]
    assert await queue.task(A) is None
    assert await queue.told() == []
    waiting = [(B, "all-completed"), (C, "all-completed")]
    assert await read(queue.database, waiting_for, waiting, 10) == []


async def test_dependencies_that_expire_before_the_deadline_are_refused(queue: Queue) -> None:
    early, in_time = format_time(DEADLINE), format_time(DEADLINE + timedelta(milliseconds=1))
    await queue.create_all(creation(B, expires=early), creation(C, expires=in_time))
    deadline = format_time(DEADLINE + timedelta(milliseconds=1))
    with pytest.raises(InputError) as refusal:
        await queue.create(A, dependencies=[B, C], deadline=deadline)
    assert refusal.value.message.splitlines()[1:] == [f" * {B}"]
    assert await queue.task(A) is None


async def test_a_bad_item_does_not_fail_its_neighbours(queue: Queue) -> None:
    await queue.create(D)
    await queue.told()
    outcomes = await queue.create_all(
        creation(A), creation(B, dependencies=new_ids(1)), creation(D, retries=1), creation(C)
    )
    assert codes(outcomes) == [None, "InputError", "RequestConflict", None]
    assert await queue.states(A, C) == ["pending", "pending"]
    assert await queue.told() == [
        f"task-defined {A}",
        f"task-pending {A} 0",
        f"task-defined {C}",
        f"task-pending {C} 0",
    ]


async def test_a_repeat_and_its_new_dependent_share_a_list(queue: Queue) -> None:
    await queue.create(A)
    await queue.end(A)
    outcomes = await queue.create_all(creation(A), creation(B, dependencies=[A]))
    assert codes(outcomes) == [None, None]
    assert await queue.states(B) == ["pending"]


async def test_a_dependency_that_ends_during_the_creation_is_not_missed(
    postgres_queue: Queue, postgres_database_url: str, clock: ManualClock
) -> None:
    """One process creates dependents while another completes what they wait for."""
    required, dependents = new_ids(10), new_ids(10)
    await postgres_queue.create_all(*map(creation, required))
    await postgres_queue.claim(request(10))
    async with opened(postgres_database_url, clock) as database:
        other = Queue(database)
        for first, second in zip(required, dependents, strict=True):
            await asyncio.gather(
                postgres_queue.create(second, dependencies=[first]), other.change(first, report("completed"))
            )
            await asyncio.gather(postgres_queue.work_off(), other.work_off())
        await postgres_queue.work_off_all()
    assert await postgres_queue.states(*dependents) == ["pending"] * 10
