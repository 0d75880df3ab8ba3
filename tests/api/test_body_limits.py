"""What a body may cost before anybody is known: values, time, memory of all together, and of the refusal."""

import asyncio
import json
from collections.abc import Iterable
from typing import Any, Final

import pytest
from starlette.types import Message, Receive

from queue_service.api.bodies import MAX_VALUES, BodyReader, ClientGone, Room, parsed
from queue_service.core.errors import InputTooLarge, MalformedPayload
from queue_service.operations.batching import Overloaded
from tests.api.running_queue import RunningQueue

MIB: Final = 1024 * 1024


def arriving(*pieces: bytes, then: Message | None = None) -> Receive:
    """These pieces; after them ``then``, or nothing ever when the last piece promises more."""
    messages: list[Message] = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    if then is not None:
        messages.append(then)

    async def receive() -> Message:
        if messages:
            return messages.pop(0)
        await asyncio.Event().wait()
        raise AssertionError("nothing more comes")

    return receive


LAST: Final[Message] = {"type": "http.request", "body": b"}", "more_body": False}
GONE: Final[Message] = {"type": "http.disconnect"}


# ---- time and room ------------------------------------------------------------------------------------


@pytest.mark.parametrize("pieces", [[], [b"{"], [b"{"] * 50])
async def test_a_body_that_does_not_arrive_in_time_is_given_up(pieces: Iterable[bytes]) -> None:
    reader = BodyReader(Room(seconds=0.01))
    with pytest.raises(MalformedPayload, match=r"within 0\.01 seconds"):
        await reader.read(arriving(*pieces), b"100")


async def test_bodies_take_room_while_they_are_under_way_and_give_it_back() -> None:
    room = Room(size=10)
    reader = BodyReader(room)
    assert await reader.read(arriving(b"12345678", then=LAST), b"9") == b"12345678}"
    assert room.left == 1
    reader.close()
    reader.close()
    assert room.left == 10


async def test_a_body_for_which_no_room_is_left_is_refused_until_there_is() -> None:
    room = Room(size=10)
    first, second = BodyReader(room), BodyReader(room)
    await first.read(arriving(b"12345678", then=LAST), b"9")
    with pytest.raises(Overloaded):
        await second.read(arriving(b"1", b"2", then=LAST), b"3")
    second.close()
    first.close()
    assert len(await second.read(arriving(b"12345678", then=LAST), b"9")) == 9


@pytest.mark.parametrize("end", [GONE, {**LAST, "body": b"x" * 10 * MIB}])
async def test_a_body_that_is_not_read_to_its_end_gives_back_its_room(end: Message) -> None:
    room = Room()
    reader, before = BodyReader(room), room.left
    with pytest.raises((ClientGone, InputTooLarge)):
        await reader.read(arriving(b"x" * 1000, then=end), b"")
    reader.close()
    assert room.left == before


async def test_a_body_of_one_piece_takes_no_room() -> None:
    reader = BodyReader(Room(size=0))
    assert await reader.read(arriving(then=LAST), b"1") == b"}"


# ---- values -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "[" + "0," * MAX_VALUES + "0]",
        "[" + "[]," * MAX_VALUES + "0]",
        "[" + "{}," * MAX_VALUES + "0]",
        "[" * (MAX_VALUES + 1),
        "{" + ",".join(f'"{number}":0' for number in range(MAX_VALUES + 1)) + "}",
        '["\\"",' + '"a\\\\",' * MAX_VALUES + "0]",
    ],
    ids=["numbers", "arrays", "objects", "levels", "members", "texts"],
)
def test_a_body_of_too_many_values_is_too_large(text: str) -> None:
    with pytest.raises(InputTooLarge, match="100000 members and items"):
        parsed(text.encode())


@pytest.mark.parametrize("text", ["," * 5 * MIB, "[{" * MIB, '\\",{' * MIB, '"' * MIB])
def test_what_stands_in_a_text_is_no_value(text: str) -> None:
    assert parsed(json.dumps([text]).encode()) == [text]


@pytest.mark.parametrize(
    "body", [b'{"' + b'\\"' * 5 * MIB, b'"' * 10 * MIB, b'["' + b"," * 10 * MIB, b'"\\' * 5 * MIB]
)
def test_quotes_without_an_end_take_no_long_look(body: bytes) -> None:
    with pytest.raises((MalformedPayload, InputTooLarge)):
        parsed(body)


# ---- refusals -----------------------------------------------------------------------------------------


async def _refusal(queue: RunningQueue, body: Any) -> Any:
    reply = await queue.call("POST", "/tasks", body)
    assert (reply.status, reply.code) == (400, "InputValidationError")
    return reply.json()


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_a_refusal_repeats_no_body_of_more_than_a_mebibyte(queue: RunningQueue) -> None:
    body = {"unknown": "x" * (MIB - 100)}
    assert (await _refusal(queue, body))["requestInfo"]["payload"] == body
    assert (await _refusal(queue, {"unknown": "x" * MIB}))["requestInfo"]["payload"] == {}


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_of_more_than_10_000_violations_none_is_listed(queue: RunningQueue) -> None:
    message = (await _refusal(queue, {"taskIds": [0] * 10_001}))["message"]
    assert message.startswith("Schema validation of the request body failed at 10001 places.")
