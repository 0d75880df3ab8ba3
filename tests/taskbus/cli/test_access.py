"""``taskbus client``, ``role``, ``scopes``, ``signin``: what is sent, printed, and advised on refusals."""

import json
import shlex
import sys
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import pytest

import queue_service
from schemas.times import parse_time
from taskbus.credentials import Credentials
from tests.taskbus.cli.conftest import Run
from tests.taskbus.endpoints import CLIENT, ROLE, SECRET
from tests.taskbus.recording_server import Answer, refusal, server_in_thread

TOKEN = SECRET["accessToken"]


def exported(text: str) -> dict[str, str]:
    """The variables that a shell has after it has read this."""
    lines = (shlex.split(line) for line in text.splitlines())
    return dict(pair.split("=", 1) for export, pair in lines if export == "export")


class TestClient:
    def test_a_new_client_is_printed_as_variables_and_its_token_once(self, run: Run) -> None:
        with server_in_thread(Answer(body=SECRET)) as server:
            result = run(
                *("client", "create", "ci/main", "--scope", "a", "--scope", "b:*", "--expires", "2d"),
                *("--description", "CI", "--root-url", server.url),
            )
        assert result.exit_code == 0, result.output
        (request,) = server.seen
        assert (request.method, request.target) == ("PUT", "/api/auth/v1/clients/ci%2Fmain")
        assert (request.json["scopes"], request.json["description"]) == (["a", "b:*"], "CI")
        left = parse_time(request.json["expires"]) - datetime.now(UTC)
        assert timedelta(days=1, hours=23) < left <= timedelta(days=2)
        assert exported(result.stdout) == {
            "TASKCLUSTER_CLIENT_ID": "ci/main",
            "TASKCLUSTER_ACCESS_TOKEN": TOKEN,
        }
        assert "shown this once" in result.stderr

    def test_json_has_the_whole_client(self, run: Run) -> None:
        with server_in_thread(Answer(body=SECRET)) as server:
            result = run("client", "reset", "ci/main", "--json", "--root-url", server.url)
        assert json.loads(result.stdout) == SECRET
        assert server.seen[0].target.endswith("/clients/ci%2Fmain/reset")

    def test_clients_are_listed_in_a_table(self, run: Run) -> None:
        body = {"clients": [CLIENT, {**CLIENT, "clientId": "x", "disabled": True}]}
        with server_in_thread(Answer(body=body)) as server:
            result = run("client", "list", "--prefix", "ci/", "--root-url", server.url)
        assert server.seen[0].target == "/api/auth/v1/clients/?prefix=ci%2F"
        lines = [line.split() for line in result.stdout.splitlines()]
        assert lines[0] == ["CLIENT", "STATE", "EXPIRES", "SCOPES"]
        assert [line[:2] for line in lines[1:]] == [["ci/main", "expired"], ["x", "disabled"]]

    @pytest.mark.parametrize("command", ["show", "enable", "disable"])
    def test_a_client_is_shown_fact_by_fact(self, run: Run, command: str) -> None:
        with server_in_thread(Answer(body=CLIENT)) as server:
            result = run("client", command, "ci/main", "--root-url", server.url)
        assert result.exit_code == 0, result.output
        facts = {line.split()[0]: line.split()[-1] for line in result.stdout.splitlines()}
        assert (facts["client"], facts["expires"]) == ("ci/main", CLIENT["expires"])
        assert "description" not in facts

    @pytest.mark.parametrize(
        ("options", "scopes"),
        [([], ["a"]), (["--add-scope", "b"], ["a", "b"]), (["--scope", "c"], ["c"])],
    )
    def test_an_update_keeps_what_it_does_not_name(
        self, run: Run, options: list[str], scopes: list[str]
    ) -> None:
        now = {**CLIENT, "description": "before", "deleteOnExpiration": True}
        with server_in_thread(Answer(body=now)) as server:
            assert run("client", "update", "ci/main", *options, "--root-url", server.url).exit_code == 0
        assert server.seen[1].json == {
            "scopes": scopes,
            "expires": CLIENT["expires"],
            "description": "before",
            "deleteOnExpiration": True,
        }

    def test_a_client_is_removed_without_a_word(self, run: Run) -> None:
        with server_in_thread(Answer(204, b"")) as server:
            result = run("client", "delete", "c", "--root-url", server.url)
        assert (result.exit_code, result.output) == (0, "")
        assert server.seen[0].method == "DELETE"


class TestRole:
    def test_a_new_role_is_shown(self, run: Run) -> None:
        with server_in_thread(Answer(body=ROLE)) as server:
            result = run("role", "create", "ci:*", "--scope", "a", "--root-url", server.url)
        assert server.seen[0].json == {"scopes": ["a"], "description": ""}
        assert result.stdout.split()[:2] == ["role", "ci:*"]

    def test_roles_are_listed(self, run: Run) -> None:
        with server_in_thread(Answer(body={"roles": [ROLE]})) as server:
            table = run("role", "list", "--root-url", server.url)
            lines = run("role", "list", "--json", "--root-url", server.url)
        assert [line.split() for line in table.stdout.splitlines()] == [["ROLE", "SCOPES"], ["ci:*", "a"]]
        assert json.loads(lines.stdout) == ROLE

    def test_an_update_keeps_what_it_does_not_name(self, run: Run) -> None:
        with server_in_thread(Answer(body={**ROLE, "description": "before"})) as server:
            assert run("role", "update", "ci:*", "--add-scope", "b", "--root-url", server.url).exit_code == 0
        assert server.seen[1].json == {"scopes": ["a", "b"], "description": "before"}


class TestScopes:
    def test_each_is_on_a_line(self, run: Run) -> None:
        with server_in_thread(Answer(body={"scopes": ["a b", "c"]})) as server:
            assert run("scopes", "current", "--root-url", server.url).stdout == "a b\nc\n"
            assert (
                run("scopes", "expand", "x", "y", "--json", "--root-url", server.url).stdout == '"a b"\n"c"\n'
            )
        assert server.seen[1].json == {"scopes": ["x", "y"]}


class CannotStart(Exception):
    pass


class ServerCommands(ModuleType):
    """Takes the place of the server's entry points."""

    CannotStart = CannotStart

    def __init__(self, answer: Any) -> None:
        super().__init__("queue_service.commands")
        self.answer = answer
        self.overrides: dict[str, object] = {}

    def root_credentials(self, overrides: dict[str, object]) -> tuple[str, str, str]:
        self.overrides = overrides
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer  # type: ignore[no-any-return]


@pytest.fixture
def server_commands(monkeypatch: pytest.MonkeyPatch) -> ServerCommands:
    commands = ServerCommands(("http://127.0.0.1:81", "static/taskbus/root", "root-token"))
    monkeypatch.setitem(sys.modules, "queue_service.commands", commands)
    monkeypatch.setattr(queue_service, "commands", commands, raising=False)
    return commands


ENVIRONMENT = {"TASKCLUSTER_CLIENT_ID": "ci/main", "TASKCLUSTER_ACCESS_TOKEN": "secret-token"}


@pytest.fixture
def signed_in(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


class TestSignin:
    def test_the_root_clients_credentials_come_from_the_servers_own_settings(
        self, run: Run, server_commands: ServerCommands
    ) -> None:
        result = run("signin", "--database-url", "sqlite:///x")
        assert exported(result.stdout) == {
            "TASKCLUSTER_ROOT_URL": "http://127.0.0.1:81",
            "TASKCLUSTER_CLIENT_ID": "static/taskbus/root",
            "TASKCLUSTER_ACCESS_TOKEN": "root-token",
        }
        assert server_commands.overrides == {"database_url": "sqlite:///x"}

    def test_a_root_url_that_is_given_is_told_on(self, run: Run, server_commands: ServerCommands) -> None:
        result = run("signin", "--root-url", "http://bus.example.com")
        assert exported(result.stdout)["TASKCLUSTER_ROOT_URL"] == "http://bus.example.com"

    def test_what_the_server_cannot_find_ends_the_command(
        self, run: Run, server_commands: ServerCommands
    ) -> None:
        server_commands.answer = CannotStart("there is no database here")
        result = run("signin")
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr == "taskbus: there is no database here\n"

    @pytest.mark.usefixtures("signed_in")
    def test_temporary_credentials_are_made_from_those_in_the_environment(self, run: Run) -> None:
        result = run("signin", "--name", "ci/one", "--scope", "a b", "--scope", "c:*", "--expires", "2h")
        variables = exported(result.stdout)
        assert variables["TASKCLUSTER_CLIENT_ID"] == "ci/one"
        assert variables["TASKCLUSTER_ROOT_URL"] == "http://127.0.0.1:8080"
        certificate = json.loads(variables["TASKCLUSTER_CERTIFICATE"])
        assert (certificate["issuer"], certificate["scopes"]) == ("ci/main", ["a b", "c:*"])
        assert certificate["expiry"] - certificate["start"] == 2 * 3600 * 1000
        assert "secret-token" not in result.output

    def test_without_credentials_nothing_is_made(self, run: Run) -> None:
        result = run("signin", "--scope", "a")
        assert result.exit_code == 2
        assert "no credentials are in the environment" in result.stderr

    @pytest.mark.usefixtures("signed_in")
    def test_an_impossible_lifetime_is_refused(self, run: Run) -> None:
        result = run("signin", "--scope", "a", "--expires", "32d")
        assert result.exit_code == 2
        assert "lifetime: expected at most 31 days" in result.stderr


FORBIDDEN = refusal(
    403, "InsufficientScopes", "Client is missing:\n\n```\nqueue:status:x\n```\n\nIt needs:\n\n```\nboth\n```"
)
WRONG = refusal(401, "AuthenticationFailed", "no client has this id")


class TestRefusals:
    def test_missing_scopes_are_listed_and_how_to_sign_in_on_this_machine(self, run: Run) -> None:
        with server_in_thread(FORBIDDEN) as server:
            result = run("task", "status", "x", "--root-url", server.url)
        assert (result.exit_code, result.stdout) == (1, "")
        lines = result.stderr.splitlines()
        assert lines[0] == "taskbus: Client is missing:"
        assert "queue:status:x" in lines
        assert "```" not in result.stderr
        assert lines[-1].startswith("No credentials are in the environment.")
        assert lines[-1].endswith('eval "$(taskbus signin)"')

    @pytest.mark.usefixtures("signed_in")
    def test_a_client_learns_who_it_is_and_how_to_get_more(self, run: Run) -> None:
        with server_in_thread(FORBIDDEN) as server:
            result = run("task", "status", "x", "--root-url", server.url)
        assert "You call as ci/main." in result.stderr
        assert "taskbus client update ci/main --add-scope SCOPE" in result.stderr

    def test_temporary_credentials_cannot_be_given_more(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = Credentials("ci/main", "token").issue(["a"], lifetime=timedelta(hours=1), name="ci/one")
        for name, value in made.to_env().items():
            monkeypatch.setenv(name, value)
        with server_in_thread(FORBIDDEN) as server:
            result = run("task", "status", "x", "--root-url", server.url)
        assert "You call as ci/one, with temporary credentials" in result.stderr

    @pytest.mark.usefixtures("signed_in")
    def test_wrong_credentials_are_named(self, run: Run) -> None:
        with server_in_thread(WRONG) as server:
            result = run("scopes", "current", "--root-url", server.url)
        assert result.stderr.startswith("taskbus: no client has this id\n")
        assert (
            f"The credentials of ci/main in the environment are not accepted at {server.url}."
            in result.stderr
        )

    def test_half_of_the_credentials_end_a_command_before_it_calls(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TASKCLUSTER_CLIENT_ID", "ci/main")
        result = run("task", "status", "x")
        assert result.exit_code == 2
        assert "TASKCLUSTER_ACCESS_TOKEN: expected a value" in result.stderr
