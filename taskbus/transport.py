"""HTTP under the clients: one pool of connections, retries, and answers turned into bytes or errors.

Rules: ``real-clients.md`` 0. Server errors and lost connections are retried, refusals never; redirects are
not followed.
"""

import asyncio
import logging
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Final, Self, TypeVar
from urllib.parse import quote, urlencode

import aiohttp
from yarl import URL

from schemas import tracing
from taskbus.errors import ApiError, ConnectionFailed, WorkNotDone, error_from_response

logger = logging.getLogger(__name__)

DEFAULT_ROOT_URL: Final = "http://127.0.0.1:8080"
ROOT_URL_VARIABLES: Final = ("TASKBUS_ROOT_URL", "TASKCLUSTER_ROOT_URL")

Sign = Callable[[str, str, bytes | None], str]
"""Makes the Authorization header from method, absolute URL and JSON body; asked anew for every attempt."""

Query = Mapping[str, str | int | None]
"""Values of a query string by key; those that are None are left out."""

CONNECT_SECONDS: Final = 10.0
ANSWER_SECONDS: Final = 30.0
FIRST_DELAY: Final = 0.1
LONGEST_DELAY: Final = 30.0

_T = TypeVar("_T")


def root_url_from_environment(environment: Mapping[str, str] = os.environ) -> str:
    """TASKBUS_ROOT_URL, else TASKCLUSTER_ROOT_URL, else the address ``taskbus serve`` takes by default."""
    for variable in ROOT_URL_VARIABLES:
        if url := environment.get(variable):
            return url
    return DEFAULT_ROOT_URL


def backoff(attempt: int, jitter: Callable[[], float], *, first: float = FIRST_DELAY) -> float:
    """Seconds to wait after failure number ``attempt`` (from 0): doubled each time, at most 30.

    ``jitter`` gives a number between 0 and 1 and takes away up to a half, so that clients that failed
    together do not come back together.
    """
    return min(first * 2.0 ** min(attempt, 30), LONGEST_DELAY) * (1 - jitter() / 2)


class Transport:
    """Calls to one server. Use it as an asynchronous context manager.

    Raises ValueError when ``root_url`` is not an absolute http(s) URL.
    """

    def __init__(
        self,
        root_url: str,
        *,
        retries: int = 5,
        connections: int = 64,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        root_url = root_url.rstrip("/")
        try:
            parsed = URL(root_url)
            usable = parsed.scheme in ("http", "https") and parsed.host is not None
        except ValueError:
            usable = False
        if not usable:
            raise ValueError(f"root_url: expected a URL such as {DEFAULT_ROOT_URL}, got {root_url!r}")
        self.root_url = root_url
        self._retries = retries
        self._connections = connections
        self._sleep = sleep
        self._jitter = jitter
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._connections),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept": "application/json"},
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def url(self, path: Sequence[str], query: Query | None = None) -> str:
        """The URL as it is sent, each part of ``path`` percent-encoded completely: ``p/w`` is ``p%2Fw``."""
        url = "/".join([self.root_url, *(quote(part, safe="") for part in path)])
        given = {key: value for key, value in (query or {}).items() if value is not None}
        return f"{url}?{urlencode(given, quote_via=quote, safe='')}" if given else url

    async def request(
        self,
        method: str,
        path: Sequence[str],
        *,
        query: Query | None = None,
        body: bytes | None = None,
        sign: Sign | None = None,
        accept: Sequence[int] = (),
        answer_seconds: float = ANSWER_SECONDS,
    ) -> bytes:
        """The body of a successful answer, or of one with a status of 300 or more that is in ``accept``.

        Raises ApiError when the server refuses, ConnectionFailed when it cannot be reached; both after the
        retries that help.
        """
        url = self.url(path, query)

        async def attempt() -> bytes:
            headers = {} if body is None else {"Content-Type": "application/json"}
            if sign is not None:
                headers["Authorization"] = sign(method, url, body)
            if (traceparent := tracing.current()) is not None:
                headers[tracing.HEADER] = traceparent
            async with self.exchange(
                method, url, data=body, headers=headers, answer_seconds=answer_seconds
            ) as response:
                content = await response.read()
            if response.status >= 300 and response.status not in accept:
                raise error_from_response(response.status, content, self.root_url)
            return content

        return await self.retried(attempt, f"{method} {url}")

    async def retried(self, attempt: Callable[[], Awaitable[_T]], what: str) -> _T:
        """The result of ``attempt``, made again after lost connections and errors of the server."""
        failures = 0
        while True:
            try:
                return await attempt()
            except (ApiError, ConnectionFailed) as error:
                if failures == self._retries or isinstance(error, WorkNotDone):
                    raise
                if isinstance(error, ApiError) and error.status < 500:
                    raise
                delay = backoff(failures, self._jitter)
                # Without the query: it may be a signature.
                logger.debug("%s failed, again in %.1f s: %s", what.partition("?")[0], delay, error)
            await self._sleep(delay)
            failures += 1

    @asynccontextmanager
    async def exchange(
        self,
        method: str,
        url: str,
        *,
        data: Any = None,
        headers: Mapping[str, str],
        follow: bool = False,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """One request to any URL, sent exactly as it is, and its answer while it is read.

        ``answer_seconds`` is how long the server may be silent, not how long its answer may take. Raises
        ConnectionFailed, also from inside.
        """
        if self._session is None:
            raise RuntimeError("the client is not open: use it as 'async with Queue() as queue:'")
        target = URL(url, encoded=True)
        # No total: waiting for a free connection of our own pool is not the server's delay.
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=answer_seconds)
        try:
            async with self._session.request(
                method,
                target,
                data=data,
                headers=headers,
                skip_auto_headers=() if "Content-Type" in headers else ("Content-Type",),
                allow_redirects=follow,
                timeout=timeout,
            ) as response:
                yield response
        except aiohttp.ConnectionTimeoutError:
            raise self._unreached(url, f"no connection within {CONNECT_SECONDS:.0f} s") from None
        except TimeoutError:
            raise self._unreached(url, f"no answer within {answer_seconds:.0f} s") from None
        except aiohttp.ClientConnectorError as error:
            # The library's own text names addresses and TLS settings; the system's says what is wrong.
            system = error.errno is not None and error.errno > 0
            raise self._unreached(
                url, os.strerror(error.errno or 0) if system else str(error.os_error)
            ) from None
        except aiohttp.ClientError as error:
            raise self._unreached(url, str(error) or type(error).__name__) from error

    def _unreached(self, url: str, reason: str) -> ConnectionFailed:
        return ConnectionFailed(self.root_url if url.startswith(self.root_url) else _origin(url), reason)


def _origin(url: str) -> str:
    """The server of a URL; the rest may be a signature."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0].rpartition('@')[2]}"
