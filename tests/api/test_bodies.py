"""Which bodies are read, and that a bad one leaves nothing behind (``queue-behaviour.md`` 1.3, 1)."""

import json
from typing import Any, Final

import pytest

from tests.api.asgi import NoReply, Reply
from tests.api.running_queue import RunningQueue

TASK_ID: Final = "VXcJ7lLRTuKhEcZBHVS7Zw"
JSON: Final = {"Content-Type": "application/json"}
MIB: Final = 1024 * 1024


async def put(queue: RunningQueue, *pieces: bytes | None, **headers: str) -> Reply:
    return await queue.send("PUT", f"/task/{TASK_ID}", pieces, headers={**JSON, **headers})


def raw(queue: RunningQueue, payload: str, **members: Any) -> bytes:
    """A valid definition whose payload is this JSON text."""
    text = json.dumps(queue.definition(payload={"here": 0}, **members))
    return text.replace('{"here": 0}', payload).encode()


BROKEN: Final = {
    "cut off": b'{"payload": {',
    "two values": b"{} {}",
    "trailing comma": b'{"a": 1,}',
    "single quotes": b"{'a': 1}",
    "NaN": b'{"retries": NaN}',
    "Infinity": b'{"retries": Infinity}',
    "-Infinity": b'{"retries": -Infinity}',
    "number of 5,000 digits": b'{"retries": ' + b"9" * 5000 + b"}",
    "array 10,000 levels deep": b"[" * 10_000 + b"]" * 10_000,
    "object 10,000 levels deep": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "lone surrogate": b'{"a": "\\ud800"}',
    "reversed surrogates": b'{"a": "\\udc00\\ud800"}',
    "invalid UTF-8": b'{"a": "\xff\xfe"}',
    "overlong UTF-8": b'{"a": "\xc0\xaf"}',
    "surrogate in UTF-8": b'{"a": "\xed\xa0\x80"}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf{}",
    "NUL in a string": b'{"a": "\x00"}',
    "NUL after the value": b"{}\x00",
    "line break in a string": b'{"a": "\n"}',
    "spaces only": b"  ",
    "number": b"5",
    "string": b'"{}"',
    "true": b"true",
    "null": b"null",
}


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN)
async def test_a_body_that_is_no_json_object_or_array_is_a_malformed_payload(
    queue: RunningQueue, body: bytes
) -> None:
    reply = await put(queue, body)
    assert (reply.status, reply.code) == (400, "MalformedPayload")
    assert set((await queue.stored()).values()) == {0}


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize("body", [b"[]", b"{}", b'[{"payload": {}}]'])
async def test_an_array_or_object_of_another_shape_violates_the_schema(
    queue: RunningQueue, body: bytes
) -> None:
    reply = await put(queue, body)
    assert (reply.status, reply.code) == (400, "InputValidationError")
    assert set((await queue.stored()).values()) == {0}


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_a_called_json_body_of_no_bytes_is_an_empty_object(queue: RunningQueue) -> None:
    assert (await queue.send("POST", "/tasks", [], headers=JSON)).json() == {"tasks": []}


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize("told", [True, False], ids=["content-length", "chunked"])
async def test_a_body_of_more_than_10_mib_is_too_large(queue: RunningQueue, told: bool) -> None:
    pieces = [b" " * MIB] * 10 + [b"{"]
    length = {"Content-Length": str(10 * MIB + 1)} if told else {}
    reply = await put(queue, *pieces, **length)
    assert (reply.status, reply.code) == (413, "InputTooLarge")
    assert set((await queue.stored()).values()) == {0}


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize("told", ["0", "-1", "1e9", "9" * 30, "²"])
async def test_a_content_length_that_lies_does_not_raise_the_limit(queue: RunningQueue, told: str) -> None:
    pieces = [b" " * MIB] * 11
    reply = await put(queue, *pieces, **{"Content-Length": told})
    assert reply.status == 413


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_a_body_of_10_mib_is_accepted_in_pieces_and_kept(queue: RunningQueue) -> None:
    body = raw(queue, '{"log": "%s"}')
    body = body.replace(b"%s", b"x" * (10 * MIB - len(body) + 2))
    assert len(body) == 10 * MIB
    reply = await put(queue, *(body[start : start + MIB] for start in range(0, len(body), MIB)))
    assert reply.status == 200
    assert (await queue.get(f"/task/{TASK_ID}"))["payload"] == json.loads(body)["payload"]


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_a_client_that_leaves_within_its_body_gets_no_reply_and_leaves_nothing(
    queue: RunningQueue,
) -> None:
    with pytest.raises(NoReply):
        await put(queue, raw(queue, "{}")[:100], None)
    assert set((await queue.stored()).values()) == {0}


# ---- odd JSON that is JSON all the same ---------------------------------------------------------------

ODD: Final = {
    "NUL": r'{"a\u0000b": "\u0000"}',
    "surrogate pair": r'{"bus": "\ud83d\ude8c"}',
    "controls": r'{"c": "\u0001\u001f\u007f\u0085\u2028"}',
    "noncharacter": r'{"n": "\uffff"}',
    "numbers": '{"n": [0, -0.0, 1e-300, 1.7976931348623157e308, 12345678901234567890123, 0.1, 1E2]}',
    "names that mean something elsewhere": '{"__proto__": 1, "constructor": 2, "": 3, "$ref": "#"}',
    "190 levels": '{"a":' * 190 + "1" + "}" * 190,
    "null": '{"a": null, "b": [null]}',
}


@pytest.mark.parametrize("payload", ODD.values(), ids=ODD)
async def test_odd_json_in_a_payload_comes_back_as_it_was_sent(queue: RunningQueue, payload: str) -> None:
    reply = await put(queue, raw(queue, payload))
    assert reply.status == 200
    assert (await queue.get(f"/task/{TASK_ID}"))["payload"] == json.loads(payload)
    (claim,) = await queue.claim()
    assert claim["task"]["payload"] == json.loads(payload)
    assert (await put(queue, raw(queue, payload))).status == 200


async def test_of_a_repeated_member_the_last_one_counts(queue: RunningQueue) -> None:
    assert (await put(queue, raw(queue, '{"a": 1, "a": 2}'))).status == 200
    assert (await queue.get(f"/task/{TASK_ID}"))["payload"] == {"a": 2}


async def test_odd_characters_in_routes_and_tags_reach_the_messages(queue: RunningQueue) -> None:
    body = queue.definition(routes=["a.\x00.b", "ü" * 249, "🚌"], tags={"\x00": "\x00", "ключ": "значение"})
    reply = await queue.call("PUT", f"/task/{TASK_ID}", body)
    assert reply.status == 200
    for message in await queue.messages():
        assert message.cc == tuple(f"route.{route}" for route in body["routes"])
        assert message.body["task"]["tags"] == body["tags"]


async def test_a_number_beyond_all_floats_is_kept_as_null(queue: RunningQueue) -> None:
    assert (await put(queue, raw(queue, '{"n": 1e999}'))).status == 200
    assert (await queue.get(f"/task/{TASK_ID}"))["payload"] == {"n": None}


@pytest.mark.parametrize(
    "listed",
    [["\x00"], ["x" * 100_000], ["'; DROP TABLE tasks; --"], ["%", "_"], ["ключ"], ["\ud83d\ude8c"]],
    ids=["NUL", "long", "SQL", "wildcards", "Cyrillic", "emoji"],
)
@pytest.mark.parametrize("target", ["/tasks", "/tasks/status"])
async def test_ids_that_no_task_can_have_are_left_out_like_unknown_ones(
    queue: RunningQueue, target: str, listed: list[str]
) -> None:
    task_id = await queue.create()
    body = await queue.post(target, {"taskIds": [*listed, task_id]})
    (entries,) = body.values()
    assert [entry["taskId"] for entry in entries] == [task_id]
