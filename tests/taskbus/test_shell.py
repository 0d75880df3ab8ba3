"""Commands as real processes: outcome, output, environment, limits, and that nothing is left running."""

import asyncio
import gzip
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from taskbus.clock import SystemClock
from taskbus.errors import TaskException, TaskFailed
from taskbus.run_artifacts import RunArtifacts
from taskbus.run_log import RunLog
from taskbus.runs import ClaimedRun
from taskbus.shell import CommandHandler
from tests.taskbus.manual_clock import ManualClock
from tests.taskbus.samples import TASK_ID, claimed

FOREVER = "tail -f /dev/null"


class Output:
    """Collects lines, and tells when a certain one came."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._changed = asyncio.Event()

    def __call__(self, run: ClaimedRun, line: str) -> None:
        assert run.task_id == TASK_ID
        self.lines.append(line)
        self._changed.set()

    async def shows(self, line: str) -> None:
        while line not in self.lines:
            self._changed.clear()
            await self._changed.wait()


@pytest.fixture
def output() -> Output:
    return Output()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def environment() -> dict[str, str]:
    return {"PATH": os.environ["PATH"]}


@pytest.fixture
def handler(output: Output, clock: ManualClock, environment: dict[str, str]) -> Any:
    with CommandHandler("http://queue", output=output, environment=environment, clock=clock) as handler:
        yield handler


def run_of(**payload: Any) -> ClaimedRun:
    return ClaimedRun(claimed(TASK_ID, payload), SystemClock())


class Fifo:
    """A named pipe; it ends when no process holds it open for writing any more."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)
        self._reader = asyncio.StreamReader()

    async def open(self) -> None:
        descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        self._transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(self._reader), os.fdopen(descriptor, "rb", buffering=0)
        )

    async def line(self) -> bytes:
        return await self._reader.readline()

    async def end(self) -> bytes:
        return await self._reader.read()

    def close(self) -> None:
        self._transport.close()


@pytest.fixture
async def fifo(tmp_path: Path) -> AsyncIterator[Fifo]:
    fifo = Fifo(tmp_path / "fifo")
    await fifo.open()
    yield fifo
    fifo.close()


class TestOutcome:
    async def test_exit_status_zero_completes(self, handler: CommandHandler) -> None:
        await handler(run_of(command=["true"]))

    async def test_another_exit_status_fails(self, handler: CommandHandler) -> None:
        with pytest.raises(TaskFailed, match="exited with status 3"):
            await handler(run_of(command=["sh", "-c", "exit 3"]))

    async def test_death_by_a_signal_fails(self, handler: CommandHandler) -> None:
        with pytest.raises(TaskFailed, match="ended by signal 9"):
            await handler(run_of(command="kill -KILL $$"))

    async def test_a_program_that_does_not_exist_fails_and_says_so(
        self, handler: CommandHandler, output: Output
    ) -> None:
        with pytest.raises(TaskFailed, match="status 127"):
            await handler(run_of(command=["no-such-program"]))
        assert "no-such-program" in output.lines[0]

    async def test_arguments_reach_the_program_unchanged(
        self, handler: CommandHandler, output: Output
    ) -> None:
        await handler(run_of(command=["printf", "%s\\n", "a b", "$HOME", "'\"", "ü", ""]))
        assert output.lines == ["a b", "$HOME", "'\"", "ü", ""]

    async def test_a_string_is_a_shell_script(self, handler: CommandHandler, output: Output) -> None:
        await handler(run_of(command='for i in 1 2; do echo "$i"; done | cat'))
        assert output.lines == ["1", "2"]


class TestOutput:
    async def test_both_outputs_are_one_in_order(self, handler: CommandHandler, output: Output) -> None:
        await handler(run_of(command="echo a; echo b >&2; echo; printf c"))
        assert output.lines == ["a", "b", "", "c"]

    async def test_lines_come_while_the_command_runs(
        self, handler: CommandHandler, output: Output, tmp_path: Path
    ) -> None:
        os.mkfifo(tmp_path / "go")
        running = asyncio.create_task(handler(run_of(command=f"echo first; cat {tmp_path / 'go'}")))
        await output.shows("first")
        await asyncio.to_thread((tmp_path / "go").write_text, "second\n")
        await running
        assert output.lines == ["first", "second"]

    async def test_bytes_that_are_no_text_are_replaced(self, handler: CommandHandler, output: Output) -> None:
        await handler(run_of(command=r"printf 'a\377b\n'"))
        assert output.lines == ["a\N{REPLACEMENT CHARACTER}b"]

    async def test_a_line_without_end_comes_in_pieces(self, handler: CommandHandler, output: Output) -> None:
        await handler(run_of(command="head -c 1000000 /dev/zero | tr '\\0' x; echo; echo end"))
        assert len(output.lines) > 2
        assert "".join(output.lines[:-1]) == "x" * 1_000_000
        assert max(map(len, output.lines)) <= 2 * 65_536
        assert output.lines[-1] == "end"

    async def test_a_reader_that_fails_does_not_stall_the_command(
        self, environment: dict[str, str], caplog: pytest.LogCaptureFixture
    ) -> None:
        def broken(run: ClaimedRun, line: str) -> None:
            raise OSError("disk full")

        with CommandHandler("http://queue", output=broken, environment=environment) as handler:
            await handler(run_of(command=["echo", "hello"]))
        assert "disk full" in caplog.text


class TestEnvironment:
    async def test_a_command_knows_its_run_and_its_queue(
        self, handler: CommandHandler, output: Output
    ) -> None:
        await handler(run_of(command=["env"], env={"CI": "1", "TASK_ID": "forged", "RUN_ID": "9"}))
        assert {
            f"TASK_ID={TASK_ID}",
            "RUN_ID=0",
            "TASKBUS_ROOT_URL=http://queue",
            "TASKCLUSTER_ROOT_URL=http://queue",
            "CI=1",
        } <= set(output.lines)

    async def test_the_workers_own_settings_are_not_passed_on(
        self, output: Output, environment: dict[str, str]
    ) -> None:
        environment |= {
            "TASKBUS_ROOT_ACCESS_TOKEN": "s3cret",
            "TASKCLUSTER_ACCESS_TOKEN": "s3cret",
            "LANG": "C",
        }
        with CommandHandler("http://queue", output=output, environment=environment) as handler:
            await handler(run_of(command=["env"]))
        assert "s3cret" not in "\n".join(output.lines)
        assert "LANG=C" in output.lines

    async def test_a_command_has_no_input(self, handler: CommandHandler, output: Output) -> None:
        await handler(run_of(command=["cat"]))
        assert output.lines == []


MALFORMED: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({}, "command: Field required"),
    "empty list": ({"command": []}, "command: .*not empty"),
    "empty string": ({"command": ""}, "command: .*not empty"),
    "empty program": ({"command": ["", "x"]}, "command: .*program to begin with"),
    "number": ({"command": ["echo", 1]}, "command: .*list of strings"),
    "NUL": ({"command": ["echo", "\0"]}, "command: .*no NUL"),
    "unknown member": ({"command": ["x"], "maxruntime": 5}, "maxruntime: Extra inputs"),
    "maxRunTime zero": ({"command": ["x"], "maxRunTime": 0}, "maxRunTime: .*greater than or equal to 1"),
    "maxRunTime text": ({"command": ["x"], "maxRunTime": "5m"}, "maxRunTime: .*integer"),
    "env list": ({"command": ["x"], "env": ["A=1"]}, "env: .*dictionary"),
    "env number": ({"command": ["x"], "env": {"A": 1}}, "env.A: .*string"),
    "env name": ({"command": ["x"], "env": {"A=B": "1"}}, "env: .*names without ="),
    "too long": ({"command": ["true", "x" * 3_000_000]}, "too long"),
}


@pytest.mark.parametrize(("payload", "problem"), MALFORMED.values(), ids=MALFORMED)
async def test_a_payload_that_makes_no_sense_is_malformed(
    payload: dict[str, Any], problem: str, handler: CommandHandler
) -> None:
    with pytest.raises(TaskException, match=problem) as raised:
        await handler(run_of(**payload))
    assert raised.value.reason == "malformed-payload"


class TestLimits:
    async def test_a_command_that_runs_too_long_is_asked_to_end_and_fails(
        self, handler: CommandHandler, output: Output, clock: ManualClock
    ) -> None:
        script = f"trap 'echo ending; exit 0' TERM; {FOREVER} & echo up; wait"
        running = asyncio.create_task(handler(run_of(command=script, maxRunTime=60)))
        await output.shows("up")
        await clock.pass_by(60)
        with pytest.raises(TaskFailed, match="longer than its maxRunTime of 60 s"):
            await running
        assert output.lines == ["up", "ending"]

    async def test_a_command_that_does_not_end_when_asked_is_killed(
        self, handler: CommandHandler, output: Output, clock: ManualClock, fifo: Fifo
    ) -> None:
        script = f"exec 9>{fifo.path}; trap '' TERM; echo up; {FOREVER}; {FOREVER}"
        running = asyncio.create_task(handler(run_of(command=script, maxRunTime=60)))
        await output.shows("up")
        await clock.pass_by(60)
        await clock.pass_by(3)
        with pytest.raises(TaskFailed, match="maxRunTime"):
            await running
        assert await fifo.end() == b""


class TestNothingIsLeft:
    async def test_a_cancelled_run_ends_its_whole_process_group(
        self, handler: CommandHandler, output: Output, fifo: Fifo
    ) -> None:
        script = f"exec 9>{fifo.path}; {FOREVER} & sh -c '{FOREVER}' & echo up; wait"
        running = asyncio.create_task(handler(run_of(command=script)))
        await output.shows("up")
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert await fifo.end() == b""

    async def test_a_second_cancellation_kills_at_once(
        self, handler: CommandHandler, output: Output, clock: ManualClock, fifo: Fifo
    ) -> None:
        script = f"exec 9>{fifo.path}; trap '' TERM; echo up; {FOREVER}; {FOREVER}"
        running = asyncio.create_task(handler(run_of(command=script)))
        await output.shows("up")
        running.cancel()
        await clock.asleep(3)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert await fifo.end() == b""

    async def test_what_a_finished_command_left_in_the_background_is_killed(
        self, handler: CommandHandler, output: Output, fifo: Fifo
    ) -> None:
        await handler(run_of(command=f"exec 9>{fifo.path}; {FOREVER} & echo done"))
        assert output.lines == ["done"]
        assert await fifo.end() == b""

    async def test_commands_die_with_a_worker_that_is_killed(self, fifo: Fifo) -> None:
        script = f"exec 9>{fifo.path}; {FOREVER} & echo up >&9; sh -c '{FOREVER}; true'"
        program = (
            "import asyncio, sys\n"
            "from schemas.queue import TaskClaimResponse\n"
            "from taskbus.clock import SystemClock\n"
            "from taskbus.runs import ClaimedRun\n"
            "from taskbus.shell import CommandHandler\n"
            "run = ClaimedRun(TaskClaimResponse.from_json(sys.stdin.buffer.read()), SystemClock())\n"
            "with CommandHandler('http://queue') as handler:\n"
            "    asyncio.run(handler(run))\n"
        )
        worker = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, stdin=asyncio.subprocess.PIPE
        )
        assert worker.stdin is not None
        worker.stdin.write(claimed(TASK_ID, {"command": script}).to_json())
        worker.stdin.close()
        assert await fifo.line() == b"up\n"
        worker.send_signal(signal.SIGKILL)
        await worker.wait()
        assert await fifo.end() == b""


class Uploads(RunArtifacts):
    """Takes the place of uploads, and has problems if told to."""

    def __init__(self, *problems: str) -> None:
        self.problems = list(problems)
        self.names: list[str] = []
        self.folder_files: list[str] = []
        self.log = ""

    async def upload(self, run: ClaimedRun, artifacts: Any, folder: Path, log: RunLog) -> list[str]:
        self.names = [artifact.name for artifact in artifacts]
        self.folder_files = os.listdir(folder)
        content = log.finish()
        content.seek(0)
        self.log = gzip.decompress(content.read(100_000)).decode()
        return self.problems


class TestArtifacts:
    PAYLOAD: ClassVar[dict[str, Any]] = {
        "command": "echo hello; touch made; exit $STATUS",
        "artifacts": [{"name": "public/made", "path": "made"}],
    }

    async def handle(self, uploads: Uploads, environment: dict[str, str], **options: Any) -> None:
        status, changes = options.pop("status", "0"), options.pop("payload", {})
        payload = {**self.PAYLOAD, "env": {"STATUS": status}, **changes}
        with CommandHandler(
            "http://queue",
            artifacts=uploads,
            output=lambda run, line: None,
            environment=environment,
            **options,
        ) as handler:
            await handler(run_of(**payload))

    async def test_artifacts_and_log_are_uploaded_after_the_command(
        self, environment: dict[str, str], tmp_path: Path
    ) -> None:
        uploads = Uploads()
        await self.handle(uploads, environment, folders=tmp_path)
        assert (uploads.names, uploads.folder_files) == (["public/made"], ["made"])
        assert uploads.log == "hello\n"

    async def test_they_are_uploaded_of_a_failed_command_as_well(
        self, environment: dict[str, str], tmp_path: Path
    ) -> None:
        uploads = Uploads("artifact a: there is no file a")
        with pytest.raises(TaskFailed, match="exited with status 3"):
            await self.handle(uploads, environment, folders=tmp_path, status="3")
        assert uploads.names == ["public/made"]
        assert uploads.log == "hello\n[taskbus] the command exited with status 3\n"

    async def test_a_promised_artifact_that_is_not_there_fails_the_task(
        self, environment: dict[str, str], tmp_path: Path
    ) -> None:
        with pytest.raises(TaskFailed, match="there is no file a"):
            await self.handle(Uploads("artifact a: there is no file a"), environment, folders=tmp_path)

    async def test_the_log_of_a_malformed_payload_says_what_is_wrong(
        self, environment: dict[str, str], tmp_path: Path
    ) -> None:
        uploads = Uploads()
        with pytest.raises(TaskException) as raised:
            await self.handle(uploads, environment, folders=tmp_path, payload={"artifacts": [{"name": "a"}]})
        assert raised.value.reason == "malformed-payload"
        assert uploads.names == []
        assert uploads.log == "[taskbus] payload: artifacts.0.path: Field required\n"

    async def test_a_folder_of_its_own_is_gone_after_the_run(
        self, environment: dict[str, str], tmp_path: Path
    ) -> None:
        await self.handle(Uploads(), environment, folders=tmp_path)
        assert os.listdir(tmp_path) == []
