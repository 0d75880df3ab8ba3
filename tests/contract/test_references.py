"""The references that the service publishes: complete, in their own format, every name in them resolves."""

import copy
from typing import Any, Final
from urllib.parse import urljoin

import pytest
from jsonschema import Draft202012Validator

from events.exchanges import EXCHANGES
from events.task_queues import TASK_QUEUE_EXCHANGES
from queue_service.api.references import MANIFEST, references
from queue_service.catalogue import APIS
from tests.contract import client_generator
from tests.contract.reference import load

FILES: Final = references(APIS, EXCHANGES)
LISTED: Final[list[str]] = FILES[MANIFEST]["references"]
APIS_LISTED: Final = [path for path in LISTED if path.endswith("/api.json")]
EXTENSIONS: Final = {exchange.full_name for exchange in TASK_QUEUE_EXCHANGES}
"""Exchanges of ours beside those of a published service."""
SCHEMAS: Final = [path for path in FILES if path.startswith("/schemas/")]


def schema_of(path: str) -> dict[str, Any]:
    assert path.endswith("#")
    found: dict[str, Any] = FILES[path.removesuffix("#")]
    return found


@pytest.mark.parametrize("path", [MANIFEST, *LISTED])
def test_a_reference_has_the_form_that_it_says_it_has(path: str) -> None:
    Draft202012Validator(schema_of(FILES[path]["$schema"])).validate(FILES[path])


@pytest.mark.parametrize("path", SCHEMAS)
def test_a_schema_is_one_and_names_its_place(path: str) -> None:
    Draft202012Validator.check_schema(FILES[path])
    assert FILES[path]["$id"] == f"{path}#"


@pytest.mark.parametrize("path", LISTED)
def test_a_schema_that_a_reference_names_is_there(path: str) -> None:
    service = FILES[path]["serviceName"]
    for entry in FILES[path]["entries"]:
        for member in {"input", "output", "schema"} & entry.keys():
            assert urljoin(f"/schemas/{service}/", entry[member]).removesuffix("#") in FILES


def test_every_file_that_is_no_schema_is_listed() -> None:
    assert sorted(FILES.keys() - set(SCHEMAS) - {MANIFEST}) == LISTED


def test_every_endpoint_and_every_exchange_is_listed_once() -> None:
    endpoints = {(api.service, endpoint.name) for api in APIS for endpoint in api.published}
    told = {exchange.full_name for exchange in EXCHANGES} - EXTENSIONS
    entries = [(FILES[path], entry) for path in LISTED for entry in FILES[path]["entries"]]
    functions = [
        (file["serviceName"], entry["name"]) for file, entry in entries if entry["type"] == "function"
    ]
    topics = [
        file["exchangePrefix"] + entry["exchange"]
        for file, entry in entries
        if entry["type"] == "topic-exchange"
    ]
    assert sorted(functions) == sorted(endpoints)
    assert sorted(topics) == sorted(told)


@pytest.mark.parametrize("path", APIS_LISTED)
def test_a_route_has_the_arguments_that_are_listed(path: str) -> None:
    for entry in FILES[path]["entries"]:
        assert [part[1:-1] for part in entry["route"].split("/") if part.startswith("<")] == entry["args"]


@pytest.mark.parametrize("path", APIS_LISTED)
def test_an_entry_of_another_form_is_seen(path: str) -> None:
    broken = copy.deepcopy(FILES[path])
    broken["entries"][0]["route"] = "no/slash"
    assert not Draft202012Validator(schema_of(broken["$schema"])).is_valid(broken)


def test_the_queue_is_published_as_the_reference_has_it() -> None:
    wanted = {
        entry["name"]: (
            entry["method"], entry["route"], entry["args"], entry["query"], entry["scopes"],
            entry["input"], entry["output"], entry["stability"], entry["category"],
        )
        for entry in load("queue-api.json")["entries"]
    }  # fmt: skip
    found = {
        entry["name"]: (
            entry["method"], entry["route"], entry["args"], entry["query"], entry.get("scopes"),
            _file_of(entry.get("input")), _file_of(entry.get("output")), entry["stability"],
            entry["category"],
        )
        for entry in FILES["/references/queue/v1/api.json"]["entries"]
    }  # fmt: skip
    assert {name: found[name] for name in wanted} == wanted


def test_the_exchanges_are_published_as_the_reference_has_them() -> None:
    reference = load("queue-exchanges.json")
    published = FILES["/references/queue/v1/exchanges.json"]
    assert published["exchangePrefix"] == reference["exchangePrefix"]
    found = {entry["name"]: entry for entry in published["entries"]}
    for wanted in reference["entries"]:
        entry = found[wanted["name"]]
        assert entry["exchange"] == wanted["exchange"]
        assert _file_of(entry["schema"]) == wanted["schema"]
        words = [{key: word[key] for key in word if key != "summary"} for word in entry["routingKey"]]
        assert words == wanted["routingKey"]


def _file_of(name: str | None) -> str | None:
    return None if name is None else name.removeprefix("v1/").removesuffix("#")


# ---- a client generated from them ---------------------------------------------------------------------

CLASSES: Final = {
    "queue": "Queue",
    "auth": "Auth",
    "index": "Index",
    "purge-cache": "PurgeCache",
    "object": "Object",
}
"""The classes of the published Python client, by service."""
WITHOUT: Final = {
    "queue": {"taskQueueCountsBatch"},
    "auth": {
        "awsS3Credentials", "gcpCredentials", "githubRepoToken", "sentryDSN", "websocktunnelToken",
        "azureAccounts", "azureTables", "azureTableSAS", "azureContainers", "azureContainerSAS",
        "getEntityHistory", "listAuditHistory",
    },
}  # fmt: skip
"""Methods for other systems than ours, or for histories that we do not keep."""
GENERATED: Final = client_generator.services(FILES.__getitem__)


@pytest.fixture
def published() -> Any:
    return pytest.importorskip("taskcluster")


def test_the_services_of_the_published_client_are_there() -> None:
    assert set(CLASSES) <= set(GENERATED)


@pytest.mark.parametrize("service", CLASSES)
def test_a_generated_client_has_the_methods_of_the_published_one(published: Any, service: str) -> None:
    table = getattr(published, CLASSES[service]).funcinfo
    wanted = {name: client_generator.method_of(entry) for name, entry in table.items()}
    for name in WITHOUT.get(service, set()):
        wanted.pop(name, None)
    assert GENERATED[service] == wanted


@pytest.mark.parametrize(("service", "name"), [("queue", "QueueEvents"), ("auth", "AuthEvents")])
def test_a_generated_client_binds_to_the_exchanges_of_the_published_one(
    published: Any, service: str, name: str
) -> None:
    generated = client_generator.exchanges(FILES.__getitem__)[service]
    events = getattr(published, name)({"rootUrl": "http://localhost:8080"})
    methods = {
        method
        for method, value in vars(type(events)).items()
        if callable(value) and not method.startswith("_")
    }
    assert set(generated) == methods
    for method, (full_name, words) in generated.items():
        binding = getattr(events, method)()
        pattern = ".".join(_wildcard(word, several) for word, several in words)
        assert (full_name, pattern) == (binding["exchange"], binding["routingKeyPattern"])


def _wildcard(word: str, several: bool) -> str:
    if word == "routingKeyKind":
        return "primary"
    return "#" if several else "*"
