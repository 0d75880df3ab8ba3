"""Whose turn it is (``seed-systems.md`` C-16, C-17, L-3)."""

import itertools
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from queue_service.core.turns import Source, Turns, Waiting, by_priority


def runs(name: str, *ages: int, priority: int = 6) -> list[Waiting]:
    return [Waiting(f"{name}{age}", priority, age) for age in ages]


def later() -> Callable[[], int]:
    return itertools.count(1_000_000).__next__


def never() -> bool:
    return False


def take(sources: list[Source], room: dict[str, int], wanted: int = 100, by_age: Any = never) -> list[str]:
    return Turns(sources, room).take(wanted, later(), by_age)


def test_without_buckets_priority_decides_and_then_age() -> None:
    waiting = [*runs("a", 3, 1), *runs("b", 4, priority=0), *runs("c", 2)]
    assert take(by_priority(waiting), {}) == ["b4", "a1", "c2", "a3"]


def test_lanes_take_turns() -> None:
    one, other = Source(runs("a", 1, 2, 3), turn=0), Source(runs("b", 4, 5), turn=0)
    assert take([one, other], {}) == ["a1", "b4", "a2", "b5", "a3"]


def test_the_lane_that_was_served_longest_ago_is_next() -> None:
    lanes = [Source(runs(name, 1), turn=turn) for name, turn in (("a", 30), ("b", 10), ("c", 20))]
    assert take(lanes, {}) == ["b1", "c1", "a1"]


def test_a_lane_that_was_served_comes_after_a_run_that_waits_since_before() -> None:
    assert take([Source(runs("a", 1), turn=50), *by_priority(runs("p", 40, 60))], {}) == ["p40", "a1", "p60"]


def test_a_full_bucket_shuts_all_its_lanes_and_nobody_else() -> None:
    full = [Source(runs(name, 1, 2), ("x",), turn=0) for name in "ab"]
    free = Source(runs("c", 3), ("y",), turn=0)
    assert take([*full, free], {"x": 1, "y": 5}) == ["a1", "c3"]
    assert [source.full for source in (*full, free)] == ["x", "x", ""]


def test_a_share_is_served_by_age() -> None:
    waiting = by_priority([*runs("old", 1), *runs("urgent", 5, 6, priority=1)])
    draws = iter([True, False, False])
    assert take(waiting, {}, by_age=lambda: next(draws, False)) == ["old1", "urgent5", "urgent6"]


def test_the_highest_priority_comes_before_the_oldest() -> None:
    waiting = by_priority([*runs("old", 1), *runs("first", 5, priority=0)])
    assert take(waiting, {}, by_age=lambda: True) == ["first5", "old1"]


LANES = st.lists(st.integers(1, 30), min_size=1, max_size=8)


@given(lengths=LANES, wanted=st.integers(1, 60))
def test_no_lane_waits_for_more_than_one_turn_of_each_other(lengths: list[int], wanted: int) -> None:
    """While a lane has runs, each other lane is served at most once between two of its turns."""
    lanes = [
        Source([Waiting(f"{name}/{number}", 6, number) for number in range(length)], turn=0)
        for name, length in enumerate(lengths)
    ]
    served = [int(task.partition("/")[0]) for task in take(lanes, {}, wanted)]
    assert len(served) == min(wanted, sum(lengths))
    left = list(lengths)
    since: dict[int, list[int]] = {name: [] for name in range(len(lengths))}
    for name in served:
        for other in range(len(lengths)):
            if other != name and left[other]:
                since[other].append(name)
                assert len(set(since[other])) == len(since[other])
        since[name] = []
        left[name] -= 1


@given(
    lanes=st.lists(
        st.tuples(st.integers(1, 10), st.lists(st.sampled_from("xyz"), unique=True)), min_size=1, max_size=8
    ),
    room=st.fixed_dictionaries({name: st.integers(0, 12) for name in "xyz"}),
    wanted=st.integers(1, 60),
)
def test_everything_that_fits_is_served_and_nothing_more(
    lanes: list[tuple[int, list[str]]], room: dict[str, int], wanted: int
) -> None:
    sources = [
        Source([Waiting(f"{name}/{number}", 6, number) for number in range(length)], tuple(buckets), turn=0)
        for name, (length, buckets) in enumerate(lanes)
    ]
    served = take(sources, dict(room), wanted)
    used = dict.fromkeys(room, 0)
    for task in served:
        for bucket in lanes[int(task.partition("/")[0])][1]:
            used[bucket] += 1
    assert all(used[name] <= room[name] for name in room)
    assert len(set(served)) == len(served)
    if len(served) < wanted:
        for source in sources:
            assert source.first is None or any(used[name] >= room[name] for name in source.buckets)
