"""Events become messages and come back."""

import pytest

from events.errors import UndecodableMessage
from events.exchanges import exchange_for
from events.messages import decode, encode
from schemas.messages import Message, TaskGroupResolvedMessage
from tests.events import samples

FOREIGN = "exchange/build/normalized"
DEFINED = exchange_for(type(samples.defined())).full_name


@pytest.mark.parametrize("message", samples.ALL, ids=lambda message: type(message).__name__)
def test_a_decoded_message_is_the_event_that_was_encoded(message: Message) -> None:
    outbound = encode(message, ["ci.try"], message_id="17")
    assert outbound.exchange == exchange_for(type(message)).full_name
    assert outbound.message_id == "17"
    assert decode(outbound.exchange, outbound.body) == message


def test_routes_of_a_task_become_cc_keys_in_their_order() -> None:
    assert encode(samples.defined(), ["b.x", "a"]).cc == ("route.b.x", "route.a")


def test_messages_about_groups_carry_no_routes() -> None:
    assert encode(TaskGroupResolvedMessage.model_validate(samples.GROUP), ["b"]).cc == ()


def test_a_message_of_a_foreign_exchange_is_plain_json() -> None:
    assert decode(FOREIGN, b'{"a": [1, null]}') == {"a": [1, None]}


def test_members_added_later_do_not_disturb_a_listener() -> None:
    body = samples.defined().to_json()[:-1] + b', "added": {"later": true}}'
    assert decode(DEFINED, body) == samples.defined()


@pytest.mark.parametrize(
    ("exchange", "body", "reason"),
    [
        (FOREIGN, b"\xff", "is not JSON"),
        (FOREIGN, b"[" * 100_000, "is not JSON"),
        (DEFINED, b"{", "Invalid JSON"),
        (DEFINED, b'{"version": 1}', "status: Field required"),
        (DEFINED, b'{"version": 2}', "version: Input should be 1"),
    ],
)
def test_a_body_that_is_something_else_is_an_error_that_tells_why(
    exchange: str, body: bytes, reason: str
) -> None:
    with pytest.raises(UndecodableMessage, match=reason) as caught:
        decode(exchange, body)
    assert exchange in str(caught.value)
