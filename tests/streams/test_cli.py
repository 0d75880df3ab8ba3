"""``taskbus job watch``, ``taskbus listen --http`` and ``taskbus event send``."""

import asyncio
import json
from pathlib import Path
from typing import Any, Final

import pytest

from taskbus.cli import job_watch, listen
from taskbus.event_stream import Events
from taskbus.streaming import ServerEvent
from tests.examples.conftest import Running, service  # noqa: F401
from tests.kv.test_cli import Run, run  # noqa: F401

SECONDS: Final = 30.0
SNAPSHOT: Final = ServerEvent(
    "2",
    "snapshot",
    {
        "type": "FILE_ETL",
        "state": "RUNNING",
        "progress": {"percent": 10},
        "steps": [
            {"name": "Extract", "state": "RUNNING", "percent": 30},
            {"name": "Load", "state": "PENDING"},
        ],
    },
)
LIFE: Final = (
    SNAPSHOT,
    ServerEvent("3", "progress", {"step": "Extract", "percent": 60, "message": "half"}),
    ServerEvent("4", "log", {"message": "a line"}),
    ServerEvent("5", "step", {"name": "Extract", "state": "DONE"}),
    ServerEvent("6", "step", {"name": "Load", "state": "ERROR", "error": "disk is full"}),
    ServerEvent("7", "state", {"state": "ERROR", "reason": "failed"}),
    ServerEvent("8", "end", {"state": "ERROR", "output": {"rows": 3}}),
)


async def test_a_user_message_is_sent_and_its_id_printed(run: Run, service: Running) -> None:  # noqa: F811
    sent = await run("event", "send", '{"n": 1}', "--tag", "disk", "--alert")
    assert len(sent.strip()) == 22
    assert "JSON" in await run("event", "send", "{", status=2)
    assert "tag" in await run("event", "send", "1", "--tag", "two words", status=2)


async def test_events_come_over_http(service: Running) -> None:  # noqa: F811
    heard: asyncio.Queue[Any] = asyncio.Queue()
    asked = listen.bindings(["user-message"], {}, [])
    listening = asyncio.create_task(
        listen.show_stream(Events(service.root_url), asked, lambda event, facts: heard.put_nowait(event))
    )
    async with Events(service.root_url) as events, asyncio.timeout(SECONDS):
        while heard.empty():
            await events.send("hello")
            await asyncio.wait([listening], timeout=0.2)
    assert (await heard.get()).payload == "hello"
    listening.cancel()
    await asyncio.wait([listening])


async def test_a_job_is_watched_until_it_ends(
    run: Run,  # noqa: F811
    service: Running,  # noqa: F811
    tmp_path: Path,
) -> None:
    definition = tmp_path / "nothing.json"
    definition.write_text('{"paramsSchema": {"type": "object"}, "taskQueueId": "jobs/none"}')
    await run("job", "register", "NOTHING", str(definition))
    job_id = (await run("job", "submit", "NOTHING")).strip()
    await run("job", "cancel", job_id)
    assert await run("job", "watch", job_id, status=1) == ""
    assert "no-such" in await run("job", "watch", "no-such", status=1)


def test_lines_tell_a_job_to_pipes(capsys: pytest.CaptureFixture[str]) -> None:
    screen = job_watch.Lines()
    with screen:
        for event in LIFE:
            screen.show(event)
    assert capsys.readouterr().out.splitlines() == [
        "FILE_ETL RUNNING",
        "60 % Extract half",
        "a line",
        "Extract  DONE",
        "Load  ERROR  disk is full",
        "ERROR failed",
        '{"rows": 3}',
    ]


def test_json_is_an_event_per_line(capsys: pytest.CaptureFixture[str]) -> None:
    screen = job_watch.Json()
    for event in LIFE:
        screen.show(event)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["event"] for line in lines] == [event.kind for event in LIFE]


def test_every_step_has_a_bar() -> None:
    screen = job_watch.Bars()
    for event in LIFE:
        screen.show(event)
    assert [(bar.description, bar.completed, bar.fields["state"]) for bar in screen._progress.tasks] == [
        ("FILE_ETL", 10, "ERROR"),
        ("  Extract", 100, "DONE"),
        ("  Load", 0, "ERROR"),
    ]
    screen.show(SNAPSHOT)
    assert len(screen._progress.tasks) == 3
