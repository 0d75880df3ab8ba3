"""Messages of users: who they are from, where they go, and what is refused (end of D.6)."""

from typing import Any

import pytest

from events.messages import decode
from queue_service.features.streams.user_messages import message_of
from schemas.events import MAX_PAYLOAD, UserMessageRequest
from schemas.ids import slugid
from tests.api.manual_clock import START
from tests.streams.running_streams import Streams

ALERT: dict[str, Any] = {"level": "alert", "tag": "nightly", "payload": {"rows": 42, "none": None}}
CLAIM = "task-client/fN1SbArXTPSVFNUvaOlinQ/3/on/eu-central/worker-1/until/1714566000.000"
EXCHANGE = "exchange/taskbus-events/v1/user-message"


async def sent(streams: Streams, body: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Routing key and body of the one message that a call records."""
    answer = await streams.post("/user", body)
    (message,) = await streams.queue.messages()
    assert (message.exchange, message.cc) == (EXCHANGE, ())
    assert message.body["messageId"] == answer["messageId"]
    return message.routing_key, message.body


async def test_a_message_is_recorded_for_the_bus(streams: Streams) -> None:
    key, body = await sent(streams, ALERT)
    assert key == "primary.user.server.nightly._"
    assert body["payload"] == ALERT["payload"]
    assert (body["level"], body["source"], body["clientId"]) == ("alert", "server", "tester")
    assert streams.queue.permit.asked == ["events:send:nightly"]


async def test_without_a_tag_the_word_and_the_scope_say_so(streams: Streams) -> None:
    key, _ = await sent(streams, {"level": "info", "payload": "hello"})
    assert key == "primary.user.server._._"
    assert streams.queue.permit.asked == ["events:send:_"]


async def test_a_repeat_has_the_id_that_its_sender_chose(streams: Streams) -> None:
    message_id = slugid()
    for _ in range(2):
        _, body = await sent(streams, {**ALERT, "messageId": message_id})
        assert body["messageId"] == message_id


def test_who_has_a_claim_speaks_of_its_task() -> None:
    request = UserMessageRequest(level="info", payload=1)
    message = message_of(request, CLAIM, slugid(), START)
    assert (message.source, message.job_id, message.run_id) == ("job", "fN1SbArXTPSVFNUvaOlinQ", 3)


@pytest.mark.parametrize("client_id", ["", "github/42|ann", "task-client/x/3/on/a/b/until/1", "task-client/"])
def test_everybody_else_is_the_server(client_id: str) -> None:
    message = message_of(UserMessageRequest(level="info", payload=1), client_id, slugid(), START)
    assert (message.source, message.job_id, message.run_id) == ("server", None, None)


@pytest.mark.parametrize(
    ("members", "status", "said"),
    [
        ({"level": "warning"}, 400, "`/level`"),
        ({"payload": None}, 400, "`/payload`"),
        ({"tag": "two words"}, 400, "`/tag`"),
        ({"tag": "_"}, 400, "`/tag`"),
        ({"tag": "a" * 39}, 400, "`/tag`"),
        ({"messageId": "short"}, 400, "`/messageId`"),
        ({"jobId": "x"}, 400, "`/jobId`"),
        ({"payload": "x" * MAX_PAYLOAD}, 413, "`payload` has 65538 bytes"),
    ],
)
async def test_what_is_wrong_is_named_and_nothing_is_recorded(
    streams: Streams, members: dict[str, Any], status: int, said: str
) -> None:
    reply = await streams.call("POST", "/user", {**ALERT, **members})
    assert (reply.status, said in reply.message) == (status, True), reply.message
    assert await streams.queue.messages() == []


async def test_a_message_is_on_the_stream_as_it_is_on_the_bus(streams: Streams) -> None:
    async with streams.read([(EXCHANGE, "primary.user.*.nightly.#")]) as reader:
        await reader.event()
        await streams.post("/user", {"level": "info", "payload": 1})
        await streams.post("/user", ALERT)
        await streams.publish()
        told = await reader.event()
    assert told.data["payload"]["payload"] == ALERT["payload"]
    assert decode(EXCHANGE, streams.publisher.sent[-1].body).to_wire() == told.data["payload"]
