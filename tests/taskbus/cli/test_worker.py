"""``taskbus worker`` as a real process: what signals do to it."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.taskbus import samples
from tests.taskbus.cli.conftest import Run
from tests.taskbus.recording_server import Answer, RecordingServer, Seen
from tests.taskbus.samples import TASK_ID


def queue_with(*commands: Any) -> Callable[[Seen], Answer]:
    """A queue that hands out one task per command, and then keeps workers waiting."""
    waiting = [samples.claim(TASK_ID, {"command": command}) for command in commands]

    def answer(request: Seen) -> Answer:
        if "/claim-work/" not in request.target:
            return Answer(body={"status": samples.status()})
        return Answer(body={"tasks": [waiting.pop(0)]}) if waiting else Answer(silence=True)

    return answer


class Program:
    """The command, and its log line by line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.log: list[str] = []

    async def logs(self, part: str) -> str:
        assert self.process.stderr is not None
        while line := (await self.process.stderr.readline()).decode():
            self.log.append(line)
            if part in line:
                return line
        raise AssertionError(f"the worker ended without logging {part!r}: {''.join(self.log)}")

    async def ended(self) -> int:
        assert self.process.stderr is not None
        self.log += (await self.process.stderr.read()).decode().splitlines(keepends=True)
        return await self.process.wait()


@asynccontextmanager
async def worker(server: RecordingServer, *options: str) -> AsyncIterator[Program]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("TASK")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "taskbus", "worker", "--queue", "demo/local", "--worker-id", "w"),
        *("--root-url", server.url, *options),
        env=environment,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield Program(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_worker_without_work_ends_at_once(number: signal.Signals) -> None:
    async with RecordingServer(by=queue_with()) as server, worker(server) as program:
        request = await server.saw("/claim-work/demo%2Flocal")
        assert request.json == {"workerGroup": "local", "workerId": "w", "tasks": 4}
        program.process.send_signal(number)
        assert await program.ended() == 0
    assert "worker stopped" in program.log[-1]


async def test_a_command_is_run_and_its_output_logged() -> None:
    async with RecordingServer(by=queue_with(["echo", "hello"])) as server, worker(server) as program:
        await program.logs(f"{TASK_ID}/0 | hello")
        await program.logs(f"{TASK_ID}/0: completed")
        assert (await server.saw("/completed")).target.endswith(f"/task/{TASK_ID}/runs/0/completed")
        program.process.terminate()
        assert await program.ended() == 0


async def test_sigterm_gives_running_tasks_back() -> None:
    queue = queue_with("echo up; tail -f /dev/null")
    async with RecordingServer(by=queue) as server, worker(server, "--drain", "0.01s") as program:
        await program.logs("| up")
        program.process.terminate()
        assert (await server.saw("/exception")).json == {"reason": "worker-shutdown"}
        assert await program.ended() == 0


async def test_a_second_signal_ends_the_worker_and_its_commands_without_a_report() -> None:
    queue = queue_with("trap 'echo ending; exit 0' TERM; echo up; tail -f /dev/null & wait")
    async with RecordingServer(by=queue) as server, worker(server, "--drain", "1h") as program:
        await program.logs("| up")
        program.process.terminate()
        await program.logs("stopping")
        program.process.terminate()
        assert await program.ended() == 130
    assert any("| ending" in line for line in program.log)
    assert not any("/runs/" in request.target for request in server.seen)


async def test_a_worker_that_the_server_refuses_says_why_and_ends_with_status_1() -> None:
    refused = Answer(
        400,
        {
            "code": "InvalidRequestArguments",
            "message": "wrong worker id",
            "requestInfo": {
                "method": "claimWork",
                "params": {},
                "payload": {},
                "time": "2024-05-01T12:00:00.000Z",
            },
        },
    )
    async with RecordingServer(refused) as server, worker(server) as program:
        assert await program.ended() == 1
    assert program.log[-1] == "taskbus: wrong worker id (InvalidRequestArguments, HTTP 400)\n"


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--queue", "a/b", "--drain", "soon"], "expected a duration"),
        (["--queue", "a/b", "--root-url", "localhost"], "root_url: expected a URL"),
        (["--queue", "a/b", "--concurrency", "0"], "concurrency"),
        (["--queue", "a/b", "--worker-id", "a b"], "worker_id: String should match"),
        ([], "--queue"),
    ],
)
def test_what_is_typed_wrong_ends_with_status_2(run: Run, options: list[str], problem: str) -> None:
    result = run("worker", *options)
    assert result.exit_code == 2
    assert problem in result.stderr
    assert "Traceback" not in result.output
