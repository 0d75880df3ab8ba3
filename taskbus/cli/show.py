"""How tasks and events look in a terminal."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from rich.table import Table
from rich.text import Text

from schemas.attempts import AttemptsResponse
from schemas.messages import Message, TaskMessage
from schemas.task import Run, TaskDefinition, TaskStatus
from schemas.times import format_time

STYLES: Final = {
    "unscheduled": "dim",
    "defined": "dim",
    "pending": "yellow",
    "running": "cyan",
    "completed": "green",
    "failed": "red",
    "exception": "magenta",
}
"""Colours by state."""


def state_text(state: str) -> Text:
    return Text(state, STYLES.get(state, ""))


def status_lines(status: TaskStatus) -> list[Text]:
    """A task and its runs, for people."""
    head = Text.assemble(status.task_id, "  ", state_text(status.state), "  ", status.task_queue_id)
    facts = (
        f"  group {status.task_group_id}  priority {status.priority or 'lowest'}  "
        f"retries left {status.retries_left}  deadline {format_time(status.deadline)}"
    )
    return [head, Text(facts, "dim"), *(run_line(run) for run in status.runs)]


def run_line(run: Run) -> Text:
    reason = run.reason_resolved if run.reason_resolved not in (None, run.state) else None
    parts: list[str | Text] = [f"  run {run.run_id}  ", state_text(run.state)]
    if reason:
        parts.append(Text(f" ({reason})", STYLES["exception"]))
    if run.worker_id:
        parts.append(f"  {run.worker_group}/{run.worker_id}")
    if run.resolved and run.started:
        parts.append(f"  {(run.resolved - run.started).total_seconds():.1f} s")
    return Text.assemble(*parts)


def attempts_lines(told: AttemptsResponse) -> list[Text]:
    """How a task fared, for people."""
    lines = [Text(f"{told.task_id}  attempt {told.attempt} of {told.max_attempts}")]
    if told.snoozes:
        lines.append(Text(f"  snoozed {told.snoozes} times"))
    if told.available_at is not None:
        lines.append(Text(f"  delayed until {format_time(told.available_at)}", STYLES["pending"]))
    for error in told.errors:
        head = f"  attempt {error.attempt}, run {error.run_id}, {format_time(error.at)}: "
        lines.append(Text.assemble(head, Text(error.error or "failed", STYLES["failed"])))
        lines.extend(Text(f"    {line}", "dim") for line in error.trace.splitlines())
    if told.worked_by:
        lines.append(Text(f"  worked on by {', '.join(dict.fromkeys(told.worked_by))}"))
    if told.output is not None:
        lines.append(Text(f"  output {json.dumps(told.output, ensure_ascii=False)}"))
    return lines


def table(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> Table:
    """One row per thing; only the last column may take several lines."""
    *first, last = columns
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in first:
        made.add_column(column, no_wrap=True)
    made.add_column(last)
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else Text(_cell(cell)) for cell in row))
    return made


def facts(values: Mapping[str, object]) -> Table:
    """One thing: a row per fact; those that are None are left out."""
    made = Table(box=None, pad_edge=False, show_header=False)
    made.add_column(style="dim", no_wrap=True)
    made.add_column()
    for name, value in values.items():
        if value is not None:
            made.add_row(name, Text(_cell(value)))
    return made


def _cell(value: object) -> str:
    match value:
        case None:
            return "-"
        case datetime():
            return format_time(value)
        case tuple():
            return "\n".join(map(str, value)) or "-"
        case _:
            return str(value)


def task_table(tasks: Iterable[tuple[TaskStatus, TaskDefinition]]) -> Table:
    """One row per task."""
    return table(
        ("TASK", "STATE", "RUNS", "QUEUE", "NAME"),
        (
            (
                status.task_id,
                state_text(status.state),
                len(status.runs),
                status.task_queue_id,
                " ".join(task.metadata.name.split()),
            )
            for status, task in tasks
        ),
    )


def event_line(at: datetime, exchange: str, routing_key: str, event: object) -> Text:
    """One event on one line: when it came, what happened, and to what."""
    name = exchange.rpartition("/")[2]
    style = STYLES.get(name.rpartition("-")[2], "blue")
    line = Text.assemble(at.strftime("%H:%M:%S.%f")[:-3], "  ", Text(f"{name:<20}", style), "  ")
    if isinstance(event, TaskMessage):
        return line.append_text(_task_facts(event))
    if isinstance(event, Message):
        facts = event.to_wire()
        facts.pop("version", None)
        return line.append("  ".join(f"{key}={value}" for key, value in facts.items()))
    return line.append(f"{routing_key}  {event}")


def _task_facts(event: TaskMessage) -> Text:
    status, run_id = event.status, getattr(event, "run_id", None)
    facts = Text(status.task_id)
    if run_id is not None:
        facts.append(f"/{run_id}")
    facts.append(f"  {status.task_queue_id}")
    if worker_id := getattr(event, "worker_id", None):
        facts.append(f"  by {getattr(event, 'worker_group', '')}/{worker_id}", "dim")
    if run_id is not None and run_id < len(status.runs):
        reason = status.runs[run_id].reason_resolved
        if reason not in (None, "completed", "failed"):
            facts.append(f"  {reason}", STYLES["exception"])
    return facts
