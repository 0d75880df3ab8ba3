"""``taskbus artifact``, ``queue`` and ``index``: what is sent and what is printed."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from schemas.times import parse_time
from tests.taskbus import samples
from tests.taskbus.cli.conftest import Run
from tests.taskbus.endpoints import ARTIFACT, HALVES, INDEXED, LIMITS, SEEN, STATES, TIME, WORKER
from tests.taskbus.recording_server import Answer, Seen, refusal, server_in_thread
from tests.taskbus.samples import TASK_ID


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def with_storage(request: Seen) -> Answer:
    """A queue whose artifacts are all stored as ``hello``."""
    root_url = "http://" + request.headers["Host"]
    if request.target.startswith("/storage"):
        return Answer(body=b"hello")
    if request.method == "POST":
        made = {"storageType": "s3", "putUrl": root_url + "/storage", "expires": TIME}
        return Answer(body={**made, "contentType": "text/plain"})
    if request.target.endswith("/status"):
        return Answer(body={"status": samples.status()})
    if "/artifacts/" in request.target:
        return Answer(303, {"storageType": "s3", "url": root_url + "/storage"})
    return Answer(body=samples.definition())


class TestArtifact:
    @pytest.mark.parametrize(
        ("options", "path"),
        [([], f"/task/{TASK_ID}/artifacts"), (["--run", "2"], f"/task/{TASK_ID}/runs/2/artifacts")],
    )
    def test_artifacts_are_listed(self, run: Run, options: list[str], path: str) -> None:
        with server_in_thread(Answer(body={"artifacts": [ARTIFACT]})) as server:
            table = run("artifact", "list", TASK_ID, *options, "--root-url", server.url)
            lines = run("artifact", "list", TASK_ID, *options, "--json", "--root-url", server.url)
        assert server.seen[0].target == "/api/queue/v1" + path
        assert rows(table.stdout)[1] == ["s3", "text/plain", "-", TIME, "public/a", "b"]
        assert json.loads(lines.stdout) == ARTIFACT

    def test_a_download_goes_to_the_terminal_or_into_a_file(self, run: Run, tmp_path: Path) -> None:
        with server_in_thread(by=with_storage) as server:
            shown = run("artifact", "get", TASK_ID, "log", "--root-url", server.url)
            saved = run(
                "artifact", "get", TASK_ID, "log", "-o", str(tmp_path / "log"), "--root-url", server.url
            )
        assert (shown.stdout, saved.stdout) == ("hello", "")
        assert (tmp_path / "log").read_text() == "hello"

    def test_a_file_that_cannot_be_written_is_named(self, run: Run, tmp_path: Path) -> None:
        with server_in_thread(by=with_storage) as server:
            result = run(
                "artifact",
                "get",
                TASK_ID,
                "log",
                "-o",
                str(tmp_path / "no" / "log"),
                "--root-url",
                server.url,
            )
        assert result.exit_code == 1
        assert "No such file or directory" in result.stderr

    def test_an_upload_is_of_the_latest_run_and_lasts_as_long_as_the_task(
        self, run: Run, tmp_path: Path
    ) -> None:
        (tmp_path / "log").write_text("hello")
        with server_in_thread(by=with_storage) as server:
            result = run(
                "artifact", "put", TASK_ID, "public/log.txt", str(tmp_path / "log"), "--root-url", server.url
            )
        assert result.exit_code == 0, result.output
        declared, stored = server.seen[2:]
        assert declared.target == f"/api/queue/v1/task/{TASK_ID}/runs/0/artifacts/public%2Flog.txt"
        assert declared.json["expires"] == samples.definition()["expires"]
        assert stored.body == b"hello"

    def test_a_signed_url_needs_no_server(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TASKCLUSTER_CLIENT_ID", "c")
        monkeypatch.setenv("TASKCLUSTER_ACCESS_TOKEN", "t")
        result = run("artifact", "url", TASK_ID, "private/a", "--expires", "1h", "--root-url", "http://h")
        assert result.stdout.startswith(f"http://h/api/queue/v1/task/{TASK_ID}/artifacts/private%2Fa?bewit=")


class TestQueue:
    def test_queues_are_listed(self, run: Run) -> None:
        with server_in_thread(Answer(body={"taskQueues": [{"taskQueueId": "prov/type", **SEEN}]})) as server:
            result = run("queue", "list", "--root-url", server.url)
        assert rows(result.stdout)[1] == [TIME, "prov/type"]

    def test_what_waits_and_what_is_claimed_is_counted(self, run: Run) -> None:
        with server_in_thread(Answer(body={**HALVES, "pendingTasks": 3, "claimedTasks": 4})) as server:
            result = run("queue", "counts", "prov/type", "prov/type", "--root-url", server.url)
        assert rows(result.stdout)[1:] == [["3", "4", "prov/type"]] * 2

    @pytest.mark.parametrize(("named", "path"), [("prov/type", "prov%2Ftype"), ("--all", "%2A")])
    @pytest.mark.parametrize("verb", ["pause", "resume"])
    def test_queues_are_paused_and_resumed(self, run: Run, verb: str, named: str, path: str) -> None:
        with server_in_thread(Answer(body=STATES)) as server:
            table = run("queue", verb, named, "--root-url", server.url)
            lines = run("queue", verb, named, "--json", "--root-url", server.url)
        assert (server.seen[0].method, server.seen[0].target) == (
            "POST",
            f"/api/queue/v1/task-queues/{path}/{verb}",
        )
        assert rows(table.stdout)[1] == [TIME, "prov/type"]
        assert json.loads(lines.stdout) == STATES["taskQueues"][0]

    @pytest.mark.parametrize("arguments", [[], ["prov/type", "--all"]])
    def test_a_pause_is_of_one_queue_or_of_all(self, run: Run, arguments: list[str]) -> None:
        result = run("queue", "pause", *arguments)
        assert result.exit_code == 2
        assert "either a task queue or --all" in result.stderr

    def test_the_load_of_a_queue_is_shown(self, run: Run) -> None:
        load = {"taskQueueId": "prov/type", "pending": 1, "delayed": 2, "running": 3, "limits": LIMITS}
        with server_in_thread(Answer(body={**load, "pausedAt": TIME})) as server:
            result = run("queue", "load", "prov/type", "--root-url", server.url)
        assert rows(result.stdout) == [
            ["queue", "prov/type"],
            ["pending", "1"],
            ["delayed", "2"],
            ["running", "3"],
            ["paused", "since", TIME],
            ["at", "once", "2", "for", "each", "{customer}"],
        ]

    @pytest.mark.parametrize(
        ("options", "method", "sent"),
        [
            ([], "GET", None),
            (["--remove"], "DELETE", None),
            (["--concurrency", "2", "--key", "{customer}"], "PUT", LIMITS),
            (
                ["--rate", "100/1m", "--fair-share", "0.1"],
                "PUT",
                {"rate": {"count": 100, "per": 60}, "fairShare": 0.1},
            ),
        ],
    )
    def test_limits_are_shown_replaced_and_removed(
        self, run: Run, options: list[str], method: str, sent: Any
    ) -> None:
        with server_in_thread(Answer(body=LIMITS)) as server:
            result = run("queue", "limits", "prov/type", *options, "--root-url", server.url)
        assert result.exit_code == 0, result.stderr
        (request,) = server.seen
        assert (request.method, request.target) == (method, "/api/queue/v1/task-queues/prov%2Ftype/limits")
        assert (request.json if sent is not None else None) == sent

    @pytest.mark.parametrize(
        "options",
        [
            ["--key", "{customer}"],
            ["--rate", "100"],
            ["--rate", "100/soon"],
            ["--concurrency", "0"],
            ["--concurrency", "1", "--key", "customer"],
            ["--fair-share", "0.9"],
            ["--remove", "--concurrency", "1"],
        ],
    )
    def test_limits_out_of_form_are_not_sent(self, run: Run, options: list[str]) -> None:
        with server_in_thread(Answer(body={})) as server:
            result = run("queue", "limits", "prov/type", *options, "--root-url", server.url)
        assert (result.exit_code, server.seen) == (2, [])

    def test_what_waits_is_listed(self, run: Run) -> None:
        waiting = {"taskId": TASK_ID, "runId": 0, "task": samples.definition(), "inserted": TIME}
        with server_in_thread(Answer(body={"tasks": [waiting]})) as server:
            table = run("queue", "pending", "prov/type", "--root-url", server.url)
            lines = run("queue", "pending", "prov/type", "--json", "--root-url", server.url)
        assert rows(table.stdout)[1] == [TASK_ID, "0", TIME, "lowest", "build"]
        assert json.loads(lines.stdout) == waiting

    def test_what_is_claimed_is_listed(self, run: Run) -> None:
        held = {"taskId": TASK_ID, "runId": 0, "task": samples.definition(), "claimed": TIME}
        body = {"tasks": [{**held, "workerGroup": "g", "workerId": "w"}]}
        with server_in_thread(Answer(body=body)) as server:
            result = run("queue", "claimed", "prov/type", "--root-url", server.url)
        assert rows(result.stdout)[1] == [TASK_ID, "0", TIME, "g/w", "build"]

    @pytest.mark.parametrize(
        ("options", "query"),
        [([], ""), (["--quarantined"], "?quarantined=true"), (["--not-quarantined"], "?quarantined=false")],
    )
    def test_workers_are_listed(self, run: Run, options: list[str], query: str) -> None:
        latest = {"taskId": TASK_ID, "runId": 3}
        entry = {"workerGroup": "g", "workerId": "w", "firstClaim": TIME, "lastDateActive": TIME}
        with server_in_thread(Answer(body={"workers": [{**entry, "latestTask": latest}]})) as server:
            result = run("queue", "workers", "prov/type", *options, "--root-url", server.url)
        assert server.seen[0].target.endswith("/worker-types/type/workers" + query)
        assert rows(result.stdout)[1] == ["g/w", TIME, "-", f"{TASK_ID}/3"]

    def test_a_worker_is_shown_with_its_runs(self, run: Run) -> None:
        with server_in_thread(Answer(body=WORKER)) as server:
            result = run("queue", "worker", "prov/type", "g/w", "--root-url", server.url)
        assert ["runs", f"{TASK_ID}/0"] in rows(result.stdout)
        assert "quarantined" not in result.stdout

    def test_a_quarantine_lasts_as_long_as_said(self, run: Run) -> None:
        with server_in_thread(Answer(body=WORKER)) as server:
            result = run(
                *("queue", "quarantine", "prov/type", "g/w", "--for", "2h", "--reason", "disk"),
                *("--root-url", server.url),
            )
        assert result.exit_code == 0, result.output
        sent = server.seen[0].json
        left = parse_time(sent["quarantineUntil"]) - datetime.now(UTC)
        assert timedelta(hours=1, minutes=59) < left <= timedelta(hours=2)
        assert sent["quarantineInfo"] == "disk"

    def test_a_quarantine_is_lifted_by_a_time_in_the_past(self, run: Run) -> None:
        with server_in_thread(Answer(body=WORKER)) as server:
            run("queue", "quarantine", "prov/type", "g/w", "--lift", "--root-url", server.url)
        assert parse_time(server.seen[0].json["quarantineUntil"]) < datetime.now(UTC)

    @pytest.mark.parametrize(
        ("arguments", "problem"),
        [
            (["quarantine", "prov/type", "g/w"], "expected either --for TIME or --lift"),
            (["quarantine", "prov/type", "g/w", "--for", "1h", "--lift"], "expected either"),
            (["quarantine", "prov/type", "g", "--lift"], "expected a worker as GROUP/ID, got 'g'"),
            (["worker", "prov/type", "g/"], "expected a worker as GROUP/ID"),
            (["quarantine", "prov/type", "g/w", "--for", "soon"], "expected a duration"),
        ],
    )
    def test_what_is_typed_wrong_ends_with_status_2(
        self, run: Run, arguments: list[str], problem: str
    ) -> None:
        result = run("queue", *arguments)
        assert result.exit_code == 2
        assert problem in result.stderr


class TestIndex:
    def test_tasks_are_found_in_the_order_asked_and_missing_paths_named(self, run: Run) -> None:
        other = {**INDEXED, "namespace": "p.other", "taskId": samples.OTHER_ID}
        with server_in_thread(Answer(body={"tasks": [other, INDEXED]})) as server:
            result = run("index", "find", "p.latest", "p.none", "p.other", "--root-url", server.url)
        assert result.stdout.split() == [TASK_ID, samples.OTHER_ID]
        assert result.exit_code == 1
        assert result.stderr == "taskbus: not found: p.none\n"

    def test_namespaces_and_tasks_are_listed(self, run: Run) -> None:
        def answer(request: Seen) -> Answer:
            if "/namespaces/" in request.target:
                return Answer(body={"namespaces": [{"namespace": "p.q", "name": "q", "expires": TIME}]})
            return Answer(body={"tasks": [INDEXED]})

        with server_in_thread(by=answer) as server:
            result = run("index", "list", "p", "--root-url", server.url)
        assert rows(result.stdout)[1:] == [[TIME, "-", "p.q."], [TIME, TASK_ID, "p.latest"]]

    def test_a_task_is_inserted(self, run: Run) -> None:
        with server_in_thread(Answer(body=INDEXED)) as server:
            result = run(
                *("index", "insert", "p.latest", TASK_ID, "--rank", "3", "--data", '{"a": 1}'),
                *("--root-url", server.url),
            )
        assert result.stdout.strip() == TASK_ID
        sent: dict[str, Any] = server.seen[0].json
        assert (sent["taskId"], sent["rank"], sent["data"]) == (TASK_ID, 3, {"a": 1})

    @pytest.mark.parametrize("data", ["{", "[]", "1"])
    def test_data_that_is_no_object_is_refused(self, run: Run, data: str) -> None:
        result = run("index", "insert", "p", TASK_ID, "--data", data)
        assert result.exit_code == 2
        assert "--data" in result.stderr

    def test_what_is_not_there_is_one_line(self, run: Run) -> None:
        with server_in_thread(refusal(404, "ResourceNotFound", "no such `namespace`")) as server:
            result = run("index", "list", "p", "--root-url", server.url)
        assert result.stderr == "taskbus: no such `namespace` (ResourceNotFound, HTTP 404)\n"
