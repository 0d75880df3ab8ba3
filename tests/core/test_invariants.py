"""What no sequence of verbs may break (``queue-behaviour.md`` 2, 6.1, 12, ``seed-systems.md`` C-9)."""

from datetime import timedelta
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from queue_service.core import transitions
from queue_service.core.errors import QueueError
from queue_service.core.task import Change, Task
from schemas.messages import TaskCompletedMessage, TaskExceptionMessage, TaskFailedMessage, TaskPendingMessage
from schemas.task import MAX_RUNS, PRIORITIES
from tests.core.samples import CREATED, NOW, task
from tests.core.states import MILLISECOND, STATES
from tests.core.table import VERBS

CALLS: Final = tuple(verb.call for verb in VERBS.values())
STARTS: Final = (*STATES.values(), *(task(retries=retries, retries_left=retries) for retries in (0, 1, 49)))
RESOLUTIONS: Final = (TaskCompletedMessage, TaskFailedMessage, TaskExceptionMessage)

steps = st.lists(
    st.tuples(st.sampled_from(CALLS), st.integers(min_value=0, max_value=25)), min_size=1, max_size=60
)


def walk(start: Task, taken: Any) -> list[Change]:
    """The changes that these calls, some minutes apart each, make to the task."""
    changes, now, current = [], NOW, start
    for call, minutes in taken:
        now += timedelta(minutes=minutes)
        try:
            change = call(current, now)
        except (QueueError, IndexError):  # claiming is never asked of a task without runs
            continue
        changes.append(change)
        current = change.after
    return changes


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(STARTS), steps)
def test_invariants_hold_after_every_change(start: Task, taken: Any) -> None:
    for change in walk(start, taken):
        after = change.after
        assert [run.run_id for run in after.runs] == list(range(len(after.runs)))
        assert all(run.state not in ("pending", "running") for run in after.runs[:-1])
        assert 0 <= after.retries_left <= after.retries
        if after.extras is None:
            assert len(after.runs) + after.retries_left <= MAX_RUNS or change.before is start
        assert len(after.runs) <= MAX_RUNS
        assert after.priority in PRIORITIES
        assert after.ever_resolved or not after.resolved
        assert after.available_at is None or after.state in ("unscheduled", "pending")
        for run in after.runs:
            held = (run.worker_group, run.worker_id, run.started, run.taken_until)
            assert all(held) or not any(held)
            assert run.state not in ("running", "completed", "failed") or all(held)
            assert run.state != "pending" or not any(held)
            ended = (run.resolved, run.reason_resolved)
            assert all(ended) if run.state not in ("pending", "running") else not any(ended)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(STARTS), steps)
def test_history_is_never_rewritten(start: Task, taken: Any) -> None:
    for change in walk(start, taken):
        before, after = change.before, change.after
        assert before is not None
        assert after.runs[: len(before.runs) - 1] == before.runs[: len(before.runs) - 1]
        assert 0 <= len(after.runs) - len(before.runs) <= 1
        assert after.ever_resolved or not before.ever_resolved
        if before.resolved and len(after.runs) == len(before.runs):
            assert after.runs == before.runs


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(STARTS), steps)
def test_every_change_is_told_once_and_nothing_else_is(start: Task, taken: Any) -> None:
    for change in walk(start, taken):
        before, after = change.before, change.after
        assert before is not None
        resolved = [message for message in change.messages if isinstance(message, RESOLUTIONS)]
        pending = [message for message in change.messages if isinstance(message, TaskPendingMessage)]
        followed = len(after.runs) > len(before.runs) > 0 and before.state == "running"
        if change.resolves:
            assert after.resolved
            assert len(resolved) == 1
            assert not pending
            assert resolved[0].run_id == len(after.runs) - 1
        if change.queues:
            assert after.state == "pending"
            assert len(pending) == 1
            assert pending[0].run_id == len(after.runs) - 1
        if not change.resolves and change.alters:
            assert [message.run_id for message in resolved] == ([before.runs[-1].run_id] if followed else [])
        if change.alters and not change.resolves and not change.queues:
            came_due = before.available_at is not None and change.claims
            assert len(pending) == came_due
        if not change.alters:
            assert after is before


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(STARTS), steps)
def test_what_is_delayed_is_claimable_from_its_moment_on_and_not_a_millisecond_before(
    start: Task, taken: Any
) -> None:
    for change in walk(start, taken):
        after, due = change.after, change.after.available_at
        if due is None or due >= after.deadline:
            continue
        before = due - MILLISECOND
        assert not transitions.come_due(after, before).alters
        for claim in (VERBS["claimWork"].call, VERBS["claimTask"].call):
            with pytest.raises((QueueError, IndexError)):  # claiming is never asked of a task without runs
                claim(after, before)
        released = transitions.come_due(after, due)
        assert released.queues
        assert VERBS["claimWork"].call(released.after, due).claims
        if after.runs:
            assert VERBS["claimTask"].call(after, due).after.state == "running"


@settings(max_examples=60, deadline=None)
@given(steps)
def test_a_task_is_resolved_at_most_once_for_each_time_it_is_queued(taken: Any) -> None:
    """So dependents and group are looked at exactly once for each end of a task."""
    open_since_start = 1
    changes = walk(task(), taken)
    queued = sum(change.queues and change.before is not None and change.before.resolved for change in changes)
    resolved = sum(change.resolves for change in changes)
    assert resolved <= open_since_start + queued
    assert changes == [] or changes[-1].after.resolved == (resolved == open_since_start + queued)


def test_a_run_that_is_retried_forever_ends_with_fifty_runs() -> None:
    """49 retries and the first run: the largest task there can be."""
    current, now = task("scheduled pending", retries=49, retries_left=49), CREATED
    while current.state == "pending":
        now += timedelta(seconds=1)
        claimed = transitions.claim(current, now, now, worker_group="g", worker_id="w").after
        current = transitions.report_exception(claimed, len(claimed.runs) - 1, "worker-shutdown", now).after
    assert (current.state, len(current.runs), current.retries_left) == ("exception", 50, 0)
