"""What becomes of a message that a queue gives up: its x-death record and its new address (RabbitMQ's
rules).
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import Final

from events.broker import tables
from events.broker.message import (
    EXPIRATION,
    Message,
    header_entries,
    join_properties,
    set_headers,
    split_properties,
)
from events.broker.wire import shortstr

_MOST_DEATHS: Final = 50
"""Records of one message. Each costs time at every death, and a chain of queues is followed in one go."""
_MOST_COUNTED: Final = 2**62


class TooManyDeaths(Exception):
    """A message was dead-lettered by more queues than anyone can have meant."""

    def __init__(self) -> None:
        super().__init__(f"it has been dead-lettered in {_MOST_DEATHS} ways already")


class Reason(StrEnum):
    """Why a message was dead-lettered, as the x-death header says it."""

    REJECTED = "rejected"
    EXPIRED = "expired"
    MAXLEN = "maxlen"
    DELIVERY_LIMIT = "delivery_limit"


def dead_letter(
    message: Message, queue: str, reason: Reason, exchange: str, key: str | None, seconds: int
) -> Message:
    """The message as published to the dead-letter exchange at the time `seconds` (since 1970).

    With a key of the queue's own the message goes there alone and its CC header is dropped; otherwise it
    keeps all its keys. Its expiration moves into the record, so that it does not expire again.
    """
    fields = split_properties(message.properties)
    headers = header_entries(fields)
    record = {
        b"count": tables.long(1),
        b"reason": tables.string(reason.encode()),
        b"queue": tables.string(queue.encode()),
        b"time": tables.timestamp(seconds),
        b"exchange": tables.string(message.exchange.encode()),
        b"routing-keys": tables.array(_visible_keys(message, headers)),
    }
    if expiration := fields.pop(EXPIRATION, None):
        record[b"original-expiration"] = tables.string(expiration[1:])
    _add_record(headers, record)
    headers.setdefault(b"x-first-death-reason", record[b"reason"])
    headers.setdefault(b"x-first-death-queue", record[b"queue"])
    headers.setdefault(b"x-first-death-exchange", record[b"exchange"])
    if key is not None:
        headers.pop(b"CC", None)
    set_headers(fields, headers)
    keys = message.keys if key is None else (key,)
    return Message(
        exchange,
        keys,
        shortstr(exchange) + shortstr(keys[0]),
        join_properties(fields),
        message.body,
        persistent=message.persistent,
    )


def would_cycle(message: Message, queue: str) -> bool:
    """True when a dead-lettered message comes back to a queue and no consumer rejected it on the way."""
    passed = []
    for record in _records(header_entries(split_properties(message.properties))):
        passed.append(record)
        if record.get(b"queue") == tables.string(queue.encode()):
            rejected = tables.string(Reason.REJECTED.encode())
            return all(death.get(b"reason") != rejected for death in passed)
    return False


def _visible_keys(message: Message, headers: dict[bytes, bytes]) -> Iterator[bytes]:
    """The routing key and the CC keys; BCC keys are told to nobody."""
    yield tables.string(message.keys[0].encode())
    yield from map(
        tables.string, tables.strings(tables.content_of(headers.get(b"CC", b""), tables.ARRAY) or b"")
    )


def _add_record(headers: dict[bytes, bytes], record: dict[bytes, bytes]) -> None:
    """Put the record first; one for the same queue and reason is taken out and its count carried on."""
    others = []
    for earlier in _records(headers):
        if earlier.get(b"queue") == record[b"queue"] and earlier.get(b"reason") == record[b"reason"]:
            count = tables.integer(earlier.get(b"count", b""), default=1)
            record = {**earlier, b"count": tables.long(min(count + 1, _MOST_COUNTED))}
        else:
            others.append(earlier)
    if len(others) >= _MOST_DEATHS:
        raise TooManyDeaths
    headers[b"x-death"] = tables.array(map(tables.table, [record, *others]))


def _records(headers: dict[bytes, bytes]) -> Iterator[dict[bytes, bytes]]:
    for value in tables.items(tables.content_of(headers.get(b"x-death", b""), tables.ARRAY) or b""):
        content = tables.content_of(value, tables.TABLE)
        if content is not None:
            yield tables.entries(content)
