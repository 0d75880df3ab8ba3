"""The KV API as methods: values by key, named locks, and worksets, in the namespaces of tenants."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Any, Final

from schemas.ids import slugid
from schemas.kv import DeleteValueResponse, EntryResponse, ListValuesResponse, ValueFormat, ValueResponse
from taskbus.errors import Conflict, NotFound
from taskbus.keeping import kept
from taskbus.service import ServiceClient, pages
from taskbus.tasks import Duration, parse_duration
from taskbus.worksets import Batches, Workset

PAUSE: Final = 0.5
"""Seconds between two tries to get a lock that another has."""


class Kv(ServiceClient):
    """A client of the KV API. A namespace is written ``tenant:namespace``: ``acme:deployments``."""

    service = "kv"

    def __init__(self, root_url: str | None = None, **options: Any) -> None:
        super().__init__(root_url, **options)
        self._batches: set[Batches] = set()

    @classmethod
    def beside(cls, client: ServiceClient) -> "Kv":
        """A client with the connections and credentials of another one; open as long as that is.

        Await :meth:`give_back` before that is closed.
        """
        made = cls(client.root_url, credentials=client.credentials)
        made._transport = client._transport
        return made

    def kv(self, namespace: str) -> "Values":
        """The values of a namespace. Raises ValueError for a namespace out of form."""
        return Values(self, *split(namespace))

    def workset(self, namespace: str, name: str) -> Workset:
        """A set of members of a namespace. Raises ValueError for a namespace out of form."""
        return Workset(self, *split(namespace), name, self._batches)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.give_back()
        await super().__aexit__(kind, error, trace)

    async def give_back(self) -> None:
        """Give back the members of loops over batches that were left."""
        for batches in list(self._batches):
            await batches.aclose()


class Values:
    """The values of a namespace; made by :meth:`Kv.kv`."""

    def __init__(self, client: Kv, tenant: str, namespace: str) -> None:
        self._client = client
        self._path = (tenant, namespace, "keys")

    async def get(self, key: str, default: Any = None) -> Any:
        """The value of a key; ``default`` if there is none."""
        try:
            return (await self.entry(key)).value
        except NotFound:
            return default

    async def entry(self, key: str, *, value_format: ValueFormat | None = None) -> ValueResponse:
        """The value of a key with its version. Raises NotFound, and DecodeError for another format."""
        query = {"valueFormat": value_format}
        return await self._client._get(ValueResponse, *self._path, key, query=query)

    async def put(
        self,
        key: str,
        value: Any,
        *,
        ttl: Duration | None = None,
        if_version: int | None = None,
        value_format: ValueFormat = "json",
    ) -> EntryResponse:
        """Store a value; its version is in the answer.

        ``ttl``: it ends by itself. ``if_version``: only if that is the present version, 0 for none. Raises
        Conflict when it is another.
        """
        body: dict[str, Any] = {"value": value, "valueFormat": value_format}
        if ttl is not None:
            body["ttl"] = parse_duration(ttl).total_seconds()
        if if_version is not None:
            body["ifVersion"] = if_version
        return await self._client._put(EntryResponse, *self._path, key, body=json.dumps(body).encode())

    async def delete(self, key: str, *, if_version: int | None = None) -> bool:
        """Delete a value; whether there was one. Raises Conflict when it has another version."""
        content = await self._client._call("DELETE", *self._path, key, query={"ifVersion": if_version})
        return self._client._read(DeleteValueResponse, content).deleted

    async def iterate(
        self, prefix: str = "", *, values: bool = False, page_size: int | None = None
    ) -> AsyncIterator[ValueResponse]:
        """The keys that begin with ``prefix`` in the order of their bytes, with their values if wanted.

        A key that is there all the time comes exactly once, others at most once.
        """

        def fetch(token: str | None) -> Awaitable[ListValuesResponse]:
            query: Mapping[str, str | int | None] = {
                "prefix": prefix or None,
                "pageSize": page_size,
                "values": "true" if values else None,
                "continuationToken": token,
            }
            return self._client._get(ListValuesResponse, *self._path, query=query)

        async for page in pages(fetch):
            for entry in page.entries:
                yield entry

    @asynccontextmanager
    async def lock(
        self,
        name: str,
        *,
        owner: str | None = None,
        ttl: Duration = "30s",
        wait: Duration | None = None,
    ) -> AsyncIterator["Lock"]:
        """Hold a named lock while the body runs; it is renewed meanwhile and released at the end.

        ``wait``: how long to wait for another holder. Raises Conflict when it is still held then. A process
        that dies keeps it for ``ttl`` at most.
        """
        lock = Lock(self, name, owner or slugid(), parse_duration(ttl).total_seconds())
        await lock.acquire(0.0 if wait is None else parse_duration(wait).total_seconds())
        try:
            async with kept(lock.renew, every=lock.ttl / 3):
                yield lock
        finally:
            with suppress(Conflict):  # it was lost, and is another's now
                await lock.release()


class Lock:
    """A lock that is held. ``token`` is larger than those of earlier holders: give it to what you change."""

    def __init__(self, values: Values, name: str, owner: str, ttl: float) -> None:
        self._values = values
        self._version = 0
        self.name = name
        self.owner = owner
        self.ttl = ttl
        self.token = 0
        self.lost = False
        """Whether it could not be renewed in time."""

    async def acquire(self, seconds: float) -> None:
        """Take it, within so many seconds. Raises Conflict."""
        end = asyncio.get_running_loop().time() + seconds
        while True:
            try:
                self.token = await self._put(0)
                return
            except Conflict:
                left = end - asyncio.get_running_loop().time()
                if left <= 0:
                    raise
                await asyncio.sleep(min(PAUSE, left))

    async def renew(self) -> None:
        """Hold it for another ``ttl``. Raises Conflict when it was lost."""
        try:
            await self._put(self._version)
        except Conflict:
            self.lost = True
            raise

    async def release(self) -> None:
        """Let go of it. Raises Conflict when another has it."""
        await self._values.delete(self.name, if_version=self._version)

    async def _put(self, if_version: int) -> int:
        stored = await self._values.put(self.name, self.owner, ttl=f"{self.ttl}s", if_version=if_version)
        self._version = stored.version
        return stored.version


def split(namespace: str) -> tuple[str, str]:
    """Tenant and namespace of ``tenant:namespace``. Raises ValueError for anything else."""
    tenant, colon, name = namespace.partition(":")
    if not tenant or not colon or not name or ":" in name:
        raise ValueError(f"namespace: expected tenant:namespace, such as acme:deployments, got {namespace!r}")
    return tenant, name
