"""Scope expressions: filled, judged, and told (``auth.md`` 3.3, 3.4)."""

from collections.abc import Mapping
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queue_service.api.endpoints import CREATE_TASK_SCOPES
from queue_service.auth.expressions import (
    Expression,
    TemplateError,
    described,
    missing,
    render,
    satisfied,
)
from queue_service.auth.scopes import ScopeSet
from tests.auth.strategies import expressions, scopes

EACH: Final = {"for": "name", "in": "names", "each": "get:<name>"}
IF: Final = {"if": "private", "then": "see:private"}
IF_ELSE: Final = {"if": "private", "then": {"AllOf": ["a", "b"]}, "else": "c"}


# ---- filling -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "parameters", "rendered"),
    [
        ("a:b", {}, "a:b"),
        ("a:<b>", {"b": "x/y"}, "a:x/y"),
        ("<a><b>:<a>", {"a": "1", "b": "2"}, "12:1"),
        ("a:<run>", {"run": 0}, "a:0"),
        ("100%:<a>:%s", {"a": "%d"}, "100%:%d:%s"),
        ("a:<b>", {"b": "<c>", "c": "x"}, "a:<c>"),
        ("a:{b}<b>", {"b": "x"}, "a:{b}x"),
        ({"AllOf": []}, {}, {"AllOf": []}),
        ({"AllOf": ["<a>", {"AnyOf": ["b", "<a>"]}]}, {"a": "x"}, {"AllOf": ["x", {"AnyOf": ["b", "x"]}]}),
        ({"AllOf": ["x", EACH, "y"]}, {"names": ["a", "b"]}, {"AllOf": ["x", "get:a", "get:b", "y"]}),
        ({"AnyOf": [EACH]}, {"names": ("a",)}, {"AnyOf": ["get:a"]}),
        ({"AllOf": [EACH]}, {"names": []}, {"AllOf": []}),
        (
            {"AllOf": [{"for": "p", "in": "ps", "each": "<q>/<p>#<p>%"}]},
            {"ps": ["1", "2"], "q": "%s", "p": "shadowed"},
            {"AllOf": ["%s/1#1%", "%s/2#2%"]},
        ),
        (IF, {"private": True}, "see:private"),
        (IF, {"private": False}, None),
        (IF_ELSE, {"private": True}, {"AllOf": ["a", "b"]}),
        (IF_ELSE, {"private": False}, "c"),
        ({"AllOf": ["x", IF]}, {"private": False}, {"AllOf": ["x"]}),
        (
            {"AllOf": [{"if": "private", "then": EACH}]},
            {"private": True, "names": ["a"]},
            {"AllOf": ["get:a"]},
        ),
        ({"if": "a", "then": IF}, {"a": True, "private": False}, None),
    ],
)
def test_a_template_is_filled(
    template: Any, parameters: Mapping[str, Any], rendered: Expression | None
) -> None:
    assert render(template, parameters) == rendered
    assert render(template, parameters) == rendered, "the second time, too"


@pytest.mark.parametrize(
    ("template", "parameters", "named"),
    [
        ("a:<b>", {}, "'b'"),
        ("a:<b>", {"b": None}, "'b'"),
        ("a:<b>", {"b": ["x"]}, "'b'"),
        ("a:<b>", {"b": True}, "'b'"),
        ("a:<b>", {"b": 1.5}, "'b'"),
        ({"AllOf": [EACH]}, {}, "'names'"),
        ({"AllOf": [EACH]}, {"names": "abc"}, "'names'"),
        ({"AllOf": [EACH]}, {"names": [1]}, "'names'"),
        ({"AllOf": [EACH]}, {"names": {"a": "b"}}, "'names'"),
        (IF, {}, "'private'"),
        (IF, {"private": "true"}, "'private'"),
        (EACH, {"names": ["a"]}, "list"),
        ({"if": "private", "then": EACH}, {"private": True, "names": ["a", "b"]}, "list"),
        ({"AllOf": "a"}, {}, "no scope expression"),
        ({"OneOf": ["a"]}, {}, "no scope expression"),
        ({"AllOf": [None]}, {}, "no scope expression"),
        (None, {}, "no scope expression"),
        (3, {}, "no scope expression"),
    ],
)
def test_a_mistake_of_the_program_is_an_error_of_the_program(
    template: Any, parameters: Mapping[str, Any], named: str
) -> None:
    with pytest.raises(TemplateError, match=named):
        render(template, parameters)


def test_of_very_many_templates_each_is_its_own() -> None:
    for number in range(3000):
        assert render({"AllOf": [f"{number}:<a>"]}, {"a": "x"}) == {"AllOf": [f"{number}:x"]}


# ---- judging -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "held", "enough"),
    [
        ("a:b", ["a:*"], True),
        ("a:*", ["a:b"], False),
        ({"AllOf": []}, [], True),
        ({"AnyOf": []}, ["*"], False),
        ({"AllOf": ["a", "b"]}, ["a"], False),
        ({"AllOf": ["a", "b"]}, ["a", "b"], True),
        ({"AnyOf": ["a", "b"]}, ["b"], True),
        ({"AnyOf": ["a", {"AllOf": []}]}, [], True),
        ({"AllOf": ["a", {"AnyOf": []}]}, ["*"], False),
    ],
)
def test_scopes_are_enough_or_not(expression: Expression, held: list[str], enough: bool) -> None:
    assert satisfied(expression, ScopeSet.of(held)) is enough


@pytest.mark.parametrize(
    ("expression", "held", "left"),
    [
        ("a", [], "a"),
        ("a", ["a"], {"AllOf": []}),
        ({"AllOf": ["a", "b"]}, [], {"AllOf": ["a", "b"]}),
        ({"AllOf": ["a", "b"]}, ["a"], "b"),
        ({"AllOf": ["a", "b", "c"]}, ["b"], {"AllOf": ["a", "c"]}),
        ({"AnyOf": ["a", "b"]}, [], {"AnyOf": ["a", "b"]}),
        ({"AllOf": ["a", {"AnyOf": ["b", "c"]}]}, ["c"], "a"),
        ({"AllOf": ["a", {"AnyOf": ["b", "c"]}]}, ["a"], {"AnyOf": ["b", "c"]}),
        ({"AnyOf": ["a", {"AllOf": ["b", "c"]}]}, ["b"], {"AnyOf": ["a", "c"]}),
        ({"AnyOf": [{"AllOf": ["a", "b"]}]}, ["a"], "b"),
        ({"AllOf": ["a", {"AnyOf": []}]}, ["*"], {"AnyOf": []}),
    ],
)
def test_what_is_missing_is_the_rest(expression: Expression, held: list[str], left: Expression) -> None:
    assert missing(expression, ScopeSet.of(held)) == left


some_scopes = st.lists(scopes, max_size=4)


@given(expressions, some_scopes, some_scopes)
def test_what_is_missing_is_exactly_what_must_be_added(
    expression: Expression, held: list[str], added: list[str]
) -> None:
    left = missing(expression, ScopeSet.of(held))
    together = satisfied(expression, ScopeSet.of([*held, *added]))
    assert satisfied(left, ScopeSet.of(added)) is together


@given(expressions, some_scopes)
def test_nothing_is_missing_when_the_scopes_are_enough(expression: Expression, held: list[str]) -> None:
    enough = satisfied(expression, ScopeSet.of(held))
    assert (missing(expression, ScopeSet.of(held)) == {"AllOf": []}) is enough


def test_create_task_misses_what_a_client_of_another_project_lacks() -> None:
    required = render(
        CREATE_TASK_SCOPES,
        {
            "scopes": ["secrets:get:x"],
            "routes": ["index.a"],
            "projectId": "taskbus",
            "schedulerId": "-",
            "priorities": ["highest", "high"],
            "provisionerId": "taskbus-ci",
            "workerType": "b-linux",
        },
    )
    assert required is not None
    held = ScopeSet.of(["queue:route:*", "queue:scheduler-id:-", "queue:create-task:high:taskbus-ci/*"])
    assert not satisfied(required, held)
    assert missing(required, held) == {"AllOf": ["secrets:get:x", "queue:create-task:project:taskbus"]}


# ---- telling -------------------------------------------------------------------------------------------


def test_one_scope_is_told_as_it_is() -> None:
    assert described("queue:get-task:x") == "```\nqueue:get-task:x\n```"


def test_more_is_told_as_indented_json() -> None:
    assert described({"AllOf": ["a", {"AnyOf": ["b"]}]}) == (
        '```\n{\n  "AllOf": [\n    "a",\n    {\n      "AnyOf": [\n        "b"\n      ]\n    }\n  ]\n}\n```'
    )
