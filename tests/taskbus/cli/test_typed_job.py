"""``taskbus job submit|show|list|cancel|types|register``: what they send and what they say."""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from queue_service.features.jobs.examples import EXAMPLES
from tests.taskbus.cli.conftest import Run
from tests.taskbus.recording_server import Answer, refusal, server_in_thread
from tests.taskbus.samples import TASK_ID

JOB: Final[dict[str, Any]] = EXAMPLES["job-response"]["running"]
TYPE: Final[dict[str, Any]] = EXAMPLES["job-type-response"]["registered"]


def test_a_job_is_submitted(run: Run) -> None:
    options = [
        "--env-id",
        "prod",
        "--job-id",
        TASK_ID,
        "--priority",
        "high",
        "--tag",
        "by=hand",
        "--run-at",
        "10m",
    ]
    with server_in_thread(Answer(status=201, body=JOB)) as server:
        result = run("job", "submit", "FILE_ETL", '{"fileId": "a"}', *options, "--root-url", server.url)
    assert (result.exit_code, result.stdout) == (0, f"{JOB['jobId']}\n"), result.stderr
    (seen,) = server.seen
    assert (seen.method, seen.target) == ("POST", "/api/jobs/v1/jobs")
    sent = seen.json
    assert sent.pop("runAt") > "2026"
    assert (sent.pop("dependencies"), sent.pop("routes")) == ([], [])
    assert sent == {
        "type": "FILE_ETL",
        "params": {"fileId": "a"},
        "envId": "prod",
        "jobId": TASK_ID,
        "priority": "high",
        "tags": {"by": "hand"},
    }


@pytest.mark.parametrize(
    "words",
    [
        ("submit", "FILE_ETL", "[1]"),
        ("submit", "FILE_ETL", "{"),
        ("submit", "FILE_ETL", "--run-at", "tomorrow"),
        ("submit", "FILE_ETL", "--env-id", "a b"),
        ("list", "--state", "ASLEEP"),
        ("list", "--tag", "x"),
        ("register", "FILE_ETL", "no-such-file.json"),
        ("register", "NO_SUCH_TYPE"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_sent(run: Run, words: tuple[str, ...]) -> None:
    with server_in_thread() as server:
        result = run("job", *words, "--root-url", server.url)
    assert (result.exit_code, server.seen) == (2, [])
    assert result.stderr.startswith("taskbus: ")


def test_violations_are_said_on_one_line(run: Run) -> None:
    answer = refusal(
        400, "InputValidationError", "The parameters do not fit:\n\n * `/params/fileId`: is required"
    )
    with server_in_thread(answer) as server:
        result = run("job", "submit", "FILE_ETL", "--root-url", server.url)
    assert result.exit_code == 1
    assert "`/params/fileId`: is required" in result.stderr


def test_a_job_is_shown_with_its_steps(run: Run) -> None:
    with server_in_thread(Answer(body=JOB)) as server:
        result = run("job", "show", JOB["jobId"], "--root-url", server.url)
    lines = result.stdout.splitlines()
    assert lines[0] == f"{JOB['jobId']}  RUNNING  FILE_ETL version 2"
    assert "46 %" in lines[2]
    assert [line.split()[:2] for line in lines[3:]] == [
        ["Extract", "DONE"],
        ["Transform", "RUNNING"],
        ["Load", "PENDING"],
    ]


def test_jobs_are_listed(run: Run) -> None:
    with server_in_thread(Answer(body={"jobs": [JOB, JOB], "continuationToken": "abc"})) as server:
        result = run(
            *("job", "list", "--type", "FILE_ETL", "--state", "running", "--tag", "by=hand", "--limit", "2"),
            *("--json", "--root-url", server.url),
        )
    assert [json.loads(line)["jobId"] for line in result.stdout.splitlines()] == [JOB["jobId"]] * 2
    (seen,) = server.seen
    assert seen.target == "/api/jobs/v1/jobs?type=FILE_ETL&state=RUNNING&tag=by%3Dhand&limit=2"


def test_a_job_is_cancelled(run: Run) -> None:
    with server_in_thread(Answer(body={**JOB, "cancelRequested": True})) as server:
        result = run(
            "job", "cancel", JOB["jobId"], "--graceful", "--reason", "wrong", "--root-url", server.url
        )
    assert result.stdout == "RUNNING\n"
    assert server.seen[0].json == {"mode": "graceful", "reason": "wrong"}


def test_types_are_listed_printed_and_registered(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "file_etl.json"
    with server_in_thread(Answer(body={"types": [TYPE]}), Answer(body=TYPE), Answer(body=TYPE)) as server:
        listed = run("job", "types", "--root-url", server.url)
        file.write_text(run("job", "types", "FILE_ETL", "--root-url", server.url).stdout)
        registered = run("job", "register", "FILE_ETL", str(file), "--root-url", server.url)
    assert listed.stdout.splitlines()[1].split()[:3] == ["FILE_ETL", "2", "3"]
    assert registered.stdout == "2\n"
    assert server.seen[2].json == server.seen[2].json | {"taskQueueId": "jobs/etl"}


def test_a_type_of_the_catalogue_is_registered_by_its_name(run: Run) -> None:
    with server_in_thread(Answer(status=201, body=TYPE)) as server:
        assert run("job", "register", "WEBAPI_SYNC", "--root-url", server.url).exit_code == 0
    assert [step["name"] for step in server.seen[0].json["steps"]][-1] == "Release Lock"


def test_the_catalogue_is_listed_without_a_server(run: Run) -> None:
    listed = run("job", "types", "--catalogue").stdout.splitlines()
    assert "FILE_ETL  fileId, areaId, envId, tenantId" in listed
    assert len(listed) == 14
