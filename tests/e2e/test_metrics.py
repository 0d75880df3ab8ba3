"""Each process of a service tells its own metrics at a port of its own, and how it is."""

import signal
import socket
from contextlib import suppress
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from schemas.ids import slugid
from taskbus import Queue, task_definition
from tests.e2e.programs import ROOT, Programs

pytestmark = [pytest.mark.e2e, pytest.mark.postgres, pytest.mark.timeout(60)]

CREATED = {"service": "queue", "endpoint": "createTask", "status": "200"}


@pytest.fixture
def settings(postgres_database_url: str, rabbitmq_url: str) -> dict[str, Any]:
    return {"database_url": postgres_database_url, "amqp_url": rabbitmq_url, "metrics_port": two_free_ports()}


async def test_what_each_process_tells_adds_up_to_what_happened(
    taskbus: Programs, settings: dict[str, Any], name: str
) -> None:
    server = await taskbus.serve("--processes", "2", **settings)
    ports = [settings["metrics_port"], settings["metrics_port"] + 1]
    await server.line("metrics are told", str(ports[1]))
    async with Queue(server.root_url, credentials=ROOT) as queue:
        for _ in range(20):
            await queue.create_task(slugid(), task_definition({}, queue=f"{name}/work", scheduler_id=name))
    first, second = [await told(port) for port in ports]
    assert first.get("taskbus_call_seconds_count", 0) + second.get("taskbus_call_seconds_count", 0) == 20
    assert "taskbus_outbox_messages" in first
    assert "taskbus_outbox_messages" not in second


async def test_a_process_that_is_started_again_tells_at_the_same_port(
    taskbus: Programs, settings: dict[str, Any]
) -> None:
    server = await taskbus.serve("--processes", "2", **settings)
    second = str(settings["metrics_port"] + 1)
    await server.line("metrics are told", second)
    (child,) = await server.children(1)
    seen = len(server.lines)
    child.kill()
    await server.line("metrics are told", second, since=seen)


async def test_a_process_of_background_work_alone_has_a_heartbeat(
    taskbus: Programs, settings: dict[str, Any]
) -> None:
    loops = await taskbus.loops(**settings)
    url = f"http://127.0.0.1:{settings['metrics_port']}/__heartbeat__"
    async with aiohttp.ClientSession() as session, session.get(url) as reply:
        facts = await reply.json()
    assert (reply.status, facts["ready"], facts["background"]) == (200, True, "ok")
    loops.process.send_signal(signal.SIGTERM)
    assert await loops.exit() == 0


async def test_without_a_port_nothing_is_told(taskbus: Programs, settings: dict[str, Any]) -> None:
    server = await taskbus.serve(**{**settings, "metrics_port": 0})
    assert "metrics are told" not in server.output


def two_free_ports() -> int:
    """The first of two that follow each other."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as first, suppress(OSError):
            port: int = first.getsockname()[1]
            with socket.create_server(("127.0.0.1", port + 1)):
                return port


async def told(port: int) -> dict[str, float]:
    """Values by name; of calls those that created a task."""
    url = f"http://127.0.0.1:{port}/metrics"
    async with aiohttp.ClientSession() as session, session.get(url) as reply:
        families = text_string_to_metric_families(await reply.text())
    return {
        sample.name: sample.value
        for family in families
        for sample in family.samples
        if sample.labels == (CREATED if sample.name.startswith("taskbus_call_") else {})
    }
