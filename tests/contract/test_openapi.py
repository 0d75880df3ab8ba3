"""The OpenAPI document: valid, complete, and with examples that the shapes accept."""

import re
from typing import Any, Final

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import TypeAdapter

from queue_service.api.examples import REQUESTS, RESPONSES
from queue_service.api.openapi import openapi
from queue_service.catalogue import APIS
from schemas.base import Wire

DOCUMENT: Final = openapi(APIS, "1.2.3")
TABLE: Final = {
    f"{api.service}.{endpoint.name}": (api, endpoint) for api in APIS for endpoint in api.endpoints
}
OPERATIONS: Final[dict[str, dict[str, Any]]] = {
    operation["operationId"]: operation
    for methods in DOCUMENT["paths"].values()
    for operation in methods.values()
}
INPUTS: Final = {endpoint.body for _, endpoint in TABLE.values() if endpoint.body is not None}
OUTPUTS: Final = {endpoint.output for _, endpoint in TABLE.values() if endpoint.output is not None}
EXAMPLES: Final = {
    **REQUESTS,
    **RESPONSES,
    **{name: examples for api in APIS for name, examples in api.examples.items()},
}
PROBLEM: Final = {"$ref": "#/components/responses/Refused403"}


def test_the_document_is_valid() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()


def test_every_endpoint_is_an_operation() -> None:
    assert set(OPERATIONS) == set(TABLE)
    assert len(OPERATIONS) == sum(len(methods) for methods in DOCUMENT["paths"].values())


def test_no_two_paths_have_the_same_form() -> None:
    forms = [re.sub(r"\{\w+\}", "{}", path) for path in DOCUMENT["paths"]]
    assert len(forms) == len(set(forms))


@pytest.mark.parametrize("name", TABLE)
def test_an_operation_has_the_parameters_of_its_path(name: str) -> None:
    (path,) = [
        path
        for path, methods in DOCUMENT["paths"].items()
        if any(operation["operationId"] == name for operation in methods.values())
    ]
    listed = [part["name"] for part in OPERATIONS[name]["parameters"] if part["in"] == "path"]
    assert listed == re.findall(r"\{(\w+)\}", path)


@pytest.mark.parametrize("name", TABLE)
def test_an_operation_tells_how_to_sign_and_what_is_refused(name: str) -> None:
    _, endpoint = TABLE[name]
    operation = OPERATIONS[name]
    judged = endpoint.scopes is not None or endpoint.tests_credentials
    assert ({"hawk": []} in operation["security"]) == judged
    assert (operation["responses"].get("401") is not None) == judged
    assert (operation["responses"].get("403") == PROBLEM) == judged
    assert "400" in operation["responses"]


@pytest.mark.parametrize("name", ["getArtifact", "getLatestArtifact"])
def test_a_download_may_find_out_why_there_is_no_artifact(name: str) -> None:
    responses = OPERATIONS[f"queue.{name}"]["responses"]
    assert {"410", "424"} <= responses.keys()
    assert responses["424"] == {"$ref": "#/components/responses/NoArtifact424"}
    assert "NoArtifact424" in DOCUMENT["components"]["responses"]


@pytest.mark.parametrize("name", TABLE)
def test_an_operation_succeeds_in_one_way(name: str) -> None:
    _, endpoint = TABLE[name]
    succeeding = [status for status in OPERATIONS[name]["responses"] if status < "400"]
    gives = endpoint.output is not None or endpoint.method == "get" or endpoint.says_done
    wanted = ["200"] if gives else ["204"]
    wanted += ["201"] if endpoint.creates else []
    wanted += ["202"] if endpoint.goes_on else []
    assert succeeding == (["303"] if endpoint.redirects else wanted)


def _by_name(shapes: set[type[Wire]]) -> dict[str, type[Wire]]:
    return {shape.schema_name: shape for shape in shapes}


def test_every_body_has_an_example_and_no_example_is_left_over() -> None:
    of_features = [name for api in APIS for name in api.examples]
    assert {*REQUESTS, *RESPONSES, *of_features} == _by_name(INPUTS | OUTPUTS).keys()
    assert REQUESTS.keys() <= _by_name(INPUTS).keys()


@pytest.mark.parametrize(("name", "shape"), sorted(_by_name(INPUTS | OUTPUTS).items()))
def test_an_example_is_what_its_shape_accepts(name: str, shape: type[Wire]) -> None:
    for example in EXAMPLES[name].values():
        value = TypeAdapter(shape).validate_python(example)
        sent = TypeAdapter(shape).dump_python(value, mode="json", by_alias=True, exclude_unset=True)
        assert sent == example


def test_a_task_that_is_shown_may_be_the_smallest() -> None:
    content = OPERATIONS["queue.createTask"]["requestBody"]["content"]["application/json"]
    shown = {label: set(example["value"]) for label, example in content["examples"].items()}
    assert min(shown.values(), key=len) == {"taskQueueId", "created", "deadline", "payload", "metadata"}
