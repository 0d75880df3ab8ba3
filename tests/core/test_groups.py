"""Who may add to a task group, and when it may be cancelled (``queue-behaviour.md`` 5)."""

from dataclasses import replace

import pytest

from queue_service.core.errors import RequestConflict
from queue_service.core.groups import TaskGroup, admit, refuse_unless_sealed
from tests.core.samples import EXPIRES, GROUP_ID, NOW

GROUP = TaskGroup(GROUP_ID, "sched", EXPIRES)
SEALED = replace(GROUP, sealed=NOW)


def test_a_task_of_the_same_scheduler_joins_an_open_group() -> None:
    admit(GROUP, "sched")


def test_a_task_of_another_scheduler_does_not_join() -> None:
    with pytest.raises(RequestConflict, match="belongs to schedulerId `sched`"):
        admit(GROUP, "other")


def test_no_task_joins_a_sealed_group() -> None:
    with pytest.raises(RequestConflict, match="was sealed at"):
        admit(SEALED, "sched")


def test_the_scheduler_of_a_sealed_group_is_checked_first() -> None:
    with pytest.raises(RequestConflict, match="belongs to schedulerId"):
        admit(SEALED, "other")


def test_only_a_sealed_group_is_cancelled() -> None:
    refuse_unless_sealed(SEALED)
    with pytest.raises(RequestConflict, match="Seal it first"):
        refuse_unless_sealed(GROUP)


def test_sealed_is_absent_until_the_group_is_sealed() -> None:
    open_group = {"taskGroupId": GROUP_ID, "schedulerId": "sched", "expires": "2024-05-31T12:00:00.123Z"}
    assert GROUP.to_response().to_wire() == open_group
    assert SEALED.to_response().to_wire() == open_group | {"sealed": "2024-05-01T12:00:00.123Z"}
