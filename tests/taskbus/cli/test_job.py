"""``taskbus job …`` and ``taskbus worker --jobs``: what they send, what they say, and what they refuse."""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.taskbus import samples
from tests.taskbus.cli.conftest import Run
from tests.taskbus.recording_server import Answer, RecordingServer, Seen, server_in_thread
from tests.taskbus.samples import OTHER_ID, TASK_ID

CREATED = Answer(body={"tasks": [{"taskId": TASK_ID, "created": True}]})
PROGRAM = """
from taskbus.jobs import Job, JobOptions, Worker

class Greet(Job):
    name: str
    options = JobOptions(queue="tests/greetings")

worker = Worker(worker_id="w")

@worker.handle(Greet)
def greet(job, run):
    print("hello", job.name, flush=True)
"""


class TestInsert:
    def test_a_job_is_inserted_with_its_options(self, run: Run) -> None:
        options = ["--queue", "billing/mail", "--max-attempts", "8", "--priority", "high", "--tag", "by=hand"]
        with server_in_thread(CREATED) as server:
            result = run(
                *("job", "insert", "SendInvoice", '{"customer": 7}', "--task-id", TASK_ID, *options),
                *("--root-url", server.url),
            )
        assert (result.exit_code, result.stdout) == (0, f"{TASK_ID}\n")
        (seen,) = server.seen
        assert (seen.method, seen.target) == ("POST", "/api/queue/v1/tasks/bulk")
        (sent,) = seen.json["tasks"]
        assert sent["taskId"] == TASK_ID
        task = sent["task"]
        assert task["payload"] == {"kind": "SendInvoice", "args": {"customer": 7}}
        assert (task["taskQueueId"], task["maxAttempts"], task["priority"]) == ("billing/mail", 8, "high")
        assert task["tags"] == {"by": "hand"}
        assert task["metadata"]["name"] == "SendInvoice"

    @pytest.mark.parametrize("moment", ["2031-05-01T12:00:00Z", "1000d"])
    def test_a_job_may_begin_later(self, run: Run, moment: str) -> None:
        with server_in_thread(CREATED) as server:
            result = run("job", "insert", "Greet", "--run-at", moment, "--held", "--root-url", server.url)
        assert result.exit_code == 0, result.stderr
        task = server.seen[0].json["tasks"][0]["task"]
        assert task["held"] is True
        assert task["runAt"] < task["deadline"]

    def test_a_duplicate_is_told(self, run: Run) -> None:
        duplicate = {"taskId": OTHER_ID, "uniqueSkippedAsDuplicate": True}
        with server_in_thread(Answer(body={"tasks": [duplicate]})) as server:
            result = run("job", "insert", "Greet", "--root-url", server.url)
        assert (result.exit_code, result.stdout) == (0, f"{OTHER_ID}\n")
        assert f"a duplicate of {OTHER_ID}" in result.stderr

    @pytest.mark.parametrize(
        ("arguments", "problem"),
        [
            (["Greet", "{"], "JSON: not JSON"),
            (["Greet", "[1]"], "JSON: expected a JSON object, got [1]"),
            (["a b"], "KIND: expected 2 to 64 letters"),
            (["Greet", "--queue", "mail"], "should match pattern"),
            (["Greet", "--priority", "urgent"], "priority: must be"),
            (["Greet", "--run-at", "soon"], "--run-at: expected"),
            (["Greet", "--tag", "x"], "--tag: expected NAME=VALUE"),
            (["Greet", "--deadline", "1h", "--max-attempts", "10"], "10 attempts may have to wait"),
            (["Greet", "--task-id", "x"], "task_id: String should match"),
        ],
    )
    def test_what_is_typed_wrong_ends_with_status_2(
        self, run: Run, arguments: list[str], problem: str
    ) -> None:
        result = run("job", "insert", *arguments)
        assert result.exit_code == 2
        assert problem in result.stderr


class TestWorker:
    async def test_the_worker_of_a_module_does_jobs_until_a_signal(self, tmp_path: Path) -> None:
        (tmp_path / "greetings.py").write_text(PROGRAM)
        waiting = [samples.claim(TASK_ID, {"kind": "Greet", "args": {"name": "Ann"}})]

        def queue(request: Seen) -> Answer:
            if "/runs/report" in request.target:
                return Answer(body={"reports": [{"taskId": TASK_ID, "runId": 0, "state": "completed"}]})
            return Answer(body={"tasks": [waiting.pop()]}) if waiting else Answer(silence=True)

        async with RecordingServer(by=queue) as server:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "taskbus", "worker", "--jobs", "greetings:worker"),
                *("--root-url", server.url),
                cwd=tmp_path,
                env={key: value for key, value in os.environ.items() if not key.startswith("TASK")},
                stdout=asyncio.subprocess.PIPE,
            )
            try:
                request = await server.saw("tests%2Fgreetings")
                assert (request.json["workerGroup"], request.json["workerId"]) == ("jobs", "w")
                report = (await server.saw("/runs/report")).json["reports"]
                assert report == [{"taskId": TASK_ID, "runId": 0, "outcome": "completed"}]
                process.send_signal(signal.SIGTERM)
                output, _ = await process.communicate()
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
        assert (process.returncode, output) == (0, b"hello Ann\n")

    @pytest.mark.parametrize(
        ("options", "problem"),
        [
            (["--jobs", "os"], "--jobs: expected module:worker, got 'os'"),
            (["--jobs", "no.such.module:worker"], "--jobs: there is no module no.such.module"),
            (["--jobs", "os:sep"], "--jobs: expected sep in os to be a taskbus.jobs.Worker, got '/'"),
            (["--jobs", "os:nothing"], "got None"),
            (["--jobs", "os:sep", "--queue", "a/b"], "--jobs: only --root-url may be given with it"),
            ([], "expected --queue PROVISIONER/TYPE, --attach URL, or --jobs MODULE:NAME"),
        ],
    )
    def test_what_is_no_worker_is_refused(self, run: Run, options: list[str], problem: Any) -> None:
        result = run("worker", *options)
        assert result.exit_code == 2
        assert problem in result.stderr
