"""The declaration of an endpoint and of an API, and the call that a handler is given."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic, TypeVar

from queue_service.api.bodies import MAX_VALUES
from queue_service.api.paging import decimal
from queue_service.api.permit import Permit
from queue_service.api.streaming import Stream
from queue_service.auth.request import SignedRequest
from queue_service.core.task import Task
from schemas.base import Document, Wire

Body = TypeVar("Body", bound=Wire | None)


@dataclass(frozen=True)
class Endpoint:
    """One method of the API: its name on the wire, where it is, what it takes, gives and requires.

    ``scopes`` is the scope expression, None for an endpoint that never looks at credentials.
    ``deferred``: the handler authorizes, at the place the wire prescribes (``queue-behaviour.md`` 1.3).
    """

    name: str
    method: str
    route: str
    category: str
    title: str
    description: str
    handler: Callable[[Any, Any], Awaitable["Result"]]
    """A method of the class that holds the handlers; its second parameter is the :class:`Call`."""
    scopes: Any = None
    deferred: bool = False
    query: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()
    """Further keys of the query, which may be given several times."""
    streams: bool = False
    """Whether it answers with a :class:`Stream`, also over a WebSocket."""
    input: type[Wire] | None = None
    may_take: type[Wire] | None = None
    """A body of ours where the published API has none: it may be left out, and anything but an object is."""
    may_be_left_out: bool = False
    """Whether no body is as good as an empty object."""
    output: type[Wire] | None = None
    stability: str = "stable"
    multi_segment: str | None = None
    """The URL parameter that may span several segments."""
    optional: str | None = None
    """The last URL parameter, when it may be left out."""
    max_values: int = MAX_VALUES
    """Members and items of the body, at all depths."""
    refuses: tuple[int, ...] = ()
    """Statuses of refusals that its parameters, body and scopes do not imply."""
    tests_credentials: bool = False
    """Whether the handler judges credentials, although no scope is required."""
    creates: bool = False
    """Whether it answers 201 when there was no such thing before."""
    gives_array: bool = False
    """Whether what it gives has no shape of its own and is an array."""
    goes_on: bool = False
    """Whether it answers 202 when what was asked for has not ended in time."""
    says_done: bool = False
    """Whether it has nothing to give and says so by an empty object (200) rather than by no body (204)."""
    redirects: bool = False
    """Whether it answers with the address of what was asked for (303)."""

    @property
    def body(self) -> type[Wire] | None:
        """The shape of the body, whether it must be there or not."""
        return self.input or self.may_take

    @cached_property
    def args(self) -> tuple[str, ...]:
        """The URL parameters in their order."""
        return tuple(re.findall(r"<(\w+)>", self.route))


@dataclass(frozen=True)
class Section:
    """Endpoints whose handlers are methods of one class.

    ``extension``: calls of ours that the published clients of this service do not have, so that the
    references do not list them.
    """

    handlers: type
    endpoints: Sequence[Endpoint]
    extension: bool = False


@dataclass(frozen=True)
class Api:
    """The endpoints below ``/api/<service>/<version>``."""

    service: str
    title: str
    description: str
    sections: Sequence[Section]
    version: str = "v1"
    examples: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Bodies for the documentation, by schema and label; those of the core are in ``examples.py``."""

    @property
    def base_path(self) -> str:
        return f"/api/{self.service}/{self.version}"

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        return tuple(endpoint for section in self.sections for endpoint in section.endpoints)

    @property
    def published(self) -> tuple[Endpoint, ...]:
        """Those that references list: all but our extensions."""
        sections = (section for section in self.sections if not section.extension)
        return tuple(endpoint for section in sections for endpoint in section.endpoints)


@dataclass(frozen=True)
class Answer:
    """A reply with a status or headers of its own; most handlers return the body alone."""

    status: int
    body: Document | Mapping[str, Any]
    headers: tuple[tuple[bytes, bytes], ...] = ()


Result = Answer | Document | Mapping[str, Any] | Stream | None
"""What a handler returns; nothing is the status 204."""


@dataclass(frozen=True)
class Call(Generic[Body]):
    """One request, after all checks that need no handler."""

    endpoint: Endpoint
    params: Mapping[str, str]
    query: Mapping[str, str]
    lists: Mapping[str, Sequence[str]]
    """The values of each key of the query that may be given several times, in their order."""
    headers: Mapping[bytes, bytes] = field(repr=False)
    body: Body
    payload: Any
    """The body as parsed, ``{}`` when there was none."""
    size: int
    """Bytes of the body."""
    permit: Permit
    signed: SignedRequest = field(repr=False)
    """What the caller's credentials sign, for the endpoints that test credentials."""
    disconnected: Callable[[], Awaitable[object]] = field(repr=False)
    """Returns when the client has gone."""

    def require(self, **parameters: Any) -> None:
        """Authorize with these parameters beside those of the URL. Raises InsufficientScopes."""
        self.permit.require(self.endpoint.scopes, {**self.params, **parameters})

    def require_for(self, task: Task) -> None:
        """Authorize a call about one task; the parameters are facts of the task."""
        provisioner_id, _, worker_type = task.task_queue_id.partition("/")
        self.require(
            taskId=task.task_id,
            schedulerId=task.scheduler_id,
            taskGroupId=task.task_group_id,
            projectId=task.project_id,
            taskQueueId=task.task_queue_id,
            provisionerId=provisioner_id,
            workerType=worker_type,
        )

    def run_id(self) -> int:
        return decimal(self.params["runId"])
