"""What Prometheus is told is what happened, in this process, each thing once."""

import asyncio
import json
import socket
from datetime import timedelta
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from events.messages import OutboundMessage
from queue_service.metrics import METRICS, Metric, Metrics
from queue_service.metrics_server import MetricsServer
from queue_service.operations import due
from queue_service.operations.claims import WorkRequest
from queue_service.service import Service
from queue_service.store.database import StoreUnavailable
from schemas.ids import slugid
from tests.api.asgi import Reply, request
from tests.api.definitions import QUEUES, definition
from tests.operating.conftest import Started

BASE = "/api/queue/v1"
AWAY = "amqp://guest:guest@127.0.0.1:1/"


class Told:
    """Everything that a process tells at one moment."""

    def __init__(self, text: str) -> None:
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        self._values = {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in self.families.values()
            for sample in family.samples
        }

    def __call__(self, name: str, **labels: str) -> float | None:
        return self._values.get((name, *sorted(labels.items())))


async def told(service: Service) -> Told:
    return Told((await Metrics(service.watched()).text()).decode())


async def call(service: Service, method: str, target: str, body: object = None) -> Reply:
    pieces = [] if body is None else [json.dumps(body).encode()]
    headers = {} if body is None else {"Content-Type": "application/json"}
    return await request(service.application, method, BASE + target, headers=headers, body=pieces)


async def created(service: Service, **members: Any) -> str:
    task_id = slugid()
    body = definition(service.clock.now(), "build", **members)
    reply = await call(service, "PUT", f"/task/{task_id}", body)
    assert reply.status == 200, reply.body
    return task_id


async def claimed(service: Service) -> list[Any]:
    body = {"workerGroup": "g", "workerId": "w", "tasks": 10}
    return list((await call(service, "POST", f"/claim-work/{QUEUES['build']}", body)).json()["tasks"])


@pytest.fixture
async def service(started: Started, sqlite_database_url: str) -> Service:
    """A whole service whose broker is away, so that what it publishes stays."""
    return await started(database_url=sqlite_database_url, amqp_url=AWAY, long_poll=0.05)


@pytest.fixture
async def service_on_either(started: Started, database_url: str) -> Service:
    """The same once per kind of database, for what is counted or read there."""
    return await started(database_url=database_url, amqp_url=AWAY, long_poll=0.05)


async def test_calls_are_told_by_endpoint_and_status(service: Service) -> None:
    task_id = await created(service)
    await call(service, "GET", f"/task/{slugid()}")
    await call(service, "GET", f"/task/{task_id}/status")
    await call(service, "GET", "/nowhere")
    tell = await told(service)

    def count(endpoint: str, status: int) -> float | None:
        return tell("taskbus_call_seconds_count", service="queue", endpoint=endpoint, status=str(status))

    assert (count("createTask", 200), count("task", 404), count("status", 200), count("", 404)) == (
        1,
        1,
        1,
        1,
    )
    assert count("createTask", 404) is None


async def test_the_life_of_a_run_is_told_when_it_is_committed(service_on_either: Service) -> None:
    service = service_on_either
    for _ in range(3):
        await created(service)
    done, failed, expired = await claimed(service)
    await call(service, "POST", f"/task/{done['status']['taskId']}/runs/0/completed")
    await call(service, "POST", f"/task/{done['status']['taskId']}/runs/0/completed")  # a repeat
    await call(service, "POST", f"/task/{failed['status']['taskId']}/runs/0/failed")
    later = service.clock.now() + timedelta(hours=1)

    async def expire(tx: Any) -> int:
        tx.now = later
        return await due.expire_claims(tx, 10)

    assert await service.database.write(expire) == 1
    tell = await told(service)
    assert tell("taskbus_claims_total") == 3
    assert tell("taskbus_runs_resolved_total", state="completed", reason="completed") == 1
    assert tell("taskbus_runs_resolved_total", state="failed", reason="failed") == 1
    assert tell("taskbus_runs_resolved_total", state="exception", reason="claim-expired") == 1
    assert expired["status"]["taskId"]


async def test_calls_that_share_a_transaction_are_told(service: Service) -> None:
    await asyncio.gather(*(created(service) for _ in range(5)))
    tell = await told(service)
    assert tell("taskbus_batch_size_sum", kind="creations") == 5
    assert tell("taskbus_batch_size_count", kind="creations") <= 5  # type: ignore[operator]


async def test_what_waits_for_the_broker_is_told_with_its_age(service_on_either: Service) -> None:
    service = service_on_either
    await created(service)
    tell = await told(service)
    assert tell("taskbus_outbox_messages") == 2
    assert tell("taskbus_outbox_oldest_seconds") < 60  # type: ignore[operator]
    assert tell("taskbus_broker_connected") == 0


async def test_confirmed_messages_are_told(started: Started, sqlite_database_url: str) -> None:
    service = await started(database_url=sqlite_database_url)
    assert service.relay is not None
    confirmed, settle = asyncio.Event(), service.relay._publisher.send

    def send(message: OutboundMessage, settled: Any) -> None:
        def watched(taken: bool) -> None:
            settled(taken)
            if service.relay is not None and service.relay.published == 2:
                confirmed.set()

        settle(message, watched)

    service.relay._publisher.send = send  # type: ignore[method-assign]
    await created(service)
    await confirmed.wait()
    tell = await told(service)
    assert tell("taskbus_messages_published_total") == 2
    assert tell("taskbus_messages_refused_total") == 0
    assert tell("taskbus_broker_connected") == 1


async def test_background_work_that_is_late_is_told(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    await created(service)
    await claimed(service)
    now = service.clock.now()
    monkeypatch.setattr(service.clock, "now", lambda: now + timedelta(seconds=1200 + 90))
    tell = await told(service)
    assert tell("taskbus_overdue_seconds", timer="claim") == pytest.approx(90, abs=30)
    assert tell("taskbus_overdue_seconds", timer="deadline") == 0


async def test_workers_that_wait_are_told(service: Service) -> None:
    async def stays() -> None:
        await asyncio.get_running_loop().create_future()

    request = WorkRequest(QUEUES["build"], "g", "w", 1)
    waiting = asyncio.create_task(service.api.desk.claim_work(request, seconds=60, gone=stays))
    await asyncio.sleep(0)
    assert (await told(service))("taskbus_waiting_workers") == 1
    service.api.desk.close()
    assert await waiting == []
    assert (await told(service))("taskbus_waiting_workers") == 0


async def test_without_the_database_everything_else_is_told(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reading() -> Any:
        raise OSError("gone")

    monkeypatch.setattr(service.database.driver, "reading", reading)
    with pytest.raises(StoreUnavailable):
        async with service.database.read():
            pass
    tell = await told(service)
    assert tell("taskbus_outbox_messages") is None
    assert tell("taskbus_database_unavailable_total") >= 1  # type: ignore[operator]
    assert tell("taskbus_loop_passes_total", loop="claim expiry") is not None


async def test_a_process_tells_only_what_it_does_itself(started: Started, sqlite_database_url: str) -> None:
    service = await started(database_url=sqlite_database_url, roles=frozenset({"api"}))
    tell = await told(service)
    by = {metric.told_by for metric in METRICS if metric.name in tell.families and _samples(tell, metric)}
    assert by == {"every process", "API"}


def _samples(tell: Told, metric: Metric) -> bool:
    return bool(tell.families[metric.name].samples)


async def test_every_metric_of_the_table_is_told(service: Service) -> None:
    await created(service)
    tell = await told(service)
    missing = [metric.name for metric in METRICS if metric.name not in tell.families]
    assert missing == []
    assert all(tell.families[metric.name].type == metric.kind for metric in METRICS)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_metric_is_named_as_prometheus_wants_it(metric: Metric) -> None:
    assert metric.name.startswith("taskbus_")
    assert not metric.name.endswith(("_total", "_count", "_sum", "_bucket", "_info"))
    assert metric.meaning.endswith(".")


# ---- the port -----------------------------------------------------------------------------------------


@pytest.fixture
async def url(started: Started, sqlite_database_url: str) -> Any:
    service = await started(database_url=sqlite_database_url, amqp_url=AWAY)
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    with capture_logs():
        async with MetricsServer(listener, Metrics(service.watched()), service.health):
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize(
    ("path", "status", "kind"),
    [
        ("/metrics", 200, "text/plain; version=0.0.4; charset=utf-8"),
        ("/__heartbeat__", 200, "application/json; charset=utf-8"),
        ("/__lbheartbeat__", 200, "application/json; charset=utf-8"),
        ("/api/queue/v1/ping", 404, "application/json; charset=utf-8"),
    ],
)
async def test_the_port_of_the_metrics_has_nothing_else(url: str, path: str, status: int, kind: str) -> None:
    async with aiohttp.ClientSession() as session, session.get(url + path) as reply:
        assert (reply.status, reply.headers["content-type"]) == (status, kind)


async def test_the_api_tells_no_metrics(service: Service) -> None:
    assert (await request(service.application, "GET", "/metrics")).status == 404


async def test_metrics_are_read_and_not_written(url: str) -> None:
    async with aiohttp.ClientSession() as session, session.post(url + "/metrics") as reply:
        assert reply.status == 405
