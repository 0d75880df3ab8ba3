"""The PyPI client as a user calls it: ``caller.queue("createTask", id, definition)``, blocking or not."""

import asyncio
from types import TracebackType
from typing import Any, Protocol, Self

import aiohttp
import taskcluster
import taskcluster.aio

Options = dict[str, Any]


class Caller(Protocol):
    def call(self, service: str, method: str, *arguments: Any, **keywords: Any) -> Any: ...

    def queue(self, method: str, *arguments: Any, **keywords: Any) -> Any: ...


class SyncCaller:
    """Calls by ``taskcluster.Queue`` and its neighbours."""

    def __init__(self, options: Options) -> None:
        self._options = options

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def call(self, service: str, method: str, *arguments: Any, **keywords: Any) -> Any:
        return getattr(getattr(taskcluster, service)(self._options), method)(*arguments, **keywords)

    def queue(self, method: str, *arguments: Any, **keywords: Any) -> Any:
        return self.call("Queue", method, *arguments, **keywords)


class AioCaller:
    """Calls by ``taskcluster.aio.Queue`` and its neighbours, on one session."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._runner = asyncio.Runner()
        self._session: aiohttp.ClientSession

    def __enter__(self) -> Self:
        async def opened() -> aiohttp.ClientSession:
            return aiohttp.ClientSession()

        self._session = self._runner.run(opened())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runner.run(self._session.close())
        self._runner.close()

    def call(self, service: str, method: str, *arguments: Any, **keywords: Any) -> Any:
        async def called() -> Any:
            client = getattr(taskcluster.aio, service)(self._options, session=self._session)
            return await getattr(client, method)(*arguments, **keywords)

        return self._runner.run(called())

    def queue(self, method: str, *arguments: Any, **keywords: Any) -> Any:
        return self.call("Queue", method, *arguments, **keywords)
