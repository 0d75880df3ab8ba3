"""The numbers behind the metrics: what is added is counted where it belongs."""

from queue_service.counting import Calls, Distribution


def test_a_value_counts_at_every_bound_that_it_does_not_exceed() -> None:
    sizes = Distribution((1, 2, 4))
    for value in (1, 2, 3, 4, 5):
        sizes.add(value)
    assert sizes.cumulative() == [1, 2, 4, 5]
    assert (sizes.count, sizes.sum) == (5, 15)


def test_calls_are_told_apart_by_endpoint_and_status() -> None:
    calls = Calls()
    calls.add("task", 200, 0.1)
    calls.add("task", 200, 0.2)
    calls.add("task", 404, 0.3)
    assert {key: seconds.count for key, seconds in calls.seconds.items()} == {
        ("task", 200): 2,
        ("task", 404): 1,
    }
