"""Attached workers over real sockets: work, loss of workers and of gateways, limits, a server that stops."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from taskbus import AttachedItem, AttachedTask, AttachedWorker, Queue, Work
from taskbus.typed_jobs import Jobs
from tests.e2e.programs import ROOT, Programs, Server

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(110)]

ANSWER_SECONDS: Final = 30
"""For what another worker does; the machine may be busy."""
ITEMS: Final = 10


async def double(item: AttachedItem) -> object:
    item.progress(percent=50)
    return {"twice": item.data["n"] * 2}


@asynccontextmanager
async def attached(work: Work, *tasks: AttachedTask) -> AsyncIterator[AttachedWorker]:
    """An AttachedWorker of this process that the server knows."""
    worker = AttachedWorker(work.root_url, tasks=tasks, credentials=ROOT)
    running = asyncio.create_task(worker.run())
    async with asyncio.timeout(ANSWER_SECONDS):
        while worker.worker_id is None and not running.done():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    yield worker
    worker.stop()
    await running


def plain(server: Server, path: str = "/work/queue", **options: Any) -> connect:
    """A client that knows nothing but WebSockets."""
    url = server.root_url.replace("http", "ws", 1) + path
    return connect(url, proxy=None, **options)


def header(server: Server, path: str = "/work/queue") -> dict[str, str]:
    return {"Authorization": ROOT.authorization("GET", server.root_url + path, None)}


async def take(socket: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(ANSWER_SECONDS):
        return dict(json.loads(await socket.recv()))


async def closed(socket: ClientConnection) -> int | None:
    """The code with which the server closes."""
    async with asyncio.timeout(ANSWER_SECONDS):
        try:
            while True:
                await socket.recv()
        except ConnectionClosed:
            return socket.close_code


@pytest.fixture
async def server(taskbus: Programs) -> Server:
    return await taskbus.serve()


@pytest.fixture
async def work(server: Server) -> AsyncIterator[Work]:
    async with Work(server.root_url, credentials=ROOT) as work:
        yield work


async def test_a_worker_does_what_a_caller_waits_for(work: Work) -> None:
    async with attached(work, AttachedTask("double", double)):
        answer = await work.create("double", data={"n": 21}, wait=ANSWER_SECONDS)
    assert (answer.status.state, answer.output) == ("completed", {"twice": 42})


async def test_a_typed_job_is_done_by_an_attached_worker_that_is_asked_to_stop(
    server: Server, work: Work
) -> None:
    asked = asyncio.Event()

    async def load(item: AttachedItem) -> object:
        async with item.step("Extract"):
            item.progress(50, step="Extract")
        async with item.step("Load"):
            asked.set()
            while not item.cancel_requested:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        return {"loaded": item.data["file"], "because": item.cancel_reason}

    definition = {
        "taskQueueId": "attached/load",
        "paramsSchema": {"type": "object", "properties": {"file": {"type": "string"}}},
        "steps": [{"name": "Extract"}, {"name": "Load"}],
        "defaults": {"timeout": ANSWER_SECONDS},
    }
    async with Jobs(server.root_url, credentials=ROOT) as jobs, attached(work, AttachedTask("load", load)):
        await jobs.register_type("LOAD", definition)
        job = await jobs.submit({"type": "LOAD", "params": {"file": "orders.csv"}})
        async with asyncio.timeout(ANSWER_SECONDS):
            await asked.wait()
            await jobs.cancel(job.job_id, mode="graceful", reason="wrong file")
            events = [event async for event in jobs.watch(job.job_id)]
        ended = await jobs.job(job.job_id)
    assert events[-1].kind == "end"
    assert [step.state for step in ended.steps] == ["DONE", "DONE"]
    assert (ended.state, ended.output) == ("DONE", {"loaded": "orders.csv", "because": "wrong file"})


async def test_a_client_of_the_old_protocol_registers_by_an_array(server: Server, work: Work) -> None:
    async with plain(server, additional_headers=header(server)) as socket:
        await socket.send(json.dumps([{"name": "tag", "filter": {"cloud": ["aws", "gcp"]}}]))
        calling = asyncio.create_task(
            work.create("tag", data=[1], attrs={"cloud": "gcp"}, wait=ANSWER_SECONDS)
        )
        item = await take(socket)
        assert (item["task_name"], item["data"], item["attrs"]) == ("tag", [1], {"cloud": "gcp"})
        await socket.send(json.dumps({"task_id": item["task_id"], "result": "done", "data": "tagged"}))
        assert (await calling).output == "tagged"


async def test_or_by_the_url_with_a_frame_that_authorizes(server: Server, work: Work) -> None:
    signed = ROOT.signed_url(f"{server.root_url}/work/queue")
    (token,) = parse_qs(urlsplit(signed).query)["bewit"]
    async with plain(server, "/work/queue?task=tag&cloud=aws,gcp") as socket:
        await socket.send(json.dumps({"kind": "authorization", "jwt": f"Bearer {token}"}))
        await work.create("tag", attrs={"cloud": "azure"})
        created = await work.create("tag", attrs={"cloud": "aws"})
        assert (await take(socket))["task_id"] == created.status.task_id


async def test_the_item_of_a_worker_that_is_killed_goes_to_another(
    taskbus: Programs, server: Server, work: Work
) -> None:
    killed = await taskbus.run(
        *(
            "worker",
            "--attach",
            server.root_url,
            "--task",
            "double",
            "--",
            "sh",
            "-c",
            "echo $$ >&2; sleep 600",
        ),
        credentials=ROOT,
    )
    await killed.line("attached as")
    calling = asyncio.create_task(
        work.create("double", data={"n": 1}, timeout="1h", hold_timeout="1h", wait=60)
    )
    async with asyncio.timeout(ANSWER_SECONDS):
        while not (had := await work.list_work()):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    await killed.kill()
    async with attached(work, AttachedTask("double", double)) as other:
        answer = await calling
        assert [run.worker_id for run in answer.status.runs] == [had[0].worker, other.worker_id]
    assert answer.output == {"twice": 2}
    assert answer.status.runs[0].reason_resolved == "worker-shutdown"


async def test_a_frame_of_more_than_a_mebibyte_closes(server: Server, work: Work) -> None:
    async with plain(server, additional_headers=header(server)) as socket:
        await socket.send('[{"name": "tag"}]')
        await work.create("tag")
        item = await take(socket)
        frame = {"task_id": item["task_id"], "result": "done", "data": "x" * 1024 * 1024}
        await socket.send(json.dumps(frame))
        assert await closed(socket) == 1009
    async with plain(server, additional_headers=header(server)) as socket:
        await socket.send('[{"name": "tag"}]')
        again = await take(socket)
    assert (again["task_id"], again["run_id"]) == (item["task_id"], 1)


async def test_what_is_no_signature_does_not_attach(server: Server) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        async with aiohttp.ClientSession() as session:
            await session.ws_connect(f"{server.root_url}/work/queue", headers={"Authorization": "Hawk x"})
    assert refused.value.status == 401


async def test_a_server_that_stops_ends_though_workers_are_attached(
    taskbus: Programs, server: Server, work: Work
) -> None:
    worker = await taskbus.run(
        *("worker", "--attach", server.root_url, "--task", "wait", "--", "sleep", "600"), credentials=ROOT
    )
    await worker.line("attached as")
    async with plain(server, additional_headers=header(server)) as socket:
        await socket.send('[{"name": "tag"}]')
        await work.create("tag")
        await take(socket)
        server.terminate()
        assert await closed(socket) == 1012
        assert await server.exit(timeout=20) == 0
    assert "Traceback" not in server.output
    await worker.line("not attached")
    worker.process.send_signal(signal.SIGTERM)
    assert await worker.exit() == 0


@pytest.mark.postgres
async def test_the_items_of_a_gateway_that_is_killed_are_done_elsewhere_and_once(
    taskbus: Programs, postgres_database_url: str
) -> None:
    settings = {"database_url": postgres_database_url, "amqp_url": "", "claim_timeout": 2}
    other = await taskbus.serve(**settings)
    killed = await taskbus.api(**settings)
    done: list[str] = []
    all_done = asyncio.Event()

    async def count(item: AttachedItem) -> None:
        done.append(item.task_id)
        if len(done) == ITEMS:
            all_done.set()

    async with (
        Work(other.root_url, credentials=ROOT) as work,
        Queue(other.root_url, credentials=ROOT) as queue,
        plain(killed, additional_headers=header(killed)) as mute,
    ):
        await mute.send('[{"name": "count"}]')
        created = [(await work.create("count", timeout=3)).status.task_id for _ in range(ITEMS)]
        had = [(await take(mute))["task_id"] for _ in created]
        assert sorted(had) == sorted(created)
        await killed.kill()
        async with attached(work, AttachedTask("count", count)), asyncio.timeout(60):
            await all_done.wait()
        ended = [await queue.status(task_id) for task_id in created]
    assert sorted(done) == sorted(created)
    assert [[run.state for run in one.runs] for one in ended] == [["exception", "completed"]] * ITEMS
