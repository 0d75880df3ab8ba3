"""The demo's checks: they are silent about a faultless record, and name every kind of fault."""

from collections.abc import Callable
from itertools import pairwise

import pytest

from examples.demo.check import check_record, check_takeover
from examples.demo.record import Record
from tests.examples.story import Story, whole_story


def place(records: list[Record], kind: str, subject: str, run_id: int | None = None) -> int:
    """Where the message of this kind about this task is."""
    return next(
        index
        for index, record in enumerate(records)
        if record.kind == kind
        and record.subject.endswith(subject)
        and (run_id is None or record.run_id == run_id)
    )


def changed(record: Record, **members: object) -> Record:
    """The record with other members."""
    return Record(**{**dict(record), **members})


@pytest.fixture
def story() -> Story:
    return whole_story()


def problem(story: Story) -> str:
    """The only problem of the record."""
    [only] = check_record(story.records, story.submitted)
    return only


def test_a_faultless_record_has_no_problem(story: Story) -> None:
    assert check_record(story.records, story.submitted) == []


def test_a_message_may_be_delivered_twice(story: Story) -> None:
    story.records.insert(6, story.records[2])
    assert check_record(story.records, story.submitted) == []


@pytest.mark.parametrize("lost", range(len(whole_story().records)))
def test_every_single_lost_message_is_noticed(story: Story, lost: int) -> None:
    del story.records[lost]
    assert check_record(story.records, story.submitted) != []


def test_any_two_messages_about_a_task_in_the_wrong_order_are_noticed(story: Story) -> None:
    for task_id in story.submitted:
        places = [
            index
            for index, record in enumerate(story.records)
            if record.task and record.task.status.task_id == task_id
        ]
        for earlier, later in pairwise(places):
            swapped = story.records.copy()
            swapped[earlier], swapped[later] = swapped[later], swapped[earlier]
            assert check_record(swapped, story.submitted) != []


def test_a_task_nothing_was_heard_of_is_named() -> None:
    story = Story()
    task_id = story.create("one.py")
    assert f"not completed: last came nothing about {task_id}" in check_record([], story.submitted)


def test_a_task_that_did_not_complete_is_named_with_its_last_message() -> None:
    story = Story()
    task_id = story.create("one.py")
    story.claim(task_id)
    story.resolve_group()
    assert problem(story) == f"not completed: last came task-running run 0 of compile one.py ({task_id})"


def test_a_task_that_failed_is_named() -> None:
    story = Story()
    task_id = story.create("one.py")
    story.claim(task_id)
    story.fail(task_id)
    story.resolve_group()
    assert problem(story) == f"not completed: last came task-failed run 0 of compile one.py ({task_id})"


def test_a_message_out_of_order_is_named_with_what_was_expected(story: Story) -> None:
    running = place(story.records, "task-running", "two.py")
    completed = place(story.records, "task-completed", "two.py")
    story.records.insert(running, story.records.pop(completed))
    first, *_ = check_record(story.records, story.submitted)
    assert first.startswith("task-completed run 0 of compile two.py")
    assert "came after task-pending run 0 of compile two.py" in first
    assert first.endswith("expected task-running run 0")


def test_a_retry_with_the_wrong_number_is_noticed(story: Story) -> None:
    del story.records[place(story.records, "task-pending", "one.py", 1)]
    first, *_ = check_record(story.records, story.submitted)
    assert first.startswith("task-running run 1 of compile one.py")
    assert first.endswith("expected task-pending run 1")


def test_a_transition_told_twice_as_different_messages_is_noticed(story: Story) -> None:
    completed = place(story.records, "task-completed", "two.py")
    again = changed(story.records[completed], message_id="another")
    story.records.insert(completed + 1, again)
    assert problem(story).endswith("expected nothing")


def test_two_messages_with_one_id_are_noticed(story: Story) -> None:
    story.records[1] = changed(story.records[1], message_id=story.records[0].message_id)
    first, *_ = check_record(story.records, story.submitted)
    assert first.startswith("task-pending run 0 of compile one.py")
    assert "has the message id of task-defined of compile one.py" in first


def test_a_message_without_an_id_is_noticed(story: Story) -> None:
    story.records[1] = changed(story.records[1], message_id="")
    assert problem(story).endswith("has no message id")


def test_a_task_nobody_submitted_is_noticed(story: Story) -> None:
    del story.submitted[next(reversed(story.submitted))]
    first, *_ = check_record(story.records, story.submitted)
    assert first.startswith("task-defined of report everything")
    assert first.endswith("nobody submitted this task")


def test_a_dependent_that_did_not_wait_is_noticed(story: Story) -> None:
    pending = place(story.records, "task-pending", "everything")
    completed = place(story.records, "task-completed", "one.py")
    story.records.insert(completed, story.records.pop(pending))
    assert "depends on a task that had not completed; last came task-running run 1" in problem(story)


def test_a_run_completed_by_a_worker_that_does_not_hold_it_is_noticed(story: Story) -> None:
    completed = place(story.records, "task-completed", "two.py")
    message = story.records[completed].message | {"workerId": "worker-1"}
    story.records[completed] = changed(story.records[completed], message=message)
    assert problem(story).endswith("by worker-1, but worker-2 held the run")


def test_a_status_that_contradicts_its_message_is_noticed(story: Story) -> None:
    running = place(story.records, "task-running", "two.py")
    pending = place(story.records, "task-pending", "two.py")
    message = story.records[running].message | {"status": story.records[pending].message["status"]}
    story.records[running] = changed(story.records[running], message=message)
    assert problem(story).endswith("its status says that the run is pending")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda records: records[:-1], "task-group-resolved: did not come"),
        (
            lambda records: [*records, changed(records[-1], message_id="another")],
            "task-group-resolved: came 2 times",
        ),
        (
            lambda records: [*records[:-2], records[-1], records[-2]],
            "task-group-resolved: came before task-completed run 0 of report everything",
        ),
    ],
)
def test_the_end_of_the_group_comes_once_and_last(
    story: Story, change: Callable[[list[Record]], list[Record]], told: str
) -> None:
    first, *_ = check_record(change(story.records), story.submitted)
    assert first.startswith(told)


def test_a_takeover_is_seen(story: Story) -> None:
    assert check_takeover(story.records, "worker-1") == []


def test_it_is_noticed_that_no_claim_of_the_killed_worker_expired(story: Story) -> None:
    assert check_takeover(story.records, "worker-2") == [
        "no run of worker-2, the worker that was killed, ended as claim-expired"
    ]


def test_it_is_noticed_that_nobody_took_over() -> None:
    story = Story()
    task_id = story.create("one.py")
    story.claim(task_id, "worker-1")
    story.expire(task_id)
    assert check_takeover(story.records, "worker-1") == [
        "no task that worker-1 lost was completed by another worker"
    ]


def test_a_run_that_the_killed_worker_completed_itself_is_no_takeover() -> None:
    story = Story()
    task_id = story.create("one.py")
    story.claim(task_id, "worker-1")
    story.expire(task_id)
    story.claim(task_id, "worker-1")
    story.complete(task_id)
    assert check_takeover(story.records, "worker-1") == [
        "no task that worker-1 lost was completed by another worker"
    ]
