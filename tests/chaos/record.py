"""What callers asked and what they were answered: one record for all, also for those that are killed."""

import json
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, Self, TypeVar

import aiohttp

from taskbus import ApiError, Queue
from taskbus.transport import Transport

UNANSWERED: Final = 0
"""Instead of a status: nobody knows whether the call was done."""
RETRIES: Final = 5
BASE: Final = "/api/queue/v1/"
KEPT: Final = ("status", "runId", "workerId", "takenUntil")

_TASK: Final = re.compile(r"task/([^/]+)(?:/runs/(\d+))?(?:/(\w+))?")

_T = TypeVar("_T")


@dataclass(frozen=True)
class Said:
    """One line of a record: a call is sent (``status`` None), or what came of it. ``at`` is Unix time."""

    at: float
    by: str
    call: str
    """``POST task/<id>/runs/0/completed``"""
    status: int | None = None
    answer: dict[str, Any] | None = None

    def to_json(self) -> str:
        return json.dumps(vars(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str) -> Self:
        return cls(**json.loads(line))

    @property
    def task(self) -> tuple[str, int | None, str] | None:
        """Task, run and verb of a call that is about a task."""
        found = _TASK.fullmatch(self.call.partition(" ")[2])
        if found is None:
            return None
        run = found[2]
        return found[1], None if run is None else int(run), found[3] or "create"


@dataclass
class Record:
    """Everything that was said in a round, as it came."""

    lines: list[Said] = field(default_factory=list)

    def add(self, said: Said) -> None:
        self.lines.append(said)

    @property
    def answers(self) -> list[Said]:
        return [said for said in self.lines if said.status is not None]

    def repeated(self) -> set[str]:
        """Tasks about which something was asked more than once."""
        asked = Counter(said.call for said in self.lines if said.status is None)
        return {said.task[0] for said in self.lines if said.task is not None and asked[said.call] > 1}


class RecordedQueue(Queue):
    """The client as it is, with every attempt and every answer told to ``tell``."""

    def __init__(self, root_url: str, by: str, tell: Callable[[Said], None]) -> None:
        super().__init__(root_url, credentials=None, retries=RETRIES)
        self._transport = _RecordedTransport(root_url, by, tell)


class _RecordedTransport(Transport):
    def __init__(self, root_url: str, by: str, tell: Callable[[Said], None]) -> None:
        super().__init__(root_url, retries=RETRIES)
        self._by = by
        self._tell = tell

    async def __aenter__(self) -> Self:
        """With an ear at the connections: the HTTP library itself sends some calls again."""
        await super().__aenter__()
        assert self._session is not None
        trace = aiohttp.TraceConfig()
        trace.on_request_headers_sent.append(self._sent)
        trace.freeze()
        self._session.trace_configs.append(trace)
        return self

    async def _sent(
        self, session: aiohttp.ClientSession, context: object, sent: aiohttp.TraceRequestHeadersSentParams
    ) -> None:
        self._say(_call(f"{sent.method} {sent.url}"))

    async def retried(self, attempt: Callable[[], Awaitable[_T]], what: str) -> _T:
        call = _call(what)

        async def told() -> _T:
            try:
                return await attempt()
            except ApiError as error:
                self._say(call, error.status, {"code": error.code, "message": error.message})
                raise

        try:
            content = await super().retried(told, what)
        except ApiError:
            raise
        except BaseException:  # also cancelled: what was sent may be done
            self._say(call, UNANSWERED)
            raise
        self._say(call, 200, _kept(json.loads(content)) if isinstance(content, bytes) and content else None)
        return content

    def _say(self, call: str, status: int | None = None, answer: dict[str, Any] | None = None) -> None:
        self._tell(Said(time.time(), self._by, call, status, answer))


def _call(what: str) -> str:
    """Of a method and a URL, the part below the API."""
    method, _, url = what.partition(" ")
    return f"{method} {url.partition(BASE)[2]}"


def _kept(answer: dict[str, Any]) -> dict[str, Any]:
    """What of an answer is judged: no credentials, no definitions."""
    kept: dict[str, Any] = {name: answer[name] for name in KEPT if name in answer}
    if "tasks" in answer:
        kept["tasks"] = [_kept(entry) for entry in answer["tasks"]]
    return kept
