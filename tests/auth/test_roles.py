"""What roles grant: each row of the table of ``auth.md`` 3.2, its examples, and the limits."""

import time
from typing import Final

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from queue_service.auth.roles import ExpansionTooLarge, Roles, find_cycle, role_scope_problem
from queue_service.auth.scopes import ScopeSet, normal_form
from tests.auth import naive
from tests.auth.strategies import any_tables, role_scopes, tables

some_scopes = st.lists(role_scopes, max_size=5)
WITHOUT: Final = object()
"""A role that is granted, and has no parameter."""


# ---- the table -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "role_id", "parameter"),
    [
        # no final star, no final star
        ("assume:r", "r", WITHOUT),
        ("assume:r", "rs", None),
        ("assume:rs", "r", None),
        ("assume:", "r", None),
        ("r", "r", None),
        ("assume", "r", None),
        # no final star, p*
        ("assume:p/x", "p/*", "x"),
        ("assume:p/", "p/*", ""),
        ("assume:p", "p/*", None),
        ("assume:anything", "*", "anything"),
        ("assume:", "*", ""),
        ("assume", "*", None),
        ("p/x", "p/*", None),
        # s*, no final star
        ("assume:r*", "r", WITHOUT),
        ("assume:r*", "role", WITHOUT),
        ("assume:rolex*", "role", None),
        ("assume:s*", "role", None),
        # s*, p*, as wide or wider
        ("assume:p*", "p*", "*"),
        ("assume:p*", "pq*", "*"),
        # s*, p*, narrower
        ("assume:pq*", "p*", "q*"),
        ("assume:pq*", "*", "pq*"),
        ("assume:q*", "p*", None),
        # shorter than any role
        ("assume:*", "r", WITHOUT),
        ("assume:*", "p*", "*"),
        ("assume*", "r", WITHOUT),
        ("assume*", "p*", "*"),
        ("assum*", "r", WITHOUT),
        ("a*", "r", WITHOUT),
        ("a*", "p*", "*"),
        # and what only looks like it
        ("b*", "r", None),
        ("assumes*", "r", None),
        ("assume", "p*", None),
        ("a", "p*", None),
    ],
)
def test_a_scope_grants_a_role_with_its_parameter(scope: str, role_id: str, parameter: object) -> None:
    granted = {None: [], WITHOUT: ["got:<..>"]}.get(parameter, [f"got:{parameter}"])
    assert Roles({role_id: ["got:<..>"]}).expand([scope]) == ScopeSet.of([scope, *granted])


def test_a_star_has_everything_already() -> None:
    assert Roles({"r": ["a"], "p*": ["b<..>"]}).expand(["*", "x"]).scopes == ("*",)
    assert Roles({"r": ["a", "*"]}).expand(["assume:r", "x"]).scopes == ("*",)


def test_what_is_granted_grants_more() -> None:
    roles = Roles({"a": ["assume:b", "1"], "b": ["assume:c/*", "2"], "c/d": ["3"], "c/e": ["4"], "d": ["5"]})
    assert roles.expand(["assume:a"]).scopes == ("1", "2", "3", "4", "assume:a", "assume:b", "assume:c/*")


def test_the_input_is_in_the_expansion() -> None:
    assert Roles({}).expand(["x", "assume:nobody"]).scopes == ("assume:nobody", "x")
    assert Roles({}).expand([]).scopes == ()


# ---- parameters ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "held", "granted"),
    [
        ("x:<..>:y", "assume:hook-id:a/b", "x:b:y"),
        ("x:<..>:y", "assume:hook-id:a/*", "x:*"),
        ("x:<..>:y", "assume:hook-id:*", "x:*"),
        ("x:<..>:y", "assume:*", "x:*"),
        ("E<..>F", "assume:hook-id:a/XY*", "EXY*"),
        ("E<..>F", "assume:hook-id:a/XY", "EXYF"),
        ("E<..>", "assume:hook-id:a/", "E"),
        ("E<..>*", "assume:hook-id:a/b", "Eb*"),
        ("E<..>*", "assume:hook-id:a/b*", "Eb*"),
        ("<..>", "assume:hook-id:a/queue:x", "queue:x"),
        ("no parameter", "assume:hook-id:a/b", "no parameter"),
        ("E<.>F", "assume:hook-id:a/b", "E<.>F"),
        ("E<..>F", "assume:hook-id:a/<..>", "E<..>F"),
    ],
)
def test_a_parameter_is_filled_in_and_what_follows_a_star_is_cut(scope: str, held: str, granted: str) -> None:
    assert Roles({"hook-id:a/*": [scope]}).expand([held]) == ScopeSet.of([held, granted])


def test_a_role_without_a_final_star_has_no_parameter() -> None:
    assert Roles({"a*b": ["x:<..>"]}).expand(["assume:a*b"]).scopes == ("assume:a*b", "x:<..>")


def test_a_filled_parameter_can_hold_another_role() -> None:
    roles = Roles({"repo:*": ["assume:hook:<..>/run"], "hook:*": ["queue:route:<..>"]})
    assert roles.expand(["assume:repo:a"]).scopes == (
        "assume:hook:a/run",
        "assume:repo:a",
        "queue:route:a/run",
    )
    assert "queue:route:a*" in roles.expand(["assume:repo:a*"]).scopes


def test_nested_patterns_all_grant() -> None:
    roles = Roles(
        {"*": ["0<..>"], "a*": ["1<..>"], "ab*": ["2<..>"], "abc": ["3"], "b*": ["4<..>"], "abd*": []}
    )
    assert roles.expand(["assume:abc"]).scopes == ("0abc", "1bc", "2c", "3", "assume:abc")
    assert roles.expand(["assume:abe"]).scopes == ("0abe", "1be", "2e", "assume:abe")


# ---- properties ----------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(tables(), some_scopes)
def test_an_expansion_is_that_of_the_table_row_by_row(table: dict[str, list[str]], held: list[str]) -> None:
    assume(not naive.has_cycle(table))
    assert Roles(table).expand(held).scopes == normal_form(naive.expand(table, held))


@settings(deadline=None, max_examples=60)
@given(tables(), some_scopes)
def test_an_expansion_is_a_fixpoint(table: dict[str, list[str]], held: list[str]) -> None:
    assume(not naive.has_cycle(table))
    roles = Roles(table)
    once = roles.expand(held)
    assert roles.expand(once.scopes) == once


@settings(deadline=None, max_examples=60)
@given(tables(), some_scopes, some_scopes)
def test_who_has_more_gets_more(table: dict[str, list[str]], held: list[str], more: list[str]) -> None:
    assume(not naive.has_cycle(table))
    roles = Roles(table)
    wider = roles.expand([*held, *more])
    assert all(wider.satisfies(scope) for scope in roles.expand(held).scopes)


@settings(deadline=None, max_examples=60)
@given(tables(), role_scopes, st.integers(0, 12))
def test_a_scope_grants_all_that_those_it_satisfies_do(
    table: dict[str, list[str]], narrow: str, kept: int
) -> None:
    assume(not naive.has_cycle(table))
    roles = Roles(table)
    wider = roles.expand([narrow.removesuffix("*")[:kept] + "*"])
    assert all(wider.satisfies(scope) for scope in roles.expand([narrow]).scopes)


# ---- cycles --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "cycle"),
    [
        ({"a": ["assume:a"]}, ["a"]),
        ({"a": ["assume:b"], "b": ["assume:a"]}, ["a", "b"]),
        ({"x": ["assume:a"], "a": ["s", "assume:b"], "b": ["assume:c"], "c": ["assume:a"]}, ["a", "b", "c"]),
        ({"a": ["assume:*"]}, ["a"]),
        ({"a": ["assume:a*"]}, ["a"]),
        ({"a": ["as*"]}, ["a"]),
        ({"a*": ["assume:ab"]}, ["a*"]),
        ({"a*": ["assume:a<..>x"]}, ["a*"]),
        ({"a*": ["assume:b<..>"], "b*": ["assume:a<..>x"]}, ["a*", "b*"]),
        ({"a*": ["assume:b<..>"], "bc": ["assume:ad"]}, ["a*", "bc"]),
        ({"a*": ["<..>"]}, ["a*"]),
        ({"b*": ["assume:c<..>"], "c*": ["<..>"]}, ["b*", "c*"]),
    ],
)
def test_a_cycle_is_named(table: dict[str, list[str]], cycle: list[str]) -> None:
    found = find_cycle(table)
    assert found is not None
    place = found.index(cycle[0])
    assert found[place:] + found[:place] == cycle


@pytest.mark.parametrize(
    "table",
    [
        {},
        {"a": [], "b": ["assume:a"], "c": ["assume:a", "assume:b"]},
        {"root": ["*"], "admin": ["assume:root", "*"]},
        {"root*": ["*"]},
        {"a*": ["b:<..>", "assume:c<..>"], "c*": ["d:<..>"]},
        {"a": ["assume:<..>"]},
        {"a": ["b*"], "b": ["assume:aa"]},
        {"a": ["assume", "a", "assume:b"]},
    ],
)
def test_roles_that_only_meet_are_no_cycle(table: dict[str, list[str]]) -> None:
    assert find_cycle(table) is None


@settings(deadline=None)
@given(any_tables)
def test_a_cycle_is_found_wherever_there_is_one(table: dict[str, list[str]]) -> None:
    found = find_cycle(table)
    assert (found is not None) is naive.has_cycle(table)
    if found is not None:
        for role_id, following in zip(found, [*found[1:], found[0]], strict=True):
            assert following in naive.depends(table, role_id)


def test_a_cycle_ends_all_the_same() -> None:
    """A table with a cycle is never stored; if it is all the same, the service must not hang."""
    assert Roles({"a": ["assume:b"], "b": ["assume:a", "x"]}).expand(["assume:a"]).satisfies("x")
    with pytest.raises(ExpansionTooLarge):
        Roles({"a*": ["assume:a<..>x"]}).expand(["assume:ab"])


def test_roles_that_double_each_other_end_with_an_error() -> None:
    """Each of thirty roles grants the next one twice, with two parameters: a thousand million scopes."""
    table = {f"{number}-*": [f"assume:{number + 1}-<..>{turn}" for turn in "lr"] for number in range(30)}
    assert find_cycle(table) is None
    with pytest.raises(ExpansionTooLarge):
        Roles(table).expand(["assume:0-"])


def test_ten_thousand_roles_are_no_matter() -> None:
    table = {
        f"project:p{n % 100}:role-{n}": [f"assume:project:p{n % 100}:role-{n + 1}", f"s:{n}"]
        for n in range(9_000)
    }
    table |= {f"repo:{n}/*": [f"assume:project:p{n}:*", "queue:route:<..>"] for n in range(1_000)}
    started = time.process_time()
    assert find_cycle(table) is None
    roles = Roles(table)
    assert roles.expand(["assume:*"]).satisfies("s:8999")
    assert roles.expand(["assume:repo:7/x"]).satisfies("s:107")
    assert time.process_time() - started < 30  # seconds where milliseconds are expected


# ---- scopes of roles -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role_id", "scope"),
    [
        ("a*", "x:<..>"),
        ("a*", "x:<..>*"),
        ("a*", "x*<..>y"),
        ("a", "x:<..>:<..>"),
        ("a", "x:*<..>"),
        ("a", ""),
        ("a", "*"),
        ("a*", "**x"),
    ],
)
def test_a_role_may_have_such_a_scope(role_id: str, scope: str) -> None:
    assert role_scope_problem(role_id, scope) is None


@pytest.mark.parametrize(
    ("role_id", "scope", "reason"),
    [
        ("a", "x**", "`**`"),
        ("a*", "**", "`**`"),
        ("a*", "x:*<..>", "`*<..>`"),
        ("a*", "<..>:<..>", "more than once"),
        ("a", "x\n", "printable"),
        ("a", "ü", "printable"),
    ],
)
def test_a_role_must_not_have_such_a_scope(role_id: str, scope: str, reason: str) -> None:
    problem = role_scope_problem(role_id, scope)
    assert problem is not None
    assert reason in problem
    assert f"`{role_id}`" in problem


def test_the_roles_do_not_follow_later_changes_of_the_table() -> None:
    table = {"a": ["x"]}
    roles = Roles(table)
    table["a"].append("y")
    assert roles.expand(["assume:a"]).scopes == ("assume:a", "x")
