"""What the clients of all services share: the connection, who calls, and answers turned into values."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from copy import copy
from types import TracebackType
from typing import ClassVar, Final, Literal, Protocol, Self, TypeVar

from pydantic import ValidationError

from schemas.base import Document, Wire
from taskbus.credentials import Credentials
from taskbus.errors import InvalidResponse, describe
from taskbus.transport import ANSWER_SECONDS, Query, Transport, root_url_from_environment

FROM_ENVIRONMENT: Final = "environment"

Answer = TypeVar("Answer", bound=Wire)


class Page(Protocol):
    """A part of a list; the next one begins at its token."""

    @property
    def continuation_token(self) -> str | None: ...


AnyPage = TypeVar("AnyPage", bound=Page)


class Ping(Document):
    """A server that is up; ``uptime`` in seconds."""

    alive: bool
    uptime: float


class Version(Document):
    """Which program answers."""

    version: str | None = None
    commit: str | None = None
    source: str | None = None
    build: str | None = None


class ServiceClient:
    """A client of one service, below ``<root URL>/api/<service>/v1``; an asynchronous context manager.

    ``root_url`` defaults to the environment (TASKBUS_ROOT_URL, TASKCLUSTER_ROOT_URL), else to the address
    that ``taskbus serve`` takes by default. ``credentials`` default to those in the environment
    (TASKCLUSTER_CLIENT_ID, TASKCLUSTER_ACCESS_TOKEN, TASKCLUSTER_CERTIFICATE); with None, or when there are
    none, calls are anonymous. Server errors and lost connections are retried ``retries`` times, after about
    0.1 s, 0.2 s, 0.4 s and so on; refusals (4xx) never. At most ``connections`` calls are under way at once,
    more wait their turn. ``sleep`` and ``jitter`` are how retries wait; tests replace them, or all of it with
    a ``transport`` of their own.

    Raises ValueError for a root URL or credentials in the environment that are none.
    """

    service: ClassVar[str]

    def __init__(
        self,
        root_url: str | None = None,
        *,
        credentials: Credentials | Literal["environment"] | None = FROM_ENVIRONMENT,
        retries: int = 5,
        connections: int = 64,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
        transport: Transport | None = None,
    ) -> None:
        self._credentials = Credentials.from_env() if credentials == FROM_ENVIRONMENT else credentials
        self._transport = transport or Transport(
            root_url or root_url_from_environment(),
            retries=retries,
            connections=connections,
            sleep=sleep,
            jitter=jitter,
        )

    async def __aenter__(self) -> Self:
        await self._transport.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transport.__aexit__(kind, error, trace)

    @property
    def root_url(self) -> str:
        """Where the server is, without a final slash."""
        return self._transport.root_url

    @property
    def credentials(self) -> Credentials | None:
        """Who calls; None for an anonymous client."""
        return self._credentials

    def using(self, credentials: Credentials | None) -> Self:
        """This client with other credentials, over the same connections; open as long as this one is."""
        other = copy(self)
        other._credentials = credentials
        return other

    @property
    def _base(self) -> tuple[str, ...]:
        return "api", self.service, "v1"

    # Monitoring

    async def ping(self) -> Ping:
        """Ask whether the server is up."""
        return await self._get(Ping, "ping")

    async def version(self) -> Version:
        """Ask which version the server is."""
        return await self._get(Version, "__version__")

    async def heartbeat(self) -> None:
        """Succeed if the server and what it depends on are well."""
        await self._call("GET", "__heartbeat__")

    async def lbheartbeat(self) -> None:
        """Succeed if the server answers; for load balancers."""
        await self._call("GET", "__lbheartbeat__")

    # Calls

    async def _get(self, shape: type[Answer], *path: str, query: Query | None = None) -> Answer:
        return self._read(shape, await self._call("GET", *path, query=query))

    async def _post(
        self,
        shape: type[Answer],
        *path: str,
        body: bytes | None = None,
        query: Query | None = None,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> Answer:
        content = await self._call("POST", *path, body=body, query=query, answer_seconds=answer_seconds)
        return self._read(shape, content)

    async def _put(self, shape: type[Answer], *path: str, body: bytes) -> Answer:
        return self._read(shape, await self._call("PUT", *path, body=body))

    async def _call(
        self,
        method: str,
        *path: str,
        body: bytes | None = None,
        query: Query | None = None,
        accept: Sequence[int] = (),
        answer_seconds: float = ANSWER_SECONDS,
    ) -> bytes:
        """The body of the answer; ``accept`` are statuses above 299 that are none of an error."""
        return await self._transport.request(
            method,
            (*self._base, *path),
            query=query,
            body=body,
            sign=None if self._credentials is None else self._credentials.authorization,
            accept=accept,
            answer_seconds=answer_seconds,
        )

    def _read(self, shape: type[Answer], content: bytes) -> Answer:
        try:
            return shape.from_json(content)
        except ValidationError as error:
            raise InvalidResponse(self.root_url, describe(error)) from error


async def pages(fetch: Callable[[str | None], Awaitable[AnyPage]]) -> AsyncIterator[AnyPage]:
    """Every page, the first one fetched with None and each other with the token of the one before."""
    token: str | None = None
    while True:
        page = await fetch(token)
        yield page
        token = page.continuation_token
        if not token:
            return
