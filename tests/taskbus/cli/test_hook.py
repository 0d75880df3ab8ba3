"""``taskbus hook``: what is sent and what is printed."""

import json
from pathlib import Path

import pytest

from tests.taskbus.cli.conftest import Run
from tests.taskbus.endpoints import FIRED, HOOK, HOOK_FIRE, HOOK_SHOWN, NIGHTLY, TIME
from tests.taskbus.recording_server import Answer, Seen, server_in_thread
from tests.taskbus.samples import TASK_ID


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def known(request: Seen) -> Answer:
    """A service with one hook."""
    path = request.target.removeprefix("/api/hooks/v1")
    answers = {
        "/hooks": {"groups": ["ci"]},
        "/hooks/ci": {"hooks": [HOOK_SHOWN]},
        f"{NIGHTLY}/status": {"lastFire": {"result": "success"}, "nextScheduledDate": TIME},
        f"{NIGHTLY}/last-fires": {"lastFires": [HOOK_FIRE]},
        f"{NIGHTLY}/token": {"token": "of-now" if request.method == "GET" else "a-new-one"},
    }
    return Answer(body=answers.get(path, HOOK_SHOWN))


def test_hooks_are_listed(run: Run) -> None:
    with server_in_thread(by=known) as server:
        result = run("hook", "list", "--root-url", server.url)
    assert rows(result.stdout)[1:] == [["ci/nightly/x", "0", "3", "*", "*", "*", "n"]]


def test_a_definition_is_printed_as_json(run: Run) -> None:
    with server_in_thread(by=known) as server:
        result = run("hook", "show", "ci/nightly/x", "--root-url", server.url)
    assert json.loads(result.stdout) == HOOK_SHOWN


@pytest.mark.parametrize(("path", "method"), [("ci/nightly/x", "POST"), ("ci/another", "PUT")])
def test_apply_creates_a_hook_or_replaces_it(run: Run, tmp_path: Path, path: str, method: str) -> None:
    file = tmp_path / "hook.json"
    file.write_text(json.dumps(HOOK))
    with server_in_thread(by=known) as server:
        result = run("hook", "apply", path, str(file), "--root-url", server.url)
    assert result.stdout == f"{path}\n"
    assert (server.seen[-1].method, server.seen[-1].json) == (method, HOOK)


def test_the_task_that_a_hook_created_is_printed(run: Run) -> None:
    with server_in_thread(Answer(body=FIRED)) as server:
        result = run("hook", "trigger", "ci/nightly/x", '{"tree": "central"}', "--root-url", server.url)
    assert result.stdout == f"{TASK_ID}\n"
    assert server.seen[0].json == {"tree": "central"}


def test_a_hook_that_declines_is_an_error(run: Run) -> None:
    with server_in_thread(Answer(body={})) as server:
        result = run("hook", "trigger", "ci/nightly/x", "--root-url", server.url)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "declined" in result.stderr


def test_the_status_shows_the_next_date_and_every_firing(run: Run) -> None:
    with server_in_thread(by=known) as server:
        result = run("hook", "status", "ci/nightly/x", "--root-url", server.url)
    printed = rows(result.stdout)
    assert printed[0] == ["next", TIME]
    assert printed[-1] == [TIME, "schedule", TASK_ID, "pending", "-"]


@pytest.mark.parametrize(("options", "printed"), [([], "of-now"), (["--reset"], "a-new-one")])
def test_the_trigger_token_is_printed(run: Run, options: list[str], printed: str) -> None:
    with server_in_thread(by=known) as server:
        result = run("hook", "token", "ci/nightly/x", *options, "--root-url", server.url)
    assert result.stdout == f"{printed}\n"


def test_a_hook_is_removed(run: Run) -> None:
    with server_in_thread(Answer(body={})) as server:
        assert run("hook", "remove", "ci/nightly/x", "--root-url", server.url).exit_code == 0
    assert (server.seen[0].method, server.seen[0].target) == ("DELETE", f"/api/hooks/v1{NIGHTLY}")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["show", "nightly"], "HOOK"),
        (["trigger", "ci/nightly", "{"], "JSON"),
        (["trigger", "ci/nightly", "[]"], "JSON"),
        (["apply", "ci/nightly", "/nowhere.json"], "/nowhere.json"),
    ],
)
def test_what_is_typed_wrong_ends_with_status_2(run: Run, arguments: list[str], told: str) -> None:
    result = run("hook", *arguments)
    assert result.exit_code == 2
    assert told in result.stderr
