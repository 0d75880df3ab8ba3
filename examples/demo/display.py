"""How events look as they come in: a live table on a terminal, plain lines anywhere else."""

import sys
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from examples.demo.record import Record

STYLES: Final = {
    "task-defined": "dim",
    "task-pending": "yellow",
    "task-running": "cyan",
    "task-completed": "green",
    "task-failed": "red",
    "task-exception": "bold magenta",
    "task-group-resolved": "bold green",
    "the demo": "bold red",
}
ROWS: Final = 16
"""Events that the table shows, the newest last."""

Row = tuple[str, str, str, str]
"""When, what, about what, and details."""


class Display(Protocol):
    """Where events are shown."""

    def show(self, record: Record) -> None:
        """An event came."""

    def note(self, text: str) -> None:
        """The demo has something to say."""


@contextmanager
def open_display() -> Iterator[Display]:
    """The display that suits standard output."""
    console = Console(highlight=False)
    if not console.is_terminal:
        yield Lines()
        return
    with Live(console=console, refresh_per_second=10) as live:
        yield LiveTable(live)


class Lines:
    """One line per event."""

    def show(self, record: Record) -> None:
        self._print(_row(record))

    def note(self, text: str) -> None:
        self._print(("", "the demo", text, ""))

    def _print(self, row: Row) -> None:
        when, what, about, details = row
        sys.stdout.write(f"{when:12}  {what:20}{about:60}  {details}".rstrip() + "\n")
        sys.stdout.flush()


class LiveTable:
    """The newest events, and how far the tasks are."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._rows: deque[Row] = deque(maxlen=ROWS)
        self._states: dict[str, str] = {}
        self._events = 0

    def show(self, record: Record) -> None:
        self._events += 1
        if record.task is not None:
            self._states[record.task.status.task_id] = record.task.status.state
        self._append(_row(record))

    def note(self, text: str) -> None:
        self._append(("", "the demo", text, ""))

    def _append(self, row: Row) -> None:
        self._rows.append(row)
        # A new one each time: it is drawn by another thread.
        self._live.update(Group(self._table(), self._progress()))

    def _table(self) -> Table:
        table = Table(box=None, header_style="bold", expand=True)
        table.add_column("TIME", no_wrap=True, width=12)
        table.add_column("EVENT", no_wrap=True, width=19)
        table.add_column("TASK", no_wrap=True, ratio=3)
        table.add_column("RUN", no_wrap=True, ratio=2)
        for when, what, about, details in self._rows:
            style = STYLES.get(what, "")
            table.add_row(Text(when, "dim"), Text(what, style), about, Text(details, style))
        return table

    def _progress(self) -> Table:
        counts = Counter(self._states.values())
        bar = ProgressBar(total=max(len(self._states), 1), completed=counts["completed"])
        states = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()) if count)
        line = Table.grid(padding=(0, 1), expand=True)
        line.add_column(width=40)
        line.add_column(no_wrap=True)
        line.add_row(bar, f"{self._events} events; tasks: {states}")
        return line


def _row(record: Record) -> Row:
    run = record.run
    details = ""
    if run is not None:
        worker = f" on {record.worker_id}" if record.worker_id else ""
        reason = f": {run.reason_resolved}" if record.kind == "task-exception" else ""
        details = f"run {run.run_id}{worker}{reason}"
    return record.arrived.astimezone().strftime("%H:%M:%S.%f")[:-3], record.kind, record.subject, details
