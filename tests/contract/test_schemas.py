"""Our shapes against the reference: same members but for extensions, what we send fits, equal refusals."""

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.base import Document, DocumentUnion, Request, RequestUnion, Wire
from schemas.export import json_schema, named_shapes
from tests.contract.bodies import EXAMPLES, ODD_VALUES
from tests.contract.extensions import plain_schema
from tests.contract.generation import values
from tests.contract.reference import Validator

REFERENCE: Final = Validator()
SHARED: Final = {name: shape for name, shape in named_shapes().items() if name in REFERENCE}
UNIONS: Final = {
    name: shape for name, shape in SHARED.items() if issubclass(shape, RequestUnion | DocumentUnion)
}
REQUESTS: Final = {name: shape for name, shape in SHARED.items() if issubclass(shape, Request | RequestUnion)}
DOCUMENTS: Final = {name: shape for name, shape in SHARED.items() if issubclass(shape, Document)}

QUICK: Final = settings(
    phases=[Phase.generate], deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
"""Without shrinking, which takes minutes on shapes of this size; the failing member is named anyway."""


def accepts(shape: type[Wire], body: object) -> bool:
    """Whether a shape accepts a body; Python values and JSON text must be treated alike."""

    def tried(read: Any, source: object) -> bool:
        try:
            read(source)
        except ValidationError:
            return False
        return True

    answers = {tried(shape.model_validate, body), tried(shape.from_json, json.dumps(body))}
    assert len(answers) == 1, f"{body!r} is accepted only as a Python value or only as JSON"
    return answers.pop()


def variations(body: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The body with a member added, left out or replaced, also inside ``metadata``; each with a label."""
    yield "with an unknown member", body | {"surprise": 1}
    for name, value in body.items():
        yield f"without {name}", {member: body[member] for member in body if member != name}
        near_misses = [value + "\n", "\n" + value, value + " ", [value]] if isinstance(value, str) else []
        for odd in [*ODD_VALUES, *near_misses]:
            yield f"{name} = {str(odd)[:40]!r}", body | {name: odd}
        if name == "metadata":
            for label, metadata in variations(value):
                yield f"{name}: {label}", body | {name: metadata}


def request_of(example: str) -> str:
    """The name of the request that an example is one of."""
    return example.partition(" ")[0]


def test_every_request_has_an_example() -> None:
    assert set(map(request_of, EXAMPLES)) == set(REQUESTS)


def branches(shapes: Iterable[dict[str, Any]]) -> dict[str, tuple[set[str], set[str]]]:
    """Members, and required members, of shapes that are told apart by their storage type."""
    found = {}
    for shape in shapes:
        kind = shape["properties"]["storageType"]
        required = set(shape["required"]) | {"storageType"}
        found[kind.get("const") or kind["enum"][0]] = (set(shape["properties"]), required)
    return found


@pytest.mark.parametrize("name", UNIONS)
def test_a_shape_of_several_has_the_same_ones_as_the_reference(name: str) -> None:
    ours = json_schema(UNIONS[name])
    shapes = [ours["$defs"][one["$ref"].removeprefix("#/$defs/")] for one in ours["oneOf"]]
    assert branches(shapes) == branches(REFERENCE.shape(name)["oneOf"])


@pytest.mark.parametrize("name", SHARED.keys() - UNIONS.keys())
def test_members_are_those_of_the_reference(name: str) -> None:
    assert set(plain_schema(SHARED[name])["properties"]) == set(REFERENCE.shape(name)["properties"])


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_always_has_what_the_reference_promises(name: str) -> None:
    assert set(json_schema(DOCUMENTS[name])["required"]) >= set(REFERENCE.shape(name)["required"])


@pytest.mark.parametrize("name", SHARED)
def test_what_we_send_fits_the_reference_and_reads_back_equal(name: str) -> None:
    shape = SHARED[name]

    @settings(QUICK, max_examples=20)
    @given(values(plain_schema(shape)))
    def check(body: dict[str, Any]) -> None:
        value = shape.model_validate(body)
        assert REFERENCE.errors(name, value.to_wire()) == []
        assert json.loads(value.to_json()) == value.to_wire()
        assert shape.from_json(value.to_json()) == value

    check()


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_is_accepted(example: str) -> None:
    name = request_of(example)
    assert REFERENCE.errors(name, EXAMPLES[example]) == []
    assert accepts(REQUESTS[name], EXAMPLES[example])


@pytest.mark.parametrize("example", EXAMPLES)
def test_a_request_is_refused_exactly_when_the_reference_refuses_it(example: str) -> None:
    name = request_of(example)
    differences = [
        f"{label}: {'we accept it' if ours else 'we refuse it'}; reference: {errors or 'valid'}"
        for label, body in variations(EXAMPLES[example])
        if (ours := accepts(REQUESTS[name], body)) == bool(errors := REFERENCE.request_errors(name, body))
    ]
    assert not differences, "\n".join(differences)


@pytest.mark.parametrize("example", EXAMPLES)
def test_a_request_that_is_no_object_is_refused(example: str) -> None:
    shape = REQUESTS[request_of(example)]
    assert not any(accepts(shape, body) for body in ([], "", 1, None, [EXAMPLES[example]]))


@pytest.mark.parametrize("moment", ["2024-05-01t12:00:00z", "2024-05-01 12:00:00.5+01:00"])
def test_spellings_of_rfc_3339_that_the_validator_does_not_know_are_accepted(moment: str) -> None:
    assert accepts(REQUESTS["create-task-request"], EXAMPLES["create-task-request"] | {"created": moment})


@settings(QUICK, max_examples=200)
@given(st.data())
def test_any_json_in_any_member_is_judged_as_the_reference_does(data: st.DataObject) -> None:
    example = data.draw(st.sampled_from(sorted(EXAMPLES)))
    name = request_of(example)
    member = data.draw(st.sampled_from(sorted(EXAMPLES[example])))
    body = EXAMPLES[example] | {member: data.draw(values({}))}
    assert accepts(REQUESTS[name], body) == (REFERENCE.request_errors(name, body) == [])
