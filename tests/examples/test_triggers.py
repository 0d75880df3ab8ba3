"""The nightly report covers a range once and for all, and the pipeline's second stage follows its first."""

import asyncio
from datetime import UTC, datetime

import pytest

from examples import nightly_report, pipeline
from taskbus import NotFound, Queue, Triggers
from taskbus.auth import Auth
from taskbus.jobs import Taskbus
from tests.examples.conftest import Running


@pytest.fixture
async def allowed(service: Running) -> None:
    """The tasks of triggers may be created."""
    async with Auth(service.root_url) as auth:
        await auth.create_role("trigger-id:demo/*", scopes=("queue:create-task:*", "queue:scheduler-id:*"))


@pytest.mark.usefixtures("allowed")
async def test_the_nightly_report_covers_the_days_in_order(service: Running) -> None:
    running = asyncio.create_task(
        nightly_report.main(Taskbus(Queue(service.root_url)), "2026-01-01 00:00:00.000 +0000")
    )
    async with Triggers(service.root_url) as triggers, asyncio.timeout(60):
        await listed(triggers, running)
        for day in (2, 3):
            await triggers.fire_trigger("demo", "nightly-report")
            while (await watermark(triggers)) != datetime(2026, 1, day, tzinfo=UTC):
                await asyncio.wait([running], timeout=0.1)
    nightly_report.worker.stop()
    await running


async def listed(triggers: Triggers, running: asyncio.Task[None]) -> None:
    """Wait until the example has made its trigger."""
    while True:
        try:
            await triggers.trigger("demo", "nightly-report")
        except NotFound:
            await asyncio.wait([running], timeout=0.1)
        else:
            return


async def watermark(triggers: Triggers) -> datetime:
    found = (await triggers.trigger("demo", "nightly-report")).watermark
    assert found is not None
    return found.time


@pytest.mark.usefixtures("allowed")
async def test_the_second_stage_starts_on_the_message_of_the_first(
    service: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    async with asyncio.timeout(60):
        await pipeline.main(Taskbus(Queue(service.root_url)), "orders.csv")
    printed = capsys.readouterr().out
    assert "loaded orders.csv" in printed
    assert "published what task " in printed
