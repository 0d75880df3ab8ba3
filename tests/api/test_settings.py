"""Settings: where they come from, and what a wrong one says."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from queue_service.settings import Settings


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"TASKBUS_{name.upper()}", raising=False)
    monkeypatch.delenv("TASKBUS_CONFIG", raising=False)


def test_without_settings_the_service_serves_this_machine_alone() -> None:
    settings = Settings()
    assert settings.loopback_only
    assert settings.database_url.startswith("sqlite:///")
    assert settings.amqp_url == ""
    assert settings.amqp_host == "127.0.0.1"


def test_the_numbers_of_the_rules_are_those_of_the_reference() -> None:
    settings = Settings()
    limits = settings.limits()
    assert settings.long_poll == 20
    assert limits.claim_timeout == timedelta(seconds=1200)
    assert limits.max_deadline == timedelta(days=5)
    assert limits.drift == timedelta(minutes=15)
    assert limits.deadline_delay == timedelta(seconds=60)
    assert limits.expiry_grace == timedelta(minutes=30)
    assert limits.max_dependencies == 10_000


def test_settings_reach_the_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKBUS_CLAIM_TIMEOUT", "90")
    monkeypatch.setenv("TASKBUS_DEADLINE_DELAY", "0.5")
    monkeypatch.setenv("TASKBUS_MAX_TASK_DEADLINE_DAYS", "30")
    monkeypatch.setenv("TASKBUS_MAX_DEPENDENCIES", "100")
    limits = Settings().limits()
    assert limits.claim_timeout == timedelta(seconds=90)
    assert limits.deadline_delay == timedelta(milliseconds=500)
    assert limits.max_deadline == timedelta(days=30)
    assert limits.max_dependencies == 100


def test_the_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "taskbus.toml"
    file.write_text('port = 9000\nhost = "::1"\n')
    monkeypatch.setenv("TASKBUS_CONFIG", str(file))
    monkeypatch.setenv("TASKBUS_PORT", "9001")
    assert (Settings().host, Settings().port) == ("::1", 9001)
    assert Settings(port=9002).port == 9002


def test_a_file_that_is_named_must_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKBUS_CONFIG", "no-such-file.toml")
    with pytest.raises(FileNotFoundError, match=r"TASKBUS_CONFIG names no-such-file\.toml"):
        Settings()


def test_a_file_that_is_no_toml_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "taskbus.toml"
    file.write_text("port = [")
    monkeypatch.setenv("TASKBUS_CONFIG", str(file))
    with pytest.raises(ValueError, match=r"taskbus\.toml"):
        Settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "http"),
        ("port", "65536"),
        ("port", "-1"),
        ("amqp_port", "70000"),
        ("database_url", "mysql://localhost/taskbus"),
        ("database_url", "postgresql://localhost:port/taskbus"),
        ("database_url", "taskbus.sqlite"),
        ("amqp_url", "redis://localhost"),
        ("database_pool", "1"),
        ("claim_timeout", "0"),
        ("claim_timeout", "soon"),
        ("claim_timeout", "nan"),
        ("claim_timeout", "inf"),
        ("deadline_delay", "-1"),
        ("max_task_deadline_days", "0"),
        ("max_dependencies", "10001"),
        ("long_poll", "0"),
        ("long_poll", "30"),
        ("log_level", "loud"),
        ("log_format", "xml"),
    ],
)
def test_a_wrong_value_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"TASKBUS_{name.upper()}", value)
    with pytest.raises(ValidationError) as refused:
        Settings()
    assert [error["loc"] for error in refused.value.errors()] == [(name,)]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_loopback_addresses_are_known(host: str) -> None:
    assert Settings(host=host).loopback_only


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.0.7", "example.com", "127.0.0.1.example.com"])
def test_any_other_address_is_not_loopback(host: str) -> None:
    assert not Settings(host=host).loopback_only


# ---- clients and keys ---------------------------------------------------------------------------------

TOKEN = "hush" * 6
STATIC = {"clientId": "static/a", "accessToken": TOKEN, "scopes": ["a:*"]}


def test_clients_and_keys_are_made_by_the_service_unless_they_are_given() -> None:
    settings = Settings()
    assert (settings.root_client_id, settings.no_auth) == ("static/taskbus/root", False)
    assert not settings.root_access_token
    assert not settings.secret_key
    assert (settings.secret_key_file, settings.static_clients) == ("", ())


def test_static_clients_come_from_json_or_from_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "taskbus.toml"
    file.write_text(f'[[static_clients]]\nclientId = "static/a"\naccessToken = "{TOKEN}"\nscopes = ["a:*"]\n')
    monkeypatch.setenv("TASKBUS_CONFIG", str(file))
    (of_file,) = Settings().static_clients
    monkeypatch.setenv("TASKBUS_STATIC_CLIENTS", json.dumps([{**STATIC, "description": "ci"}]))
    (of_environment,) = Settings().static_clients
    for client in (of_file, of_environment):
        assert (client.client_id, client.access_token.get_secret_value(), client.scopes) == (
            "static/a", TOKEN, ("a:*",)
        )  # fmt: skip
    assert (of_file.description, of_environment.description) == ("", "ci")


@pytest.mark.parametrize(
    ("name", "value", "place"),
    [
        ("root_client_id", "root", ()),
        ("root_client_id", "static/a b", ()),
        ("root_access_token", "hush", ()),
        ("root_access_token", TOKEN + "+", ()),
        ("root_access_token", "hush" * 17, ()),
        ("secret_key", "hush" * 7, ()),
        ("static_clients", '[{"hush', ()),
        ("static_clients", '"hush"', ()),
        ("static_clients", "[5]", (0,)),
        ("static_clients", [STATIC, STATIC], ()),
        ("static_clients", [{**STATIC, "clientId": "static/taskbus/root"}], ()),
        ("static_clients", [{**STATIC, "clientId": "a"}], (0, "clientId")),
        ("static_clients", [{**STATIC, "accessToken": "hush"}], (0, "accessToken")),
        ("static_clients", [{**STATIC, "scopes": ["a**"]}], (0, "scopes")),
        ("static_clients", [{**STATIC, "scopes": ["\n"]}], (0, "scopes", 0)),
        ("static_clients", [{**STATIC, "expires": "2030-01-01"}], (0, "expires")),
        ("static_clients", [{"clientId": "static/a", "accessToken": TOKEN}], (0, "scopes")),
    ],
)
def test_a_wrong_client_or_key_is_refused_by_its_place_without_showing_it(
    name: str, value: Any, place: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"TASKBUS_{name.upper()}", value if isinstance(value, str) else json.dumps(value))
    with pytest.raises(ValidationError) as refused:
        Settings()
    errors = refused.value.errors(include_url=False, include_input=False, include_context=False)
    assert [error["loc"] for error in errors] == [(name, *place)]
    assert "hush" not in str(errors)


def test_a_token_is_never_shown() -> None:
    settings = Settings(
        root_access_token="hush" * 6,
        secret_key="hush" * 8,
        static_clients=[{"clientId": "static/a", "accessToken": "hush" * 6, "scopes": []}],
    )
    assert "hush" not in repr(settings)


def test_exchanges_of_a_worker_manager_are_separated_by_commas() -> None:
    assert Settings().removal_exchanges == ()
    named = Settings(worker_removal_exchanges="exchange/wm/stopped, exchange/wm/removed,,exchange/wm/stopped")
    assert named.removal_exchanges == ("exchange/wm/stopped", "exchange/wm/removed")


@pytest.mark.parametrize("names", ["exchange/é", "a,b\nc", "x" * 256])
def test_a_name_that_no_exchange_can_have_is_refused(names: str) -> None:
    with pytest.raises(ValidationError, match="worker_removal_exchanges"):
        Settings(worker_removal_exchanges=names)


@pytest.mark.parametrize(
    ("database_url", "journal", "file"),
    [
        ("sqlite:////data/taskbus.sqlite", "auto", Path("/data/taskbus.sqlite.amqp")),
        ("sqlite://", "auto", None),
        ("postgresql://u:p@h/d", "auto", None),
        ("sqlite:////data/taskbus.sqlite", "", None),
        ("sqlite:////data/taskbus.sqlite", "none", None),
        ("postgresql://u:p@h/d", "/data/journal", Path("/data/journal")),
    ],
)
def test_the_built_in_brokers_journal_lies_beside_the_sqlite_database(
    database_url: str, journal: str, file: Path | None
) -> None:
    assert Settings(database_url=database_url, amqp_journal=journal).amqp_journal_file == file
