"""The commands that start the server: what they pass on, and what they say when it is not installed."""

import sys
from types import ModuleType
from typing import Any

import pytest

import queue_service
from tests.taskbus.cli.conftest import Run


class Commands(ModuleType):
    """Takes the place of the server's entry points and records how they are called."""

    def __init__(self, status: int) -> None:
        super().__init__("queue_service.commands")
        self.status = status
        self.calls: list[tuple[str, dict[str, object]]] = []

    def __getattr__(self, name: str) -> Any:
        def start(overrides: dict[str, object]) -> int:
            self.calls.append((name, overrides))
            return self.status

        return start


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Commands:
    commands = Commands(status=0)
    monkeypatch.setitem(sys.modules, "queue_service.commands", commands)
    monkeypatch.setattr(queue_service, "commands", commands, raising=False)
    return commands


ALL = ["--host", "::1", "--port", "0", "--database-url", "sqlite:///x", "--amqp-url", "amqp://h"]


@pytest.mark.parametrize(
    ("arguments", "call"),
    [
        (["serve"], ("serve", {})),
        (
            ["serve", *ALL, "--processes", "2"],
            (
                "serve",
                {
                    "host": "::1",
                    "port": 0,
                    "database_url": "sqlite:///x",
                    "amqp_url": "amqp://h",
                    "processes": 2,
                },
            ),
        ),
        (["serve", "--no-auth"], ("serve", {"no_auth": True})),
        (["api", "--no-auth"], ("api", {"no_auth": True})),
        (["api", "--port", "81"], ("api", {"port": 81})),
        (["loops", "--amqp-url", "amqp://h"], ("loops", {"amqp_url": "amqp://h"})),
        (["migrate", "--database-url", "sqlite:///x"], ("migrate", {"database_url": "sqlite:///x"})),
    ],
)
def test_a_command_passes_on_what_was_given_and_nothing_else(
    run: Run, commands: Commands, arguments: list[str], call: tuple[str, dict[str, object]]
) -> None:
    assert run(*arguments).exit_code == 0
    assert commands.calls == [call]


@pytest.mark.parametrize("command", ["serve", "api", "loops", "migrate"])
def test_the_servers_status_is_the_exit_status(run: Run, commands: Commands, command: str) -> None:
    commands.status = 1
    assert run(command).exit_code == 1


@pytest.mark.parametrize("command", ["serve", "api", "loops", "migrate"])
def test_a_missing_server_is_named_with_what_to_install(
    run: Run, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.delitem(sys.modules, "queue_service.commands", raising=False)
    monkeypatch.delattr(queue_service, "commands", raising=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    result = run(command)
    assert result.exit_code == 1
    assert result.stderr == "taskbus: the server is not installed: pip install 'taskbus[server]'\n"


def test_a_fault_inside_the_server_is_not_taken_for_a_missing_one(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(queue_service, "commands", raising=False)
    monkeypatch.setitem(sys.modules, "queue_service.commands", None)
    result = run("serve")
    assert isinstance(result.exception, ModuleNotFoundError)
