"""Built-in jobs and the catalogue of types (``seed-systems.md`` B.9, F.3)."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer
from pydantic import TypeAdapter
from structlog.testing import capture_logs

from queue_service.features.jobs.built_in import BuiltIn
from queue_service.features.jobs.notifying import Notifier
from queue_service.notify_channels import NotifyChannel
from queue_service.settings import Settings
from schemas.job_catalogue import BUILT_IN, CATALOGUE, TO_REGISTER
from schemas.jobs import JobTypeDefinition
from tests.api.jobbed import FILE_ETL, Json, RunningJobs

on_sqlite = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)

WHO: Final[Json] = {"userId": "u-17", "envId": "prod"}


def built_in(jobs: RunningJobs, *channels: Json, background: Sequence[Any] = ()) -> BuiltIn:
    """The loop of a process; it runs when the test says so."""
    queue = jobs.queue
    known = [TypeAdapter[Any](NotifyChannel).validate_python(channel) for channel in channels]
    notifier = Notifier(queue.database, known)
    return BuiltIn(queue.database, queue.limits, notifier, background, "one", jitter=lambda: 0.5)


async def sent(jobs: RunningJobs, loop: BuiltIn, type_: str = "notify.send", **params: Any) -> Json:
    """The job of a notification after its first attempt."""
    await loop.register()
    event = {"event": {"disk": "full"}} if type_ in ("notify.send", "ALERT_NOTIFY") else {}
    job_id = await jobs.submit(type=type_, params={**WHO, **event, **params})
    assert await loop.run_once() == 1
    return await jobs.job(job_id)


# ---- the catalogue -----------------------------------------------------------------------------------


def names() -> Iterator[tuple[str, JobTypeDefinition]]:
    """The seventeen by the names of the page."""
    for name, definition in CATALOGUE.items():
        yield (definition.aliases or (name,))[0], definition


VALUES: Final[Json] = {"event": "disk full", "tier": "review", "physicalIds": ["t-1", "t-2"]}


def test_there_are_seventeen() -> None:
    assert len(dict(names())) == 17
    assert {"DISPATCHER_PULSE", "FILE_ETL", "DOCFORGE_REGENERATE_PAGE"} <= dict(names()).keys()


@on_sqlite
@pytest.mark.parametrize(("name", "definition"), list(names()), ids=[name for name, _ in names()])
async def test_a_type_of_the_catalogue_takes_what_it_lists(
    jobs: RunningJobs, name: str, definition: JobTypeDefinition
) -> None:
    registered = next(known for known, one in CATALOGUE.items() if one is definition)
    await jobs.call("PUT", f"/types/{registered}", definition.to_wire())
    params = {one: VALUES.get(one, f"{one}-1") for one in definition.params_schema["properties"]}
    reply = await jobs.call("POST", "/jobs", {"type": name, "params": params})
    assert reply.status == 201, reply.body
    for wrong in ({**params, "colour": "red"}, *({**params, one: ""} for one in params)):
        assert (await jobs.call("POST", "/jobs", {"type": name, "params": wrong})).status == 400 or (
            wrong.get("event") == ""
        )
    for missing in params:
        rest = {one: value for one, value in params.items() if one != missing}
        reply = await jobs.call("POST", "/jobs", {"type": name, "params": rest})
        assert [(one["path"], one["rule"]) for one in reply.json()["details"]["errors"]] == [
            (f"/params/{missing}", "required")
        ]


@on_sqlite
async def test_steps_are_those_of_the_page(jobs: RunningJobs) -> None:
    steps = {name: [step.name for step in TO_REGISTER[name].steps] for name in ("FILE_ETL", "WEBAPI_SYNC")}
    assert steps == {
        "FILE_ETL": ["Extract", "Transform", "Load"],
        "WEBAPI_SYNC": ["Fetch", "Transform", "Load", "Release Lock"],
    }
    assert [step.always for step in TO_REGISTER["WEBAPI_SYNC"].steps] == [False, False, False, True]


@on_sqlite
async def test_what_can_be_registered_is_told(jobs: RunningJobs) -> None:
    assert {one["type"] for one in (await jobs.get("/catalogue"))["types"]} == CATALOGUE.keys()


# ---- registration ------------------------------------------------------------------------------------


async def test_the_service_registers_what_is_built_in(jobs: RunningJobs) -> None:
    loop = built_in(jobs)
    await loop.register()
    await loop.register()
    assert [(one["type"], one["version"]) for one in (await jobs.get("/types"))["types"]] == [
        (name, 1) for name in sorted(BUILT_IN)
    ]


async def test_what_somebody_has_taken_over_stays_theirs(jobs: RunningJobs) -> None:
    await jobs.register("notify.send")
    await jobs.register("DISPATCHER_PULSE")
    await built_in(jobs).register()
    assert (await jobs.get("/types/notify.send"))["definition"]["taskQueueId"] == FILE_ETL["taskQueueId"]
    assert (await jobs.call("GET", "/types/scheduler.tick")).status == 404
    assert (await jobs.get("/types/notify.test"))["version"] == 1


# ---- what they do ------------------------------------------------------------------------------------


async def test_a_tick_runs_the_loops_once(jobs: RunningJobs) -> None:
    loop = built_in(jobs, background=[jobs.queue.loops.claims, jobs.queue.loops.deadlines])
    await loop.register()
    task_id = await jobs.queue.claimed()
    jobs.queue.clock.advance(minutes=21)
    job_id = await jobs.submit(type="DISPATCHER_PULSE", params={"envId": "prod"})
    await loop.run_once()
    job = await jobs.job(job_id)
    assert (job["state"], job["output"]) == ("DONE", {"claim expiry": 1, "deadlines": 0})
    assert (await jobs.queue.status(task_id))["state"] == "pending"
    assert [step["state"] for step in job["steps"]] == ["DONE"]


async def test_a_notification_in_the_log(jobs: RunningJobs) -> None:
    with capture_logs() as logs:
        job = await sent(jobs, built_in(jobs), channel="log")
    assert (job["state"], job["output"]) == ("DONE", {"channel": "log"})
    (line,) = [line for line in logs if line["event"] == "notification"]
    assert (line["userId"], line["jobId"], line["told"]) == ("u-17", job["jobId"], {"disk": "full"})


async def test_a_notification_on_the_bus(jobs: RunningJobs) -> None:
    job = await sent(jobs, built_in(jobs), "ALERT_NOTIFY", channel="amqp")
    (told,) = [one for one in await jobs.queue.messages() if one.exchange.endswith("/user-message")]
    assert told.routing_key == f"primary.user.job.notification.{job['jobId']}"
    assert told.body["payload"]["event"] == {"disk": "full"}


async def test_a_notification_by_a_webhook(jobs: RunningJobs) -> None:
    async with webhook(200) as (url, seen):
        channel = {"name": "ops", "kind": "webhook", "url": url}
        job = await sent(jobs, built_in(jobs, channel), "notify.test", channel="ops")
    assert job["state"] == "DONE"
    assert seen == [
        {**WHO, "event": "This is a test: the channel works.", "jobId": job["jobId"]},
    ]


@pytest.mark.parametrize("answer", [302, 404, 500])
@on_sqlite
async def test_a_webhook_that_refuses_is_tried_again_and_no_secret_is_told(
    jobs: RunningJobs, answer: int
) -> None:
    async with webhook(answer) as (url, _):
        channel = {"name": "ops", "kind": "webhook", "url": f"{url}?token=hush"}
        job = await sent(jobs, built_in(jobs, channel), channel="ops")
    assert (job["state"], job["attempt"]) == ("PENDING", 2)
    assert job["errors"][0]["error"] == f"the webhook of `ops` answered {answer}"


@on_sqlite
async def test_a_webhook_that_is_not_there(jobs: RunningJobs) -> None:
    channel = {"name": "ops", "kind": "webhook", "url": "http://127.0.0.1:1/?token=hush"}
    job = await sent(jobs, built_in(jobs, channel), "notify.test", channel="ops")
    assert (job["state"], "hush" in str(job)) == ("ERROR", False)


async def test_a_notification_by_mail(jobs: RunningJobs) -> None:
    async with mail_server() as (port, mails):
        channel = {
            "name": "mail",
            "kind": "email",
            "host": "127.0.0.1",
            "port": port,
            "from": "taskbus@example.com",
            "to": ["{userId}@example.com"],
        }
        job = await sent(jobs, built_in(jobs, channel), channel="mail")
    assert job["state"] == "DONE", job
    (mail,) = mails
    assert "To: u-17@example.com" in mail
    assert "Subject: Notification for prod" in mail
    assert '"disk": "full"' in mail


@on_sqlite
async def test_no_header_of_a_mail_can_be_smuggled_in(jobs: RunningJobs) -> None:
    async with mail_server() as (port, mails):
        channel = {
            "name": "mail",
            "kind": "email",
            "host": "127.0.0.1",
            "port": port,
            "from": "taskbus@example.com",
            "to": ["{userId}@example.com"],
        }
        params = {"channel": "mail", "userId": "a@example.com\nBcc: everybody"}
        job = await sent(jobs, built_in(jobs, channel), "notify.test", **params)
    assert (job["state"], mails) == ("ERROR", [])


async def test_a_channel_that_there_is_not(jobs: RunningJobs) -> None:
    job = await sent(jobs, built_in(jobs), "notify.test", channel="pigeon")
    assert job["errors"][0]["error"] == "there is no channel `pigeon`; there are log, amqp"


@pytest.mark.parametrize(
    "channels",
    [
        '[{"name": "log", "kind": "webhook", "url": "https://example.com"}]',
        '[{"name": "ops", "kind": "webhook", "url": "file:///etc/passwd"}]',
        '[{"name": "ops", "kind": "pigeon"}]',
        '[{"name": "a", "kind": "webhook", "url": "https://x"}, {"name": "a", "kind": "webhook", "url": "https://y"}]',
        "[",
    ],
)
def test_channels_are_checked_at_the_start(channels: str) -> None:
    with pytest.raises(ValueError, match="notify_channels"):
        Settings(notify_channels=channels)  # type: ignore[arg-type]


# ---- those that are told -----------------------------------------------------------------------------


@asynccontextmanager
async def webhook(answer: int) -> AsyncIterator[tuple[str, list[Json]]]:
    """The URL of a webhook that answers so, and what it was sent."""
    seen: list[Json] = []

    async def take(request: web.BaseRequest) -> web.Response:
        seen.append(await request.json())
        return web.Response(status=answer, headers={"location": "/elsewhere"} if answer == 302 else None)

    async with RawTestServer(take) as server:
        yield str(server.make_url("/")), seen


@asynccontextmanager
async def mail_server() -> AsyncIterator[tuple[int, list[str]]]:
    """The port of a mail server, and the mails it was sent."""
    mails: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example.com\r\n")
        while line := (await reader.readline()).strip():
            if line.upper() == b"DATA":
                writer.write(b"354 go on\r\n")
                mails.append((await reader.readuntil(b"\r\n.\r\n")).decode())
            writer.write(b"221 bye\r\n" if line.upper() == b"QUIT" else b"250 ok\r\n")
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], mails
