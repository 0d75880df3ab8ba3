"""A task's trace: from the call that creates it, through its messages, to the answer of its claim."""

import asyncio
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import text

from events import Listener, TaskCompleted
from queue_service import commands
from queue_service.service import Service
from queue_service.settings import Settings
from schemas import tracing
from schemas.ids import slugid
from schemas.messages import TaskCompletedMessage
from taskbus import ClaimedRun, Queue, Worker, task_definition
from taskbus.testing import InProcess
from tests.api.running_queue import RunningQueue
from tests.spans import TRACE_ID, TRACEPARENT, Spans, parent_of, taken_spans, trace_of, traceparent_of

HEADERS = {"traceparent": TRACEPARENT}


@pytest.fixture
def spans() -> Iterator[Spans]:
    with taken_spans() as spans:
        yield spans


async def create(queue: RunningQueue, **members: Any) -> str:
    """A task that is created in the trace of the test."""
    task_id = slugid()
    reply = await queue.call("PUT", f"/task/{task_id}", queue.definition(**members), headers=HEADERS)
    assert reply.status == 200
    return task_id


async def kept(queue: RunningQueue, column: str, table: str) -> list[Any]:
    async with queue.database.read() as connection:
        found = await connection.execute(text(f"SELECT {column} AS found FROM {table}"))
        return [row.found for row in found]


async def test_a_call_is_a_span_in_the_trace_of_its_caller(spans: Spans, queue: RunningQueue) -> None:
    task_id = await create(queue)
    call = spans.the("createTask")
    assert (trace_of(call), parent_of(call)) == (TRACE_ID, TRACEPARENT.split("-")[2])
    assert call.attributes is not None
    assert call.attributes["taskId"] == task_id
    assert call.attributes["http.response.status_code"] == 200
    assert call.status.is_ok or call.status.is_unset


async def test_the_transaction_is_a_span_of_every_call_that_shares_it(
    spans: Spans, queue: RunningQueue
) -> None:
    await asyncio.gather(create(queue), create(queue))
    calls = {parent_of(span) for span in spans.named("transaction")}
    assert calls == {traceparent_of(span).split("-")[2] for span in spans.named("createTask")}


@pytest.mark.parametrize(
    "header", ["", "nonsense", f"00-{'0' * 32}-00f067aa0ba902b7-01", f"ff-{TRACEPARENT[3:]}"]
)
async def test_a_traceparent_out_of_form_begins_a_trace_and_refuses_nothing(
    spans: Spans, queue: RunningQueue, header: str
) -> None:
    reply = await queue.call("PUT", f"/task/{slugid()}", queue.definition(), headers={"traceparent": header})
    assert reply.status == 200
    assert parent_of(spans.the("createTask")) is None


async def test_all_messages_of_a_task_carry_its_trace(spans: Spans, queue: RunningQueue) -> None:
    task_id = await create(queue)
    created = traceparent_of(spans.the("createTask"))
    (claim,) = await queue.claim()
    await queue.post(f"/task/{task_id}/runs/{claim['runId']}/completed")
    await queue.settle()
    told = await kept(
        queue, "traceparent", "outbox WHERE exchange LIKE '%task-%' AND exchange NOT LIKE '%group%'"
    )
    assert told == [created] * 4
    await queue.messages()  # they have what the reference lists, and no more


async def test_a_claim_tells_the_trace_of_a_task_that_has_one(spans: Spans, queue: RunningQueue) -> None:
    await create(queue)
    (claim,) = await queue.claim()
    assert claim["traceparent"] == traceparent_of(spans.the("createTask"))


async def test_without_traces_a_traceparent_leaves_nothing(queue: RunningQueue) -> None:
    await create(queue)
    (claim,) = await queue.claim()
    assert "traceparent" not in claim
    assert await kept(queue, "extras", "tasks") == [None]
    assert set(await kept(queue, "traceparent", "outbox")) == {None}


async def test_a_traced_task_is_a_plain_task(spans: Spans, queue: RunningQueue) -> None:
    plain = slugid()
    await queue.create(task_id=plain)
    traced = await create(queue)
    await queue.claim(tasks=2)
    shown = []
    for task_id in (plain, traced):
        await queue.post(f"/task/{task_id}/runs/0/failed")
        await queue.post(f"/task/{task_id}/rerun")
        definition = await queue.get(f"/task/{task_id}")
        attempts = await queue.get(f"/task/{task_id}/attempts")
        status = await queue.status(task_id)
        for part in (definition, attempts, status):
            part.pop("taskId", None)
            part.pop("taskGroupId", None)
        shown.append((definition, attempts, status))
    assert shown[0] == shown[1]


async def test_a_bulk_is_one_trace(spans: Spans, queue: RunningQueue) -> None:
    tasks = [{"taskId": slugid(), "task": queue.definition()} for _ in range(3)]
    reply = await queue.call("POST", "/tasks/bulk", {"tasks": tasks}, headers=HEADERS)
    assert reply.status == 200
    claims = await queue.claim(tasks=3)
    assert {claim["traceparent"] for claim in claims} == {traceparent_of(spans.the("createTasks"))}


async def test_a_trace_goes_from_its_caller_to_the_worker_and_to_listeners(
    spans: Spans, database_url: str
) -> None:
    settings = Settings(database_url=database_url, amqp_url="", amqp_port=0, no_auth=True)
    heard: asyncio.Queue[str | None] = asyncio.Queue()
    async with Service(settings) as service, Listener(service.amqp_url) as listener:

        @listener.on(TaskCompleted())
        async def hear(event: TaskCompletedMessage) -> None:
            heard.put_nowait(tracing.current())

        await listener.ready()
        queue = Queue(transport=InProcess(service), credentials=None)
        inside: list[str | None] = []

        async def handle(run: ClaimedRun) -> None:
            inside.append(tracing.current())
            worker.stop()

        with tracing.span("program", parent=None) as program:
            trace_id = str(program.traceparent).split("-")[1]
            await queue.create_task(slugid(), task_definition({}, queue="prov/type", name="build"))
        worker = Worker(queue, "prov/type", handle, worker_group="g", worker_id="w")
        await worker.run()
        in_handler = await heard.get()
    assert inside == [traceparent_of(spans.the("run build"))]
    assert in_handler is not None
    assert in_handler.split("-")[1] == trace_id
    names = spans.names_of(trace_id)
    for name in ("createTask", "transaction", "run build", "reportCompleted", "program"):
        assert name in names
    completed = "exchange/taskcluster-queue/v1/task-completed"
    (told,) = spans.named(f"publish {completed}")
    assert parent_of(spans.the(f"process {completed}")) == traceparent_of(told).split("-")[2]


def test_traces_that_are_wanted_and_cannot_be_exported_keep_the_service_from_starting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in [name for name in sys.modules if name.startswith("opentelemetry")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "events.opentelemetry")
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    commands._trace(Settings(traces="off"))
    with pytest.raises(commands.CannotStart, match=r"pip install 'taskbus\[traces\]'"):
        commands._trace(Settings(traces="otlp"))
