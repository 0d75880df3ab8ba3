"""The demo's processes: what fails is told with its log, and nothing is left running."""

import asyncio
import signal
from pathlib import Path

import pytest

from examples.demo.processes import Children, DemoFailed

GOES_ON = ("http.server", "--bind", "127.0.0.1", "0")
FAILS = ("json.tool", "/there/is/no/such/file")


async def test_the_result_of_the_work_is_given_while_all_processes_run(tmp_path: Path) -> None:
    async with Children(tmp_path) as children:
        await children.start("server", *GOES_ON)
        assert await children.during(asyncio.sleep(0, "done"), 10, "nothing") == "done"


async def test_a_process_that_ends_is_named_with_its_status_and_the_end_of_its_log(tmp_path: Path) -> None:
    async with Children(tmp_path) as children:
        child = await children.start("reader", *FAILS)
        with pytest.raises(DemoFailed) as failure:
            await children.during(asyncio.Event().wait(), 60, "nothing")
    first, *log = str(failure.value).splitlines()
    assert first == f"reader (process {child.process.pid}) ended with status 2"
    assert "/there/is/no/such/file" in log[-1]


async def test_work_that_takes_too_long_is_named(tmp_path: Path) -> None:
    async with Children(tmp_path) as children:
        with pytest.raises(DemoFailed, match=r"^waited 0\.01 s in vain for the moon$"):
            await children.during(asyncio.Event().wait(), 0.01, "the moon")


async def test_at_the_end_every_process_is_ended_in_order(tmp_path: Path) -> None:
    async with Children(tmp_path) as children:
        one, two = await children.start("one", *GOES_ON), await children.start("two", *GOES_ON)
    assert one.ended.result() == two.ended.result() == -signal.SIGTERM


async def test_a_killed_process_is_not_missed(tmp_path: Path) -> None:
    async with Children(tmp_path) as children:
        child = await children.start("server", *GOES_ON)
        await children.kill(child)
        assert child.ended.result() == -signal.SIGKILL
        assert await children.during(asyncio.sleep(0, "done"), 10, "nothing") == "done"


async def test_a_process_gets_its_settings_and_none_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASKBUS_AMQP_URL", "amqp://somewhere.else")
    monkeypatch.setenv("TASKCLUSTER_ACCESS_TOKEN", "ours")
    program = "import os; print({name for name in os.environ if name.startswith('TASK')})"
    async with Children(tmp_path) as children:
        child = await children.start("child", "timeit", "-n1", "-r1", program, settings={"TASKBUS_PORT": "0"})
        assert await child.ended == 0
    assert child.log.read_text().splitlines()[0] == "{'TASKBUS_PORT'}"
