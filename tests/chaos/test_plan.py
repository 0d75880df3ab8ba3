"""A seed decides what a round does, and the named points of the relay are found."""

from tests.chaos.plan import ANYWHERE, ON_POSTGRES, ON_SQLITE, TOPOLOGIES, plan_of, relay_points


def test_a_seed_decides_everything() -> None:
    assert [plan_of(seed) for seed in range(50)] == [plan_of(seed) for seed in range(50)]


def test_every_fault_and_topology_has_its_turn() -> None:
    plans = [plan_of(seed) for seed in range(500)]
    assert {plan.topology for plan in plans} == set(TOPOLOGIES)
    faults = {fault.kind for plan in plans for fault in plan.faults}
    assert faults == {*ANYWHERE, *ON_POSTGRES, *ON_SQLITE}


def test_the_named_points_of_the_relay_are_found() -> None:
    assert {"outbox.published", "outbox.deleted"} <= set(relay_points())
