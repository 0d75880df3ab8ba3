"""A worker goes on with the trace of a task: its handler, its calls, its commands."""

from collections.abc import Iterator

import pytest

from schemas import tracing
from taskbus.clock import SystemClock
from taskbus.errors import TaskFailed
from taskbus.runs import ClaimedRun
from taskbus.shell import CommandHandler
from tests.spans import TRACE_ID, TRACEPARENT, Spans, parent_of, taken_spans, trace_of, traceparent_of
from tests.taskbus import samples
from tests.taskbus.hands import StartWorker
from tests.taskbus.recording_server import Answer, RecordingServer, client
from tests.taskbus.samples import TASK_ID, claimed
from tests.taskbus.scripted_queue import ScriptedQueue


@pytest.fixture
def spans() -> Iterator[Spans]:
    with taken_spans() as spans:
        yield spans


async def test_a_run_is_a_span_in_the_trace_of_its_task(
    spans: Spans, queue: ScriptedQueue, working: StartWorker
) -> None:
    async def handle(run: ClaimedRun) -> None:
        raise TaskFailed("no")

    queue.give(claimed(TASK_ID).model_copy(update={"traceparent": TRACEPARENT}))
    async with working(handle):
        await queue.called("failed")
    run = spans.the("run build")
    assert (trace_of(run), parent_of(run)) == (TRACE_ID, TRACEPARENT.split("-")[2])
    assert run.attributes is not None
    assert run.attributes["taskId"] == TASK_ID
    assert run.status.description == "failed"


async def test_a_task_without_a_trace_begins_one_in_a_worker_that_traces(
    spans: Spans, queue: ScriptedQueue, working: StartWorker
) -> None:
    async def handle(run: ClaimedRun) -> None:
        pass

    queue.give(claimed())
    async with working(handle):
        await queue.called("completed")
    assert parent_of(spans.the("run build")) is None


@pytest.mark.parametrize("traces", [True, False])
async def test_a_command_finds_its_trace_in_the_environment(traces: bool) -> None:
    lines: list[str] = []
    claim = claimed(TASK_ID, {"command": 'echo "$TRACEPARENT"'}).model_copy(
        update={"traceparent": TRACEPARENT}
    )
    run = ClaimedRun(claim, SystemClock())
    with CommandHandler("http://queue", output=lambda _, line: lines.append(line)) as handler:
        if not traces:
            await handler(run)
            assert lines == [TRACEPARENT]
            return
        with taken_spans() as spans, tracing.span("run", parent=run.traceparent):
            await handler(run)
        assert lines == [traceparent_of(spans.the("run"))]


async def test_a_command_without_a_trace_has_not_that_of_the_worker() -> None:
    lines: list[str] = []
    environment = {"PATH": "/usr/bin:/bin", "TRACEPARENT": TRACEPARENT}
    run = ClaimedRun(claimed(TASK_ID, {"command": 'echo "${TRACEPARENT-none}"'}), SystemClock())
    output = lambda _, line: lines.append(line)  # noqa: E731
    with CommandHandler("http://queue", output=output, environment=environment) as handler:
        await handler(run)
    assert lines == ["none"]


async def test_calls_carry_the_trace_of_whoever_makes_them(spans: Spans) -> None:
    async with RecordingServer(Answer(body={"status": samples.status()})) as server, client(server) as queue:
        with tracing.span("program", parent=None) as program:
            await queue.status(TASK_ID)
        await queue.status(TASK_ID)
    assert [seen.headers.get("traceparent") for seen in server.seen] == [program.traceparent, None]
