"""``taskbus job watch``: a job as it goes on, with a bar for each of its steps."""

import json
import sys
from typing import Annotated, Any, Final

import typer
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

from taskbus.cli.connect import connect
from taskbus.cli.console import FAILURE, AsJson, RootUrl, out, run
from taskbus.streaming import ServerEvent
from taskbus.typed_jobs import Jobs

DONE: Final = "DONE"
_FULL: Final = 100.0


def watch(
    job_id: Annotated[str, typer.Argument(metavar="JOB_ID")],
    as_json: AsJson = False,
    root_url: RootUrl = None,
) -> None:
    """Show a job as it goes on, until it ends; the exit status is 0 if it is done, else 1.

    Example: taskbus job watch "$(taskbus job submit FILE_ETL '{"fileId": "orders.csv"}')"
    """
    client = connect(Jobs, root_url)
    if as_json:
        screen: Lines | Bars = Json()
    else:
        screen = Bars() if sys.stdout.isatty() else Lines()

    async def follow() -> str:
        state = ""
        async with client:
            with screen:
                async for event in client.watch(job_id):
                    screen.show(event)
                    state = event.data.get("state", state) if event.kind in ("snapshot", "end") else state
        return state

    if run(follow()) != DONE:
        raise typer.Exit(FAILURE)


class Lines:
    """A line for every event, for pipes and logs."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, *error: object) -> None:
        return None

    def show(self, event: ServerEvent) -> None:
        data = event.data
        match event.kind:
            case "snapshot":
                out().print(f"{data['type']} {data['state']}", soft_wrap=True)
            case "state":
                out().print(" ".join(_words(data, "state", "reason")), soft_wrap=True)
            case "step":
                out().print("  ".join(_words(data, "name", "state", "message", "error")), soft_wrap=True)
            case "progress":
                percent = f"{data['percent']:g} %" if "percent" in data else ""
                out().print(" ".join([percent, *_words(data, "step", "message")]).strip(), soft_wrap=True)
            case "log":
                out().print(" ".join(_words(data, "message")), soft_wrap=True)
            case "end" if data.get("output") is not None:
                out().print(json.dumps(data["output"], ensure_ascii=False), soft_wrap=True)


class Json(Lines):
    """Every event as JSON, one per line."""

    def show(self, event: ServerEvent) -> None:
        line = {"id": event.id, "event": event.kind, "data": event.data}
        print(json.dumps(line, ensure_ascii=False), flush=True)


class Bars:
    """A bar for the job, and one for each step."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[state]}"),
            TextColumn("{task.fields[message]}", style="dim"),
            TimeElapsedColumn(),
        )
        self._job: TaskID | None = None
        self._steps: dict[str, TaskID] = {}

    def __enter__(self) -> None:
        self._progress.start()

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def show(self, event: ServerEvent) -> None:
        data = event.data
        match event.kind:
            case "snapshot":
                self._begin(data)
            case "state" | "end":
                self._set(self._job, state=data["state"], message=data.get("reason", ""))
                if data["state"] == DONE:
                    self._set(self._job, percent=_FULL)
                if event.kind == "end" and data.get("output") is not None:
                    self._progress.print(json.dumps(data["output"], ensure_ascii=False))
            case "step":
                self._step(data)
            case "progress":
                self._set(
                    self._steps.get(data["step"]) if "step" in data else self._job,
                    percent=data.get("percent"),
                    message=data.get("message", ""),
                )
            case "log":
                self._progress.print(data.get("message", ""))

    def _begin(self, job: dict[str, Any]) -> None:
        if self._job is None:
            self._job = self._bar(job["type"])
            self._steps = {step["name"]: self._bar("  " + step["name"]) for step in job["steps"]}
        percent = job["progress"].get("percent", 0.0)
        self._set(self._job, state=job["state"], percent=percent, message=job.get("reason", ""))
        for step in job["steps"]:
            self._step(step)

    def _step(self, step: dict[str, Any]) -> None:
        percent = _FULL if step["state"] == DONE else step.get("percent", 0.0)
        message = step.get("error") or step.get("message") or ""
        self._set(self._steps.get(step["name"]), state=step["state"], percent=percent, message=message)

    def _bar(self, name: str) -> TaskID:
        return self._progress.add_task(name, total=_FULL, state="", message="")

    def _set(
        self, bar: TaskID | None, *, percent: float | None = None, state: str | None = None, message: str = ""
    ) -> None:
        if bar is None:
            return
        self._progress.update(bar, completed=percent, message=message)
        if state is not None:
            self._progress.update(bar, state=state)


def _words(data: dict[str, Any], *names: str) -> list[str]:
    return [str(data[name]) for name in names if data.get(name) is not None]
