"""The database goes away in the middle and comes back: nothing is half-done, and all goes on by itself."""

import asyncio
from typing import Any

import httpx
import pytest

from schemas.ids import slugid
from tests.e2e.load import Load
from tests.e2e.observer import Observer
from tests.e2e.programs import Programs
from tests.e2e.promise import assert_kept
from tests.events.proxy import Proxy

pytestmark = [pytest.mark.e2e, pytest.mark.postgres, pytest.mark.timeout(60)]


def assert_is_a_refusal(reply: httpx.Response, method: str) -> None:
    """The error shape of ``queue-behaviour.md`` 1.4."""
    body = reply.json()
    assert reply.status_code == 503
    assert body.keys() == {"code", "message", "requestInfo"}
    assert body["code"] == "InternalServerError"
    assert f"* method:     {method}" in body["message"]
    assert body["requestInfo"]["method"] == method


async def test_calls_are_refused_and_all_goes_on_when_it_is_back(
    taskbus: Programs,
    observer: Observer,
    quick: dict[str, Any],
    postgres_database_url: str,
    rabbitmq_url: str,
    name: str,
) -> None:
    async with Proxy(postgres_database_url) as database:
        settings = {**quick, "database_url": database.url, "amqp_url": rabbitmq_url}
        server = await taskbus.serve(**settings, no_auth=True)
        async with Load(server.root_url, name, tasks=60) as load:
            working = asyncio.create_task(load.run())
            assert await observer.has_heard(60)
            await database.refuse()
            await database.cut()
            async with httpx.AsyncClient(base_url=server.root_url) as client:
                reply = await client.get(f"/api/queue/v1/task/{slugid()}/status")
            assert_is_a_refusal(reply, "status")
            await server.line("relay waits for the database")
            await server.line("loop waits for the database")

            await database.accept()
            await assert_kept(load, observer, working)
            assert load.unanswered == 0
            assert load.refusals
            for refusal in load.refusals:
                assert_is_a_refusal(refusal, refusal.json()["requestInfo"]["method"])
    assert not [line for line in server.lines if "Traceback" in line]
