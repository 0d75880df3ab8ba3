"""Lives that once broke the promise, shrunk: they must not again, and would if the fault came back."""

from collections.abc import Callable
from typing import Any, Final

import pytest
from sqlalchemy import Integer, bindparam, select

from queue_service.store import expiry
from queue_service.store.tables import tasks
from queue_service.store.types import Milliseconds
from tests.simulation.plan import Action, Plan
from tests.simulation.world import World


def tasks_expire_before_they_end(patch: pytest.MonkeyPatch) -> None:
    """The expiry job took every task that had expired."""
    before, wanted = bindparam("before", type_=Milliseconds), bindparam("wanted", type_=Integer)
    patch.setattr(
        expiry, "EXPIRED_TASKS", select(tasks.c.task_id).where(tasks.c.expires < before).limit(wanted)
    )


def created(task: int, **facts: Any) -> dict[str, Any]:
    """A creation without dependencies, with these facts."""
    common = {"task": task, "group": task, "queue": "prov/one", "priority": "lowest", "retries": 0}
    return {**common, "requires": "all-completed", "needs": (), "again": 0.0, **facts}


CLOCK_JUMPED_OVER_DEADLINE_AND_EXPIRY: Final = Plan(
    5773,
    (
        Action(1.0, "create", created(3, deadline=120, expires=None, needs=(0, 1), again=0.01)),
        Action(1.0, "create", created(6, deadline=20, expires=60)),
        Action(1.0255680980092026, "clock jumps", {"seconds": 30.0}),
        Action(5.001068677870267, "create", created(7, deadline=120, expires=60)),
        Action(30.04557213291785, "clock jumps", {"seconds": 600.0}),
    ),
)

LIVES: Final = ((CLOCK_JUMPED_OVER_DEADLINE_AND_EXPIRY, tasks_expire_before_they_end),)
"""Each with what brings its fault back."""


@pytest.mark.parametrize(("plan", "bring_back"), LIVES, ids=[fault.__name__ for _, fault in LIVES])
def test_a_life_that_broke_the_promise(plan: Plan, bring_back: Callable[[pytest.MonkeyPatch], None]) -> None:
    assert World(plan).live().violations == ()
    with pytest.MonkeyPatch.context() as patch:
        bring_back(patch)
        assert World(plan).live().violations
