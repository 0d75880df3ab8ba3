"""Lives that once broke the promise, shrunk: they must not again, and would if the fault came back."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import pytest
from sqlalchemy import Integer, bindparam, select

from queue_service.store import expiry
from queue_service.store.tables import tasks
from queue_service.store.types import Milliseconds
from tests.simulation import world
from tests.simulation.history import History
from tests.simulation.plan import Action, Plan
from tests.simulation.world import World


def tasks_expire_before_they_end(patch: pytest.MonkeyPatch) -> None:
    """The expiry job took every task that had expired."""
    before, wanted = bindparam("before", type_=Milliseconds), bindparam("wanted", type_=Integer)
    patch.setattr(
        expiry, "EXPIRED_TASKS", select(tasks.c.task_id).where(tasks.c.expires < before).limit(wanted)
    )


def the_judge_knows_another_grace(patch: pytest.MonkeyPatch) -> None:
    """It took the default time after which records are forgotten for that of the servers it judges."""
    half_an_hour = 1_800_000
    patch.setattr(world, "NUMBERS", replace(world.NUMBERS, expiry_grace=half_an_hour))


def no_task_may_come_after_the_last_probe(patch: pytest.MonkeyPatch) -> None:
    """After recovery the judge asked for what a trigger had fired since workers last asked."""
    in_line = History.in_line
    patch.setattr(History, "in_line", lambda self, *, since: in_line(self, since=self.time()))


def created(task: int, **facts: Any) -> dict[str, Any]:
    """A creation without dependencies, with these facts."""
    common = {"task": task, "group": task, "queue": "prov/one", "priority": "lowest", "retries": 0}
    return {**common, "requires": "all-completed", "needs": (), "again": 0.0, **facts}


def consumed(after: float, verb: str, told: dict[str, Any]) -> dict[str, Any]:
    """A lease of a second, and what its consumer says of it so long after."""
    conduct = ((after, verb, told),)
    return {"limit": 1, "mode": "ack-batch", "ttl": 1000, "wait": 0, "leaves": 0.0, "conduct": conduct}


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

LEASE_FORGOTTEN_BEFORE_A_LATE_NACK: Final = Plan(
    75,
    (
        Action(0.5, "set call", {"add": ("m0",), "later": None}),
        Action(1.0, "consume", consumed(70.0, "nack", {"some": False, "delay": 20})),
        Action(5.0, "clock jumps", {"seconds": 100.0}),
    ),
)

EVERY_TEN_SECONDS: Final = {
    "duration": 10,
    "immediate": False,
    "spread": 0,
    "size": None,
    "delay": 0,
    "start": None,
    "catch_up": 1,
    "misfire": "one",
    "overlap": "queue-one",
    "retries": 1,
    "queue": "prov/two",
    "deadline": 300,
}
FIRED_BETWEEN_THE_LAST_PROBE_AND_THE_END: Final = Plan(
    1,
    (
        Action(24.4, "trigger call", {"method": "create_trigger", "trigger": "t0", **EVERY_TEN_SECONDS}),
        Action(27.0, "trigger call", {"method": "create_trigger", "trigger": "t1", **EVERY_TEN_SECONDS}),
    ),
)

LIVES: Final = (
    (CLOCK_JUMPED_OVER_DEADLINE_AND_EXPIRY, tasks_expire_before_they_end),
    (LEASE_FORGOTTEN_BEFORE_A_LATE_NACK, the_judge_knows_another_grace),
    (FIRED_BETWEEN_THE_LAST_PROBE_AND_THE_END, no_task_may_come_after_the_last_probe),
)
"""Each with what brings its fault back."""


@pytest.mark.parametrize(("plan", "bring_back"), LIVES, ids=[fault.__name__ for _, fault in LIVES])
def test_a_life_that_broke_the_promise(plan: Plan, bring_back: Callable[[pytest.MonkeyPatch], None]) -> None:
    assert World(plan).live().violations == ()
    with pytest.MonkeyPatch.context() as patch:
        bring_back(patch)
        assert World(plan).live().violations
