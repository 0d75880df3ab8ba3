"""The handlers of values: get, put, delete and iterate."""

from collections.abc import Sequence
from typing import Any, Final

from queue_service.api.endpoint import Answer, Call
from queue_service.api.paging import decimal, page_of
from queue_service.clock import Clock
from queue_service.core.errors import QueueError, ResourceNotFound
from queue_service.features.kv import rules, store
from queue_service.features.kv.operations import WriteCall, Written, write
from queue_service.features.kv.rules import Delete, Entry, Place, Put
from queue_service.features.kv.store import Listed
from queue_service.operations.batching import Batcher
from queue_service.store.database import Database
from schemas.kv import DeleteValueResponse, EntryResponse, PutValueRequest

PAGE: Final = 100
MAX_PAGE_BYTES: Final = 4 * 1024 * 1024
"""Of the values in a page; a larger first value comes alone."""


class KvApi:
    """Handlers with what they need: a get is a plain read, writes share transactions."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._writes = Batcher[WriteCall, Written](self._run, lanes=1 if database.is_sqlite else 2)

    async def close(self) -> None:
        """Finish the transactions under way."""
        await self._writes.close()

    async def get_value(self, call: Call[None]) -> Answer:
        place = _place(call)
        async with self._database.read() as connection:
            found = await store.find(connection, [place])
        entry = rules.visible(found.get(place), self._clock.now())
        if entry is None:
            raise ResourceNotFound(f"There is no value with the key `{place.key}` in `{place.namespace}`.")
        return Answer(200, _value(entry, call.query.get("valueFormat")), _etag(entry))

    async def put_value(self, call: Call[PutValueRequest]) -> Answer:
        body = call.body
        rules.check_ttl(body.ttl)
        text = rules.stored_text(body.value, body.value_format)
        put = Put(_place(call), text, body.value_format, body.ttl, body.if_version)
        written = await self._writes.submit(put, weight=call.size)
        assert written.after is not None
        status = 201 if written.before is None else 200
        return Answer(status, _description(written.after), _etag(written.after))

    async def delete_value(self, call: Call[None]) -> DeleteValueResponse:
        place = _place(call)
        if_version = decimal(call.query["ifVersion"]) if "ifVersion" in call.query else None
        written = await self._writes.submit(Delete(place, if_version))
        return DeleteValueResponse.trusted(key=place.key, deleted=written.before is not None)

    async def list_values(self, call: Call[None]) -> dict[str, Any]:
        namespace = namespace_of(call)
        page = page_of(call.query, limit="pageSize", usual=PAGE)
        prefix, with_values = call.query.get("prefix", ""), call.query.get("values") == "true"
        async with self._database.read() as connection:
            listed = await store.page(
                connection, namespace, prefix, page.after, page.wanted, self._clock.now()
            )
            kept = _fitting(listed[: page.limit]) if with_values else listed[: page.limit]
            places = [Place(namespace, entry.key) for entry in kept]
            values = await store.find(connection, places) if with_values else {}
        entries = [
            _value(values[place]) if place in values else _description_of(entry)
            for place, entry in zip(places, kept, strict=True)
            if not with_values or place in values
        ]
        token = page.token_after(kept[-1].key) if len(kept) < len(listed) else None
        return {"entries": entries, **({} if token is None else {"continuationToken": token})}

    async def _run(self, calls: Sequence[WriteCall]) -> Sequence[Written | QueueError]:
        return await self._database.write(lambda tx: write(tx, calls))


def namespace_of(call: Call[Any]) -> str:
    """Tenant and namespace of a call, as they are written and stored."""
    return f"{call.params['tenant']}:{call.params['kvNamespace']}"


def _place(call: Call[Any]) -> Place:
    return Place(namespace_of(call), rules.check_key(call.params["key"]))


def _value(entry: Entry, value_format: Any = None) -> dict[str, Any]:
    value_format = value_format or entry.value_format
    value = rules.read_as(entry, value_format)
    return {**_description(entry).to_wire(), "value": value, "valueFormat": value_format}


def _description(entry: Entry) -> EntryResponse:
    return EntryResponse.trusted(
        key=entry.place.key,
        value_format=entry.value_format,
        version=entry.version,
        expires=entry.expires,
        updated=entry.updated,
    )


def _description_of(entry: Listed) -> dict[str, Any]:
    return EntryResponse.trusted(
        key=entry.key,
        value_format=entry.value_format,
        version=entry.version,
        expires=entry.expires,
        updated=entry.updated,
    ).to_wire()


def _fitting(listed: Sequence[Listed]) -> Sequence[Listed]:
    size = 0
    for place, entry in enumerate(listed):
        size += entry.size
        if place and size > MAX_PAGE_BYTES:
            return listed[:place]
    return listed


def _etag(entry: Entry) -> tuple[tuple[bytes, bytes], ...]:
    return ((b"etag", b'"%d"' % entry.version),)
