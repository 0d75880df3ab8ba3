"""Attached work's HTTP API as methods: items for workers that attach by a WebSocket, and who has them."""

import math
from collections.abc import Mapping
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from schemas.ids import slugid
from schemas.task import Priority
from schemas.work import AttachedWorker, AttachedWorkers, HeldItem, HeldWork, WorkInFlight, WorkResponse
from taskbus.errors import InvalidResponse, describe
from taskbus.service import ServiceClient
from taskbus.transport import ANSWER_SECONDS

_LIST: Final = TypeAdapter(tuple[WorkInFlight, ...])


class Work(ServiceClient):
    """A client of attached work. The workers are :class:`taskbus.AttachedWorker`, or any other's."""

    service = "work"

    async def create(
        self,
        name: str,
        *,
        data: Any = None,
        attrs: Mapping[str, str] | None = None,
        timeout: float | str | None = None,
        hold_timeout: float | str | None = None,
        retries: int | None = None,
        priority: Priority | None = None,
        spillover: bool = False,
        tags: Mapping[str, str] | None = None,
        task_id: str | None = None,
        wait: float = 0,
    ) -> WorkResponse:
        """Create an item for a worker that takes ``name`` with these ``attrs``.

        A worker has it for ``timeout`` (seconds, or a text such as ``2h``); it waits for one for
        ``hold_timeout``; ``retries`` is how often another one may get it. With ``spillover`` a less specific
        worker may have it while those that fit best are full. With ``wait``, seconds up to 60, the answer
        comes when the item is done, with its ``output``; when that takes longer, its status then says so.

        Raises WorkFailed, NoWorker, WorkTimeout and WorkerLost (all of them WorkNotDone) for an item waited
        for, InputError for one of another shape, and Conflict for a ``task_id`` that stands for another one.
        """
        members = {
            "taskId": task_id or slugid(),
            "name": name,
            "data": data,
            "attrs": attrs,
            "timeout": timeout,
            "holdTimeout": hold_timeout,
            "retries": retries,
            "priority": priority,
            "spillover": spillover or None,
            "tags": tags,
        }
        return await self._post(
            WorkResponse,
            "tasks",
            query={"wait": math.ceil(wait) or None},
            body=to_json({member: value for member, value in members.items() if value is not None}),
            answer_seconds=wait + ANSWER_SECONDS,
        )

    async def list_work(self) -> tuple[WorkInFlight, ...]:
        """The items that workers have, of all gateways. ``progress`` is known of the process that answers."""
        content = await self._call("GET", "list")
        try:
            return _LIST.validate_json(content)
        except ValidationError as error:
            raise InvalidResponse(self.root_url, describe(error)) from error

    async def held(self) -> tuple[HeldItem, ...]:
        """The items that wait for a worker, with the time at which they are given up."""
        return (await self._get(HeldWork, "held")).items

    async def workers(self) -> tuple[AttachedWorker, ...]:
        """The connections of the process that answers, with what they take and have."""
        return (await self._get(AttachedWorkers, "workers")).workers
