"""The rules of the index: paths, what a completed task is found by, and who replaces whom."""

from datetime import timedelta
from typing import Any

import pytest

from queue_service.core.index import (
    IndexedTask,
    best,
    entries_of,
    has_index_route,
    is_path,
    namespaces_of,
    split,
)
from tests.core.samples import EXPIRES, TASK_ID, definition, new_ids

A, B = new_ids(2)


def entry(path: str, task_id: str = TASK_ID, *, rank: float = 0, days: int = 0) -> IndexedTask:
    return IndexedTask(*split(path), task_id, rank, {}, EXPIRES + timedelta(days=days))


@pytest.mark.parametrize("path", ["a", "a.b", "project.v2.branch-1.rev_2", "~a!*'()%.-", "a" * 255])
def test_a_path_is_words_between_dots(path: str) -> None:
    assert is_path(path)


@pytest.mark.parametrize(
    "path", ["", ".", "a.", ".a", "a..b", "a b", "a/b", "ä", "a\n", "a\x00", "a:b", "a" * 256]
)
def test_what_is_no_path(path: str) -> None:
    assert not is_path(path)


@pytest.mark.parametrize(("path", "parts"), [("a", ("", "a")), ("a.b", ("a", "b")), ("a.b.c", ("a.b", "c"))])
def test_a_path_is_a_name_in_a_namespace(path: str, parts: tuple[str, str]) -> None:
    assert split(path) == parts
    assert entry(path).path == path


def test_a_task_is_found_by_its_index_routes_alone() -> None:
    found = entries_of(
        TASK_ID, definition(routes=["index.a.b", "checks", "index.c", "indexed.d", "x.index.e"])
    )
    assert [item.path for item in found] == ["a.b", "c"]


def test_a_route_that_is_no_path_is_left_out() -> None:
    found = entries_of(TASK_ID, definition(routes=["index.", "index.a..b", "index.a/b", "index.a"]))
    assert [item.path for item in found] == ["a"]


def test_a_task_that_says_nothing_gets_the_defaults() -> None:
    (found,) = entries_of(TASK_ID, definition(routes=["index.a"]))
    assert found == IndexedTask("", "a", TASK_ID, 0, {}, EXPIRES)


def test_a_task_says_rank_data_and_expiry_of_its_entry() -> None:
    wishes = {"rank": 1714564800, "data": {"k": [None, 1]}, "expires": "2024-06-01T00:00:00Z"}
    (found,) = entries_of(TASK_ID, definition(routes=["index.a"], extra={"index": wishes}))
    assert (found.rank, found.data) == (1714564800, {"k": [None, 1]})
    assert found.expires.isoformat() == "2024-06-01T00:00:00+00:00"


@pytest.mark.parametrize(
    "wishes",
    [
        None, 5, [], "rank", {"rank": "7"}, {"rank": True}, {"rank": None}, {"rank": 10**400}, {"data": []},
        {"data": None}, {"expires": "tomorrow"}, {"expires": 5}, {"expires": "0000-01-01T00:00:00Z"},
    ],
)  # fmt: skip
def test_what_is_written_wrongly_takes_its_default(wishes: Any) -> None:
    (found,) = entries_of(TASK_ID, definition(routes=["index.a"], extra={"index": wishes}))
    assert found == IndexedTask("", "a", TASK_ID, 0, {}, EXPIRES)


@pytest.mark.parametrize(
    ("ranks", "winner"), [((0, 0), B), ((1, 0), A), ((0, 1), B), ((-1, -2), A), ((0.5, 0.25), A)]
)
def test_the_highest_rank_wins_and_of_equal_ones_the_last(ranks: tuple[float, float], winner: str) -> None:
    assert [item.task_id for item in best([entry("p", A, rank=ranks[0]), entry("p", B, rank=ranks[1])])] == [
        winner
    ]


def test_every_path_has_its_own_winner() -> None:
    assert [item.path for item in best([entry("b"), entry("a.b"), entry("a")])] == ["a", "b", "a.b"]


def test_a_task_is_in_every_namespace_above_it() -> None:
    found = namespaces_of([entry("a.b.c"), entry("a.d")])
    assert [(item.parent, item.name) for item in found] == [("", "a"), ("a", "b")]


def test_a_task_at_the_root_is_in_no_namespace() -> None:
    assert namespaces_of([entry("a")]) == []


def test_a_namespace_is_needed_by_its_longest_lived_task() -> None:
    found = namespaces_of([entry("a.x", days=1), entry("a.y", days=9), entry("a.z", days=5)])
    assert [item.expires for item in found] == [EXPIRES + timedelta(days=9)]


def test_only_routes_of_the_index_make_work() -> None:
    assert has_index_route(("checks", "index.a"))
    assert not has_index_route(("checks", "indexed.a"))
    assert not has_index_route(())
