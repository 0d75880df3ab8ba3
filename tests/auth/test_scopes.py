"""Which scope satisfies which, and sets of scopes (``auth.md`` 3.1, 3.2)."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queue_service.auth.scopes import ScopeSet, normal_form, satisfies, valid_scope
from tests.auth import naive
from tests.auth.strategies import scopes

some_scopes = st.lists(scopes, max_size=8)


@pytest.mark.parametrize(
    ("held", "required", "enough"),
    [
        ("a", "a", True),
        ("a", "ab", False),
        ("ab", "a", False),
        ("a*", "a", True),
        ("a*", "ab", True),
        ("a*", "b", False),
        ("a*", "a*", True),
        ("a*", "ab*", True),
        ("ab*", "a*", False),
        ("a", "a*", False),
        ("*", "", True),
        ("*", "anything", True),
        ("*", "*", True),
        ("", "", True),
        ("", "a", False),
        ("a*b", "axb", False),
        ("a*b", "a*b", True),
        ("a**", "a*b", True),
        ("a**", "ab", False),
    ],
)
def test_only_the_final_star_of_the_held_scope_is_special(held: str, required: str, enough: bool) -> None:
    assert satisfies(held, required) is enough
    assert ScopeSet.of([held]).satisfies(required) is enough


@pytest.mark.parametrize("text", ["", " ", "~", "a:b/c*<..>", "x" * 10_000])
def test_printable_ascii_is_a_scope(text: str) -> None:
    assert valid_scope(text)


@pytest.mark.parametrize("text", ["\n", "a\n", "a\x7f", "\x1f", "ä", "\ud800", "a\0"])
def test_anything_else_is_no_scope(text: str) -> None:
    assert not valid_scope(text)


@given(scopes, scopes, scopes)
def test_satisfaction_is_reflexive_and_transitive(one: str, other: str, third: str) -> None:
    assert satisfies(one, one)
    for a, b, c in itertools.permutations((one, other, third)):
        assert not (satisfies(a, b) and satisfies(b, c)) or satisfies(a, c)


@given(some_scopes, scopes)
def test_a_set_satisfies_what_one_of_its_scopes_satisfies(held: list[str], required: str) -> None:
    assert ScopeSet.of(held).satisfies(required) is any(satisfies(scope, required) for scope in held)


@given(some_scopes)
def test_the_normal_form_has_exactly_what_nothing_else_satisfies(held: list[str]) -> None:
    found = normal_form(held)
    assert set(found) == naive.minimal(held)
    assert len(set(found)) == len(found)


@given(some_scopes, st.randoms())
def test_the_normal_form_does_not_depend_on_the_order(held: list[str], random: object) -> None:
    shuffled = [*held, *held[:2]]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert normal_form(shuffled) == normal_form(held)
    assert normal_form(normal_form(held)) == normal_form(held)


def test_the_normal_form_is_in_the_order_of_code_units() -> None:
    assert normal_form(["b", "a:b", "B", "a b", "a", "~", " ", "a/*"]) == (
        " ",
        "B",
        "a",
        "a b",
        "a/*",
        "a:b",
        "b",
        "~",
    )


def test_a_pattern_stands_where_its_text_without_the_star_would() -> None:
    """``ab*`` is before ``ab!``, although a star comes after an exclamation mark."""
    assert normal_form(["ab!", "b", "ab*", "a"]) == ("a", "ab*", "b")
    assert normal_form(["aa", "ab*", "ab", "a!", "a"]) == ("a", "a!", "aa", "ab*")


def test_two_final_stars_are_one_text_and_one_star() -> None:
    """They are stored nowhere, but a certificate can hold them."""
    assert normal_form(["a**", "a*"]) == ("a*",)
    assert not satisfies("a**", "ab")


def test_sets_with_the_same_meaning_are_equal() -> None:
    assert ScopeSet.of(["a*", "ab", "a*"]) == ScopeSet.of(["a*"])
    assert hash(ScopeSet.of(["a*", "ab"])) == hash(ScopeSet.of(["a*"]))
    assert ScopeSet.of(["a"]) != ScopeSet.of(["a*"])


def test_among_thousands_of_scopes_each_is_found() -> None:
    exact = [f"s:{number}" for number in range(5000)]
    patterns = [f"p:{number}/*" for number in range(5000)]
    held = ScopeSet.of(exact + patterns)
    assert len(held.scopes) == 10_000
    assert all(map(held.satisfies, exact + patterns))
    assert all(held.satisfies(pattern[:-1] + "x") for pattern in patterns)
    assert not any(held.satisfies(scope + "x") for scope in exact)
    assert not any(held.satisfies(pattern[:-2]) for pattern in patterns)
