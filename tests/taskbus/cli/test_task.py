"""``taskbus task``: what is sent, what is printed, and how mistakes end."""

import json
import re
import socket
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from schemas.ids import SLUGID_PATTERN
from schemas.queue import CreateTaskRequest
from taskbus.cli import watch
from tests.taskbus import samples
from tests.taskbus.cli.conftest import Run
from tests.taskbus.recording_server import Answer, RecordingServer, refusal, server_in_thread
from tests.taskbus.samples import GROUP_ID, OTHER_ID, TASK_ID

GROUP = {"taskGroupId": GROUP_ID, "schedulerId": "-", "expires": "2025-05-01T13:00:00.000Z"}
METADATA = {"name": "n", "description": "", "owner": "o", "source": "https://s"}


def answer(state: str = "pending", task_id: str = TASK_ID, **run: Any) -> Answer:
    return Answer(body={"status": samples.status(task_id, state, **run)})


def sent(server: RecordingServer) -> CreateTaskRequest:
    """The definition in the only request."""
    (request,) = server.seen
    assert request.method == "PUT"
    return CreateTaskRequest.from_json(request.body)


class TestCreate:
    def test_a_command_becomes_a_task_and_its_id_is_printed(self, run: Run) -> None:
        with server_in_thread(answer()) as server:
            result = run(
                *("task", "create", "--root-url", server.url, "--queue", "demo/local"),
                *("--", "make", "-k", "all"),
            )
        assert result.exit_code == 0, result.output
        task_id = result.stdout.strip()
        assert re.fullmatch(SLUGID_PATTERN, task_id)
        assert server.seen[0].target == f"/api/queue/v1/task/{task_id}"
        assert sent(server).payload == {"command": ["make", "-k", "all"]}
        assert sent(server).task_queue_id == "demo/local"
        assert result.stderr == ""

    def test_a_single_argument_is_a_shell_script(self, run: Run) -> None:
        with server_in_thread(answer()) as server:
            run("task", "create", "--root-url", server.url, "--queue", "demo/local", "echo a | wc")
        assert sent(server).payload == {"command": "echo a | wc"}
        assert sent(server).metadata.name == "echo a | wc"

    def test_every_option_reaches_the_definition(self, run: Run) -> None:
        with server_in_thread(answer()) as server:
            result = run(
                *("task", "create", "--root-url", server.url, "--queue", "demo/local", "--name", "n"),
                *("--env", "A=1", "--env", "B=x=y", "--max-run-time", "2m", "--deadline", "3h"),
                *("--expires", "2d", "--group", GROUP_ID, "--scheduler", "s", "--dependency", OTHER_ID),
                *("--requires", "all-resolved", "--route", "ci.a", "--route", "ci.b"),
                *("--priority", "high", "--retries", "0", "--task-id", TASK_ID),
                *("--artifact", "public/out=out/", "--artifact", "public/a=a", "--", "true"),
            )
        assert result.stdout == TASK_ID + "\n"
        made = sent(server)
        assert made.payload == {
            "command": "true",
            "env": {"A": "1", "B": "x=y"},
            "maxRunTime": 120,
            "artifacts": [
                {"name": "public/out", "path": "out/", "type": "directory"},
                {"name": "public/a", "path": "a", "type": "file"},
            ],
        }
        assert made.deadline - made.created == timedelta(hours=3)
        assert made.expires is not None
        assert made.expires - made.created == timedelta(days=2)
        assert (made.metadata.name, made.task_group_id, made.scheduler_id) == ("n", GROUP_ID, "s")
        assert (made.dependencies, made.requires) == ((OTHER_ID,), "all-resolved")
        assert (made.routes, made.priority, made.retries) == (("ci.a", "ci.b"), "high", 0)

    def test_a_later_start_attempts_and_a_hold_reach_the_definition(self, run: Run) -> None:
        with server_in_thread(answer(), answer()) as server:
            command = ("task", "create", "--root-url", server.url, "--queue", "demo/local")
            run(*command, "--run-at", "2024-05-01T14:00:00+02:00", "--max-attempts", "3", "true")
            run(*command, "--run-at", "10m", "--held", "true")
        first, second = (CreateTaskRequest.from_json(request.body) for request in server.seen)
        assert (first.run_at, first.max_attempts, first.held) == (samples.NOW, 3, None)
        assert second.run_at is not None
        assert timedelta(0) <= second.run_at - second.created - timedelta(minutes=10) < timedelta(minutes=1)
        assert (second.held, second.max_attempts) == (True, None)

    def test_json_prints_the_status(self, run: Run) -> None:
        with server_in_thread(answer()) as server:
            result = run(
                "task", "create", "--json", "--root-url", server.url, "--queue", "demo/local", "true"
            )
        assert json.loads(result.stdout) == samples.status()

    @pytest.mark.parametrize("source", ["file", "standard input"])
    def test_a_definition_can_be_given_as_json(self, run: Run, tmp_path: Path, source: str) -> None:
        definition = {"taskQueueId": "demo/local", "payload": {"x": [1]}, "metadata": METADATA}
        path = tmp_path / "task.json"
        path.write_text(json.dumps(definition))
        with server_in_thread(answer()) as server:
            result = run(
                *("task", "create", "--root-url", server.url, "--deadline", "5m"),
                *("--file", str(path) if source == "file" else "-"),
                input=json.dumps(definition),
            )
        assert result.exit_code == 0, result.output
        assert sent(server).payload == {"x": [1]}
        assert sent(server).deadline - sent(server).created == timedelta(minutes=5)

    def test_times_in_a_definition_are_kept(self, run: Run) -> None:
        times = {"created": "2024-05-01T12:00:00.000Z", "deadline": "2024-05-01T13:00:00.000Z"}
        definition = {"taskQueueId": "demo/local", "payload": {}, "metadata": METADATA, **times}
        with server_in_thread(answer()) as server:
            run("task", "create", "--root-url", server.url, "--file", "-", input=json.dumps(definition))
        assert times.items() <= server.seen[0].json.items()

    @pytest.mark.parametrize(
        ("arguments", "problem"),
        [
            ([], "expected --queue PROVISIONER/TYPE and -- COMMAND, or --file FILE"),
            (["--queue", "demo/local"], "expected --queue PROVISIONER/TYPE and -- COMMAND, or --file FILE"),
            (["--queue", "demo", "true"], "task_queue_id: String should match"),
            (["--queue", "demo/local", "--deadline", "1 hour", "true"], "expected a duration such as"),
            (["--queue", "demo/local", "--env", "A", "true"], "--env: expected NAME=VALUE, got 'A'"),
            (["--queue", "demo/local", "--priority", "urgent", "true"], "priority: Input should be"),
            (["--queue", "demo/local", "--retries", "50", "true"], "retries: Input should be"),
            (["--file", "-", "--queue", "demo/local"], "only --deadline may be given with it"),
            (["--file", "/nowhere/task.json"], "/nowhere/task.json: No such file"),
            (["--root-url", "queue", "--queue", "demo/local", "true"], "root_url: expected a URL such as"),
            (
                ["--wait", "--amqp-url", "http://x", "--queue", "demo/local", "true"],
                "an AMQP URL looks like",
            ),
        ],
    )
    def test_what_is_typed_wrong_ends_with_one_line_and_status_2(
        self, run: Run, arguments: list[str], problem: str
    ) -> None:
        result = run("task", "create", *arguments, input="{}")
        assert result.exit_code == 2, result.output
        assert result.stderr.startswith("taskbus: ")
        assert problem in result.stderr
        assert result.stderr.count("\n") == 1
        assert result.stdout == ""

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("{", "--file: not JSON"),
            ("[]", "--file: expected a JSON object"),
            (json.dumps({"payload": {}, "metadata": METADATA, "dedline": 1}), "dedline: Extra inputs"),
        ],
    )
    def test_a_wrong_definition_ends_with_one_line_and_status_2(
        self, run: Run, text: str, problem: str
    ) -> None:
        result = run("task", "create", "--file", "-", input=text)
        assert result.exit_code == 2
        assert problem in result.stderr
        assert result.stderr.count("\n") == 1


class TestWait:
    @pytest.fixture(autouse=True)
    def no_pauses(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(watch, "POLL_SECONDS", 0)

    def wait(self, run: Run, *answers: Answer, json: bool = False) -> Any:
        with server_in_thread(*answers) as server:
            options = ["--json"] if json else []
            return run(
                *("task", "create", "--wait", "--root-url", server.url, "--task-id", TASK_ID),
                *("--queue", "demo/local", *options, "true"),
            )

    def test_a_task_that_completes_ends_with_status_0(self, run: Run) -> None:
        worker = {"workerGroup": "local", "workerId": "w"}
        done = answer("completed", reasonResolved="completed", **worker)
        result = self.wait(run, answer(), answer(), answer(), answer("running", **worker), done)
        assert result.exit_code == 0, result.output
        assert result.stdout == TASK_ID + "\n"
        assert result.stderr.splitlines() == [
            "run 0 pending",
            "run 0 running on local/w",
            "run 0 completed on local/w",
        ]

    @pytest.mark.parametrize("state", ["failed", "exception"])
    def test_a_task_that_ends_otherwise_ends_with_status_1(self, run: Run, state: str) -> None:
        result = self.wait(run, answer(), answer(state, reasonResolved="canceled"))
        assert result.exit_code == 1
        assert f"run 0 {state} (canceled)" in result.stderr

    def test_json_prints_the_last_status_alone(self, run: Run) -> None:
        result = self.wait(run, answer(), answer("completed"), json=True)
        assert json.loads(result.stdout)["state"] == "completed"


class TestChange:
    @pytest.mark.parametrize(
        ("command", "request_line"),
        [
            ("status", f"GET /api/queue/v1/task/{TASK_ID}/status"),
            ("cancel", f"POST /api/queue/v1/task/{TASK_ID}/cancel"),
            ("rerun", f"POST /api/queue/v1/task/{TASK_ID}/rerun"),
            ("schedule", f"POST /api/queue/v1/task/{TASK_ID}/schedule"),
        ],
    )
    def test_each_command_makes_its_call_and_shows_the_state(
        self, run: Run, command: str, request_line: str
    ) -> None:
        with server_in_thread(answer("running", workerGroup="local", workerId="w")) as server:
            result = run("task", command, "--root-url", server.url, TASK_ID)
        assert result.exit_code == 0, result.output
        assert [f"{request.method} {request.target}" for request in server.seen] == [request_line]
        lines = result.stdout.splitlines()
        assert lines[0] == f"{TASK_ID}  running  prov/type"
        assert lines[2] == "  run 0  running  local/w"

    def test_several_tasks_can_be_named(self, run: Run) -> None:
        with server_in_thread(answer(), answer(task_id=OTHER_ID)) as server:
            result = run("task", "status", "--json", "--root-url", server.url, TASK_ID, OTHER_ID)
        assert [json.loads(line)["taskId"] for line in result.stdout.splitlines()] == [TASK_ID, OTHER_ID]

    def test_the_root_url_may_come_from_the_environment(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with server_in_thread(answer()) as server:
            monkeypatch.setenv("TASKCLUSTER_ROOT_URL", server.url)
            result = run("task", "status", TASK_ID)
        assert result.exit_code == 0, result.output

    def test_a_refusal_ends_with_one_line_and_status_1(self, run: Run) -> None:
        no_task = refusal(404, "ResourceNotFound", "There is no\ntask.")
        with server_in_thread(no_task) as server:
            result = run("task", "cancel", "--root-url", server.url, TASK_ID)
        assert result.exit_code == 1
        assert result.stderr == "taskbus: There is no task. (ResourceNotFound, HTTP 404)\n"
        assert result.stdout == ""

    def test_a_server_that_is_not_there_ends_with_one_line_and_status_1(self, run: Run) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{unused.getsockname()[1]}"
            result = run("task", "status", "--root-url", url, TASK_ID)
        assert result.exit_code == 1
        assert result.stderr.startswith(f"taskbus: cannot reach {url}: Connection refused.")
        assert result.stderr.count("\n") == 1


class TestAttempts:
    TOLD: Final = {
        "taskId": TASK_ID,
        "attempt": 2,
        "maxAttempts": 3,
        "snoozes": 1,
        "availableAt": "2024-05-01T12:00:16.000Z",
        "errors": [
            {
                "at": "2024-05-01T12:00:00.000Z",
                "attempt": 1,
                "runId": 0,
                "error": "it broke",
                "trace": "Traceback\n  here",
            }
        ],
        "output": {"rows": 3},
        "workedBy": ["g/a", "g/b", "g/a"],
    }

    def test_people_see_what_happened(self, run: Run) -> None:
        with server_in_thread(Answer(body=self.TOLD)) as server:
            result = run("task", "attempts", "--root-url", server.url, TASK_ID)
        assert server.seen[0].target == f"/api/queue/v1/task/{TASK_ID}/attempts"
        assert result.stdout.splitlines() == [
            f"{TASK_ID}  attempt 2 of 3",
            "  snoozed 1 times",
            "  delayed until 2024-05-01T12:00:16.000Z",
            "  attempt 1, run 0, 2024-05-01T12:00:00.000Z: it broke",
            "    Traceback",
            "      here",
            "  worked on by g/a, g/b",
            '  output {"rows": 3}',
        ]

    def test_json_prints_what_the_queue_tells(self, run: Run) -> None:
        with server_in_thread(Answer(body=self.TOLD)) as server:
            result = run("task", "attempts", "--json", "--root-url", server.url, TASK_ID)
        assert json.loads(result.stdout) == self.TOLD


class TestList:
    def test_a_group_is_listed_over_all_pages(self, run: Run) -> None:
        first = {"status": samples.status(), "task": samples.definition()}
        second = {"status": samples.status(OTHER_ID, "completed"), "task": samples.definition()}
        pages = [
            Answer(body={**GROUP, "tasks": [first], "continuationToken": "next"}),
            Answer(body={**GROUP, "tasks": [second]}),
        ]
        with server_in_thread(*pages) as server:
            result = run("task", "list", "--root-url", server.url, "--group", GROUP_ID)
        assert [line.split() for line in result.stdout.splitlines()] == [
            ["TASK", "STATE", "RUNS", "QUEUE", "NAME"],
            [TASK_ID, "pending", "1", "prov/type", "build"],
            [OTHER_ID, "completed", "1", "prov/type", "build"],
        ]

    def test_json_prints_one_object_per_line(self, run: Run) -> None:
        entry = {"status": samples.status(), "task": samples.definition()}
        with server_in_thread(Answer(body={**GROUP, "tasks": [entry, entry]})) as server:
            result = run("task", "list", "--json", "--root-url", server.url, "--group", GROUP_ID)
        assert [json.loads(line) for line in result.stdout.splitlines()] == [entry, entry]

    def test_tasks_that_do_not_exist_are_named_after_those_that_do(self, run: Run) -> None:
        both = {
            "statuses": [{"taskId": TASK_ID, "status": samples.status()}],
            "tasks": [{"taskId": TASK_ID, "task": samples.definition()}],
        }
        with server_in_thread(Answer(body=both)) as server:
            result = run("task", "list", "--root-url", server.url, OTHER_ID, TASK_ID)
        assert result.exit_code == 1
        assert TASK_ID in result.stdout
        assert result.stderr == f"taskbus: not found: {OTHER_ID}\n"

    @pytest.mark.parametrize("arguments", [[], ["--group", GROUP_ID, TASK_ID]])
    def test_either_a_group_or_tasks_must_be_named(self, run: Run, arguments: list[str]) -> None:
        result = run("task", "list", *arguments)
        assert result.exit_code == 2
        assert "either --group GROUP_ID or task ids" in result.stderr

    def test_a_filter_reaches_the_server_and_the_limit_ends_the_list(self, run: Run) -> None:
        entry = {"status": samples.status(), "task": samples.definition()}
        with server_in_thread(Answer(body={"tasks": [entry, entry], "continuationToken": "next"})) as server:
            result = run(
                *("task", "list", "--json", "--root-url", server.url, "--limit", "2", "--newest"),
                *("--state", "failed", "--state", "exception", "--queue", "prov/type"),
                *("--kind", "mail", "--priority", "high", "--tag", "os=linux", "--tag", "label=a=b"),
            )
        assert [json.loads(line) for line in result.stdout.splitlines()] == [entry, entry]
        (request,) = server.seen
        assert request.target == "/api/queue/v1/tasks/list?limit=2"
        assert json.loads(request.body) == {
            "states": ["failed", "exception"],
            "taskQueueIds": ["prov/type"],
            "kinds": ["mail"],
            "priorities": ["high"],
            "tagsAll": {"os": "linux", "label": "a=b"},
            "order": "time",
            "descending": True,
        }

    @pytest.mark.parametrize(
        "arguments", [["--state", "done"], ["--tag", "os"], ["--group", "x", "--kind", "y"]]
    )
    def test_a_filter_of_another_form_is_refused(self, run: Run, arguments: list[str]) -> None:
        assert run("task", "list", *arguments).exit_code == 2


class TestDelete:
    def test_each_named_task_is_deleted(self, run: Run) -> None:
        with server_in_thread(answer("completed"), answer("failed", OTHER_ID)) as server:
            result = run("task", "delete", TASK_ID, OTHER_ID, "--root-url", server.url)
        assert [request.method for request in server.seen] == ["DELETE", "DELETE"]
        assert result.stdout == f"{TASK_ID} deleted, it was completed\n{OTHER_ID} deleted, it was failed\n"

    def test_what_fits_is_deleted_until_there_is_no_more(self, run: Run) -> None:
        parts = [
            Answer(body={"deleted": 10_000, "skipped": 0, "continuationToken": "next"}),
            Answer(body={"deleted": 5, "skipped": 2}),
        ]
        with server_in_thread(*parts) as server:
            result = run("task", "delete", "--state", "completed", "--root-url", server.url)
        assert [request.target.partition("?")[2] for request in server.seen] == ["", "continuationToken=next"]
        assert result.stdout == "10005 deleted, 2 left alone as they run\n"

    @pytest.mark.parametrize("arguments", [[], ["--all", TASK_ID], ["--all", "--state", "completed"]])
    def test_what_to_delete_must_be_said(self, run: Run, arguments: list[str]) -> None:
        result = run("task", "delete", *arguments)
        assert result.exit_code == 2
        assert "--all" in result.stderr


class TestBulk:
    LINE: Final = {
        "taskQueueId": "demo/local",
        "payload": {},
        "metadata": {**METADATA, "source": "https://s"},
    }

    def test_the_tasks_of_a_file_are_created_together(self, run: Run, tmp_path: Path) -> None:
        named = {"taskId": OTHER_ID, "task": self.LINE}
        file = tmp_path / "tasks.jsonl"
        file.write_text(f"{json.dumps(self.LINE)}\n\n{json.dumps(named)}\n")
        made = [{"taskId": TASK_ID, "created": True}, {"taskId": OTHER_ID, "uniqueSkippedAsDuplicate": True}]
        with server_in_thread(Answer(body={"tasks": made})) as server:
            result = run("task", "create", "--bulk", str(file), "--root-url", server.url)
        assert result.stdout.splitlines() == [TASK_ID, f"{OTHER_ID} exists, the task is a duplicate of it"]
        first, second = json.loads(server.seen[0].body)["tasks"]
        assert re.fullmatch(SLUGID_PATTERN, first["taskId"])
        assert second["taskId"] == OTHER_ID
        assert {"created", "deadline"} <= first["task"].keys()

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("", "got none"),
            ("{}\nno", "line 1"),
            ('{"task": 1}', "line 1"),
            ("[1]", "line 1 is no JSON object"),
        ],
    )
    def test_a_line_that_is_no_task_is_named(self, run: Run, tmp_path: Path, text: str, words: str) -> None:
        file = tmp_path / "tasks.jsonl"
        file.write_text(text)
        result = run("task", "create", "--bulk", str(file))
        assert result.exit_code == 2
        assert words in result.stderr

    def test_nothing_else_may_be_said_about_the_tasks_of_a_file(self, run: Run) -> None:
        result = run("task", "create", "--bulk", "x", "--queue", "demo/local")
        assert result.exit_code == 2
        assert "only --deadline" in result.stderr
