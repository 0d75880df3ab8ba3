"""How the demo shows events."""

import io

import pytest
from rich.console import Console
from rich.live import Live

from examples.demo.display import Lines, LiveTable, open_display
from tests.examples.story import whole_story


def test_without_a_terminal_every_event_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    story = whole_story()
    with open_display() as display:
        assert isinstance(display, Lines)
        for record in story.records:
            display.show(record)
        display.note("kills worker-1")
    *lines, note = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == [record.kind for record in story.records]
    [expired] = [line for line in lines if "task-exception" in line]
    assert expired.endswith("compile one.py" + " " * 48 + "run 0 on worker-1: claim-expired")
    assert note.split(maxsplit=2) == ["the", "demo", "kills worker-1"]


def test_on_a_terminal_there_is_a_table_of_the_newest_events_and_the_progress_of_all() -> None:
    story = whole_story()
    screen = io.StringIO()
    with Live(console=Console(file=screen, force_terminal=True, width=140), auto_refresh=False) as live:
        table = LiveTable(live)
        for record in story.records:
            table.show(record)
        table.note("kills worker-1")
    shown = screen.getvalue()
    assert "task-group-resolved" in shown
    assert "kills worker-1" in shown
    assert f"{len(story.records)} events; tasks: 3 completed" in shown
