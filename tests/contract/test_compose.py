"""compose.yaml and Dockerfile hold to what the program offers; no container engine is needed to see that."""

import re
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest

from queue_service.settings import Settings

yaml = pytest.importorskip("yaml")

REPOSITORY: Final = Path(__file__).parents[2]
SERVICES: Final[dict[str, dict[str, Any]]] = yaml.safe_load((REPOSITORY / "compose.yaml").read_text())[
    "services"
]


TOKEN: Final = "0123456789abcdef0123456789abcdef0123456789ab"
"""Of the form that compose.yaml tells its user to make."""


def environment(service: str) -> dict[str, str]:
    """The environment of a service: the default of ``${NAME:-default}``, a token for what must be given."""
    given = SERVICES[service].get("environment", {})
    defaults = {name: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value) for name, value in given.items()}
    return {name: re.sub(r"\$\{\w+:\?.*\}", TOKEN, value) for name, value in defaults.items()}


@pytest.mark.parametrize("service", SERVICES)
def test_every_setting_exists(service: str) -> None:
    given = {name for name in environment(service) if name.startswith("TASKBUS_")}
    assert given <= {f"TASKBUS_{name.upper()}" for name in Settings.model_fields}


def test_the_settings_of_the_queue_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment("queue").items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert settings.root_url == f"http://127.0.0.1:{settings.port}"
    assert not settings.no_auth


def test_the_api_is_published_on_the_loopback_of_the_host_alone() -> None:
    assert SERVICES["queue"]["ports"] == ["127.0.0.1:8080:8080"]


def test_the_worker_reaches_the_queue_where_the_urls_of_artifacts_lead() -> None:
    assert SERVICES["worker"]["network_mode"] == "service:queue"
    assert environment("worker")["TASKCLUSTER_ROOT_URL"] == environment("queue")["TASKBUS_ROOT_URL"]


def test_the_worker_signs_in_as_a_client_that_the_queue_knows() -> None:
    worker, queue = environment("worker"), environment("queue")
    assert worker["TASKCLUSTER_ACCESS_TOKEN"] == queue["TASKBUS_ROOT_ACCESS_TOKEN"]
    assert worker["TASKCLUSTER_CLIENT_ID"] == Settings.model_fields["root_client_id"].default


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_waits_only_for_what_can_become_true(service: str) -> None:
    for name, wait in SERVICES[service].get("depends_on", {}).items():
        assert name in SERVICES
        assert wait["condition"] != "service_healthy" or "healthcheck" in SERVICES[name]


def test_the_passwords_of_the_queue_are_those_of_its_services() -> None:
    queue = environment("queue")
    postgres, rabbitmq = environment("postgres"), environment("rabbitmq")
    assert queue["TASKBUS_DATABASE_URL"] == (
        f"postgresql://{postgres['POSTGRES_USER']}:{postgres['POSTGRES_PASSWORD']}"
        f"@postgres:5432/{postgres['POSTGRES_DB']}"
    )
    assert queue["TASKBUS_AMQP_URL"] == (
        f"amqp://{rabbitmq['RABBITMQ_DEFAULT_USER']}:{rabbitmq['RABBITMQ_DEFAULT_PASS']}@rabbitmq:5672/"
    )


def test_nothing_is_published_beyond_this_machine() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_image_holds_every_package_and_known_extras() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    dockerfile = (REPOSITORY / "Dockerfile").read_text()
    packages = [name.rstrip("*") for name in project["tool"]["setuptools"]["packages"]["find"]["include"]]
    assert all(f"COPY {package} {package}\n" in dockerfile for package in packages)
    extras = re.search(r"'\.\[(.+)\]'", dockerfile)
    assert extras is not None
    assert set(extras[1].split(",")) <= set(project["project"]["optional-dependencies"])
