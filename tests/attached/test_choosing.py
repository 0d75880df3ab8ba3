"""Which worker gets which item, as tables (``seed-systems.md`` A.3, A.4, WI-2)."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queue_service.features.worker_socket.choosing import (
    DEFERRED_SECONDS,
    MAX_DEFERRED,
    Choice,
    Deferred,
    Waiting,
    Workers,
)
from queue_service.features.worker_socket.matching import Description


@dataclass
class Worker:
    worker_id: str
    descriptions: Sequence[Description]
    capacity: int = 100
    draining: bool = False
    load: int = 0


def takes(name: str = "tag", **filter: str) -> Description:
    return Description(name, {key: frozenset(values.split(",")) for key, values in filter.items()})


def choice(*workers: Worker, elsewhere: Sequence[Description] = (), waited: bool = False) -> Choice:
    return Choice(Workers({one.worker_id: one for one in workers}), elsewhere, lambda task_id: waited)


def item(name: str = "tag", *, spillover: bool = False, **attrs: str) -> Waiting:
    return Waiting("fN1SbArXTPSVFNUvaOlinQ", name, attrs, spillover)


VECTORS = (
    Worker("W1", [takes(cloud="aws,gcp")]),
    Worker("W2", [takes(cloud="aws", account="123")]),
    Worker("W3", [takes()]),
)


@pytest.mark.parametrize(
    ("attrs", "chosen"),
    [
        ({"cloud": "aws", "account": "123"}, "W2"),
        ({"cloud": "aws", "account": "999"}, "W1"),
        ({"cloud": "gcp"}, "W1"),
        ({"cloud": "azure"}, "W3"),
        ({}, "W3"),
        ({"cloud": ""}, "W3"),
    ],
)
def test_the_most_specific_gets_it(attrs: dict[str, str], chosen: str) -> None:
    assert choice(*VECTORS).worker_for(item(**attrs)) == chosen


SPECIAL, ANY = [takes(cloud="aws")], [takes()]


@pytest.mark.parametrize(
    ("workers", "spillover", "chosen"),
    [
        ([Worker("a", ANY, load=1), Worker("b", ANY)], False, "b"),
        ([Worker("a", ANY), Worker("b", ANY)], False, "a"),
        ([Worker("a", ANY, load=2), Worker("b", ANY, load=2)], False, "a"),
        ([Worker("a", ANY), Worker("b", SPECIAL, load=99)], False, "b"),
        ([Worker("a", ANY), Worker("b", SPECIAL, capacity=1, load=1)], False, None),
        ([Worker("a", ANY), Worker("b", SPECIAL, capacity=1, load=1)], True, "a"),
        ([Worker("a", ANY), Worker("b", SPECIAL, draining=True)], False, "a"),
        ([Worker("a", ANY, draining=True)], True, None),
        ([Worker("a", [takes("other")])], True, None),
        ([], True, None),
    ],
    ids=[
        "the least busy",
        "the first that attached",
        "the first of equally busy ones",
        "the most specific though it is busier",
        "a full tier waits",
        "unless the item may spill over",
        "who drains is no candidate",
        "nobody but one that drains",
        "another name",
        "nobody there",
    ],
)
def test_who_gets_the_item(workers: list[Worker], spillover: bool, chosen: str | None) -> None:
    assert choice(*workers).worker_for(item(cloud="aws", spillover=spillover)) == chosen


@pytest.mark.parametrize(
    ("elsewhere", "waited", "chosen"),
    [
        (takes(cloud="aws"), False, None),
        (takes(cloud="aws"), True, "a"),
        (takes(cloud="gcp"), False, "a"),
        (takes(), False, "a"),
    ],
    ids=["a better one elsewhere", "that did not take it", "that does not fit", "that is no better"],
)
def test_an_item_waits_a_moment_for_a_better_worker_of_another_gateway(
    elsewhere: Description, waited: bool, chosen: str | None
) -> None:
    asked = choice(Worker("a", ANY), elsewhere=[elsewhere], waited=waited)
    assert asked.worker_for(item(cloud="aws")) == chosen


def test_twenty_items_over_four_equal_workers_are_five_each() -> None:
    looking = choice(*(Worker(name, ANY) for name in "abcd"))
    assert Counter(looking.worker_for(item()) for _ in range(20)) == dict.fromkeys("abcd", 5)


def test_all_names_of_a_connection_share_its_count() -> None:
    looking = choice(Worker("both", [takes("one"), takes("two")]), Worker("one", [takes("one")]))
    assert [looking.worker_for(item(name)) for name in ("two", "one")] == ["both", "one"]


def test_there_is_room_until_all_are_full() -> None:
    looking = choice(Worker("a", ANY, capacity=2, load=1))
    assert looking.room("tag")
    assert not looking.room("other")
    looking.worker_for(item())
    assert not looking.room("tag")


def test_who_came_or_went_is_known_once_that_is_told() -> None:
    present = {"a": Worker("a", ANY)}
    workers = Workers(present)
    assert workers.names() == ["tag"]
    present["b"] = Worker("b", [takes("other")])
    workers.changed()
    assert workers.names() == ["other", "tag"]


def test_a_wait_begins_with_the_first_question_and_is_short() -> None:
    deferred = Deferred()
    assert [deferred.waited("x", at) for at in (1.0, 1.0 + DEFERRED_SECONDS / 2, 1.0 + DEFERRED_SECONDS)] == [
        False,
        False,
        True,
    ]
    deferred.forget("x")
    assert not deferred.waited("x", 9.0)


def test_waits_are_not_kept_without_end() -> None:
    deferred = Deferred()
    for number in range(MAX_DEFERRED + 2):
        deferred.waited(str(number), 0.0)
    assert len(deferred) <= MAX_DEFERRED + 1


@given(st.lists(st.integers(1, 4), min_size=1, max_size=6), st.integers(0, 30))
def test_nobody_gets_more_than_fits_and_nothing_waits_while_there_is_room(
    capacities: list[int], items: int
) -> None:
    looking = choice(*(Worker(str(n), ANY, capacity=capacity) for n, capacity in enumerate(capacities)))
    given = Counter(chosen for _ in range(items) if (chosen := looking.worker_for(item())) is not None)
    assert all(count <= capacities[int(name)] for name, count in given.items())
    assert sum(given.values()) == min(items, sum(capacities))
