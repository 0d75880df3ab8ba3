"""When a task may start (``queue-behaviour.md`` 4)."""

from datetime import timedelta
from typing import get_args

import pytest

from queue_service.core.dependencies import Dependency, satisfied, unmet
from queue_service.core.errors import InputError
from schemas.task import Requires, TaskState
from tests.core.samples import DEADLINE, EXPIRES, new_ids

A, B, C = new_ids(3)


@pytest.mark.parametrize(
    ("requires", "satisfying"),
    [("all-completed", {"completed"}), ("all-resolved", {"completed", "failed", "exception"})],
)
def test_which_states_satisfy(requires: Requires, satisfying: set[str]) -> None:
    assert {state for state in get_args(TaskState) if satisfied(requires, state)} == satisfying


def known(**states: TaskState) -> dict[str, Dependency]:
    ids = {"a": A, "b": B, "c": C}
    return {ids[name]: Dependency(ids[name], state, EXPIRES) for name, state in states.items()}


def test_what_is_not_satisfied_is_unmet() -> None:
    found = known(a="completed", b="failed", c="pending")
    assert unmet("all-completed", [A, B, C], found, DEADLINE) == {B, C}
    assert unmet("all-resolved", [A, B, C], found, DEADLINE) == {C}
    assert unmet("all-completed", [], {}, DEADLINE) == frozenset()


def test_missing_dependencies_are_listed_one_a_line() -> None:
    with pytest.raises(InputError) as refusal:
        unmet("all-completed", [B, C, A], known(c="completed"), DEADLINE)
    assert refusal.value.message.splitlines()[1:] == [f" * {B}", f" * {A}"]
    assert "do not exist" in refusal.value.message


def test_dependencies_that_expire_too_early_are_listed_one_a_line() -> None:
    early = {
        task_id: Dependency(task_id, "completed", DEADLINE - timedelta(milliseconds=1)) for task_id in (A, C)
    }
    with pytest.raises(InputError) as refusal:
        unmet("all-completed", [A, B, C], known(b="completed") | early, DEADLINE)
    assert refusal.value.message.splitlines()[1:] == [f" * {A}", f" * {C}"]
    assert "expire before `deadline`" in refusal.value.message


def test_missing_dependencies_hide_those_that_expire_too_early() -> None:
    early = {A: Dependency(A, "completed", DEADLINE - timedelta(days=1))}
    with pytest.raises(InputError) as refusal:
        unmet("all-completed", [A, B], early, DEADLINE)
    assert refusal.value.message.splitlines()[1:] == [f" * {B}"]


def test_a_dependency_may_expire_at_the_deadline() -> None:
    assert not unmet("all-completed", [A], {A: Dependency(A, "completed", DEADLINE)}, DEADLINE)
