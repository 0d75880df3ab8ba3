"""The publisher: what it writes, whom it tells, and when it gives a connection up."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from urllib.parse import urlsplit, urlunsplit

import pytest
from aio_pika.abc import AbstractChannel, AbstractQueue, DeliveryMode
from pamqp import commands
from pamqp.body import ContentBody
from pamqp.heartbeat import Heartbeat

from events.errors import BrokerUnavailable
from events.exchanges import QUEUE_EXCHANGES
from events.messages import OutboundMessage, encode
from events.publisher import Publisher
from tests.events import samples
from tests.events.proxy import Proxy
from tests.events.scripted import ScriptedBroker

MESSAGE = encode(samples.defined(), ["ci.try"], message_id="1")


@asynccontextmanager
async def connected(url: str, **options: float) -> AsyncIterator[Publisher]:
    publisher = Publisher(url, **options)  # type: ignore[arg-type]
    await publisher.connect()
    try:
        yield publisher
    finally:
        await publisher.close()


class Outcomes:
    """What became of the messages, in the order of their settling."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, bool]] = []
        self._changed = asyncio.Condition()

    def of(self, number: int) -> Callable[[bool], None]:
        def settled(acknowledged: bool) -> None:
            self.seen.append((number, acknowledged))
            asyncio.get_running_loop().create_task(self._notify())

        return settled

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def count(self, number: int) -> list[tuple[int, bool]]:
        async with self._changed:
            await self._changed.wait_for(lambda: len(self.seen) >= number)
        return self.seen


async def bound_queue(admin: AbstractChannel, pattern: str = "#", **arguments: object) -> AbstractQueue:
    queue = await admin.declare_queue(exclusive=True, arguments=arguments)  # type: ignore[arg-type]
    await queue.bind(MESSAGE.exchange, pattern)
    return queue


# Against real brokers


async def test_the_exchanges_exist_durable_once_connected(amqp_url: str, admin: AbstractChannel) -> None:
    async with connected(amqp_url):
        for exchange in QUEUE_EXCHANGES:
            await admin.declare_exchange(exchange.full_name, "topic", durable=True)


async def test_a_message_has_the_properties_of_the_wire(amqp_url: str, admin: AbstractChannel) -> None:
    async with connected(amqp_url) as publisher:
        queue, outcomes = await bound_queue(admin), Outcomes()
        publisher.send(MESSAGE, outcomes.of(1))
        assert await outcomes.count(1) == [(1, True)]
        message = await queue.get(no_ack=True)
    assert message.body == MESSAGE.body
    assert (message.exchange, message.routing_key) == (MESSAGE.exchange, MESSAGE.routing_key)
    assert message.headers == {"CC": ["route.ci.try"]}
    assert message.delivery_mode is DeliveryMode.PERSISTENT
    assert (message.content_type, message.content_encoding) == ("application/json", "utf-8")
    assert message.message_id == "1"


async def test_the_cc_header_is_there_without_routes(amqp_url: str, admin: AbstractChannel) -> None:
    async with connected(amqp_url) as publisher:
        queue, outcomes = await bound_queue(admin), Outcomes()
        publisher.send(encode(samples.defined()), outcomes.of(1))
        await outcomes.count(1)
        message = await queue.get(no_ack=True)
    assert message.headers == {"CC": []}
    assert message.message_id is None


async def test_a_queue_bound_by_route_gets_the_message(amqp_url: str, admin: AbstractChannel) -> None:
    async with connected(amqp_url) as publisher:
        queue, outcomes = await bound_queue(admin, "route.ci.*"), Outcomes()
        publisher.send(MESSAGE, outcomes.of(1))
        await outcomes.count(1)
        assert (await queue.get(no_ack=True)).message_id == "1"


async def test_messages_arrive_in_the_order_of_sending(amqp_url: str, admin: AbstractChannel) -> None:
    count = 500
    async with connected(amqp_url) as publisher:
        queue, outcomes = await bound_queue(admin), Outcomes()
        for number in range(count):
            publisher.send(encode(samples.defined(), message_id=str(number)), outcomes.of(number))
            await publisher.writable()
        settled = await outcomes.count(count)
        arrived = [(await queue.get(no_ack=True)).message_id for _ in range(count)]
    assert arrived == [str(number) for number in range(count)]
    assert sorted(settled) == [(number, True) for number in range(count)]


async def test_a_body_larger_than_a_frame_arrives_whole(amqp_url: str, admin: AbstractChannel) -> None:
    body = b"0123456789" * 40_000
    async with connected(amqp_url) as publisher:
        queue, outcomes = await bound_queue(admin), Outcomes()
        publisher.send(OutboundMessage(MESSAGE.exchange, "big", (), body), outcomes.of(1))
        await outcomes.count(1)
        assert (await queue.get(no_ack=True)).body == body


async def test_a_message_nobody_is_bound_to_is_acknowledged(amqp_url: str) -> None:
    async with connected(amqp_url) as publisher:
        outcomes = Outcomes()
        publisher.send(encode(samples.completed()), outcomes.of(1))
        assert await outcomes.count(1) == [(1, True)]


async def test_a_refused_message_is_settled_as_not_taken(amqp_url: str, admin: AbstractChannel) -> None:
    async with connected(amqp_url) as publisher:
        full = {"x-max-length": 1, "x-overflow": "reject-publish"}
        await bound_queue(admin, **full)
        outcomes = Outcomes()
        publisher.send(MESSAGE, outcomes.of(1))
        publisher.send(MESSAGE, outcomes.of(2))
        assert sorted(await outcomes.count(2)) == [(1, True), (2, False)]


async def test_a_cut_connection_is_lost_and_settles_nothing(amqp_url: str) -> None:
    async with Proxy(amqp_url) as proxy, connected(proxy.url) as publisher:
        proxy.swallow()
        outcomes = Outcomes()
        publisher.send(MESSAGE, outcomes.of(1))
        await proxy.cut()
        assert "is gone" in str(await publisher.lost)
        with pytest.raises(BrokerUnavailable, match="is gone"):
            publisher.send(MESSAGE, outcomes.of(2))
        with pytest.raises(BrokerUnavailable, match="is gone"):
            await publisher.writable()
        assert outcomes.seen == []


async def test_giving_up_the_wait_for_a_loss_does_not_hide_it(amqp_url: str) -> None:
    async with Proxy(amqp_url) as proxy, connected(proxy.url) as publisher:

        async def wait_for_the_loss() -> None:
            await publisher.lost

        waiting = asyncio.create_task(wait_for_the_loss())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        outcomes = Outcomes()
        publisher.send(MESSAGE, outcomes.of(1))
        await outcomes.count(1)
        await proxy.cut()
        assert "is gone" in str(await publisher.lost)


async def test_a_lost_publisher_can_connect_again(amqp_url: str, admin: AbstractChannel) -> None:
    async with Proxy(amqp_url) as proxy, connected(proxy.url) as publisher:
        queue = await bound_queue(admin)
        await proxy.cut()
        await publisher.lost
        await publisher.connect()
        outcomes = Outcomes()
        publisher.send(MESSAGE, outcomes.of(1))
        await outcomes.count(1)
        assert (await queue.get(no_ack=True)).message_id == "1"


async def test_a_connection_that_swallows_everything_is_given_up_after_the_confirm_timeout(
    amqp_url: str,
) -> None:
    async with Proxy(amqp_url) as proxy, connected(proxy.url, confirm_timeout=0.2) as publisher:
        proxy.swallow()
        publisher.send(MESSAGE, Outcomes().of(1))
        assert "not confirmed within 0.2 s" in str(await publisher.lost)


async def test_a_deleted_exchange_loses_the_connection_with_the_reason(
    amqp_url: str, admin: AbstractChannel, name: str
) -> None:
    async with connected(amqp_url) as publisher:
        publisher.send(OutboundMessage(name, "k", (), b"{}"), Outcomes().of(1))
        assert "404" in str(await publisher.lost)


async def test_closing_says_goodbye_and_is_a_loss_too(amqp_url: str) -> None:
    async with connected(amqp_url) as publisher:
        await publisher.close()
        assert "closed by us" in str(await publisher.lost)


async def test_an_exchange_of_another_type_is_reported_with_what_to_do(
    amqp_url: str, admin: AbstractChannel, name: str
) -> None:
    await admin.declare_exchange(name, "fanout", durable=True, auto_delete=True)
    ours = replace(QUEUE_EXCHANGES[0], prefix="", name=name)
    try:
        with pytest.raises(BrokerUnavailable, match=r"406 .* exists with other properties; delete it"):
            await Publisher(amqp_url, exchanges=[ours]).connect()
    finally:
        await admin.exchange_delete(name)


def with_login(url: str, login: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{login}@{parts.hostname}:{parts.port}"))


async def test_a_wrong_password_is_reported_with_what_to_do(rabbitmq_url: str) -> None:
    with pytest.raises(BrokerUnavailable, match="check user, password and permissions") as caught:
        await Publisher(with_login(rabbitmq_url, "guest:secret")).connect()
    assert "secret" not in str(caught.value)


async def test_a_wrong_virtual_host_is_reported_with_what_to_do(rabbitmq_url: str) -> None:
    with pytest.raises(BrokerUnavailable, match="check the virtual host"):
        await Publisher(rabbitmq_url.rstrip("/") + "/nowhere").connect()


# Against a scripted broker


async def test_an_absent_broker_is_reported_with_what_to_do() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        with pytest.raises(BrokerUnavailable, match="start it, or correct the AMQP URL"):
            await Publisher(f"amqp://guest:secret@127.0.0.1:{port}/").connect()


async def test_sending_before_connecting_is_an_error() -> None:
    with pytest.raises(BrokerUnavailable, match="not connected"):
        Publisher("amqp://localhost").send(MESSAGE, Outcomes().of(1))


async def test_a_multiple_ack_settles_all_before_it_in_order() -> None:
    async with ScriptedBroker() as broker, connected(broker.url) as publisher:
        outcomes = Outcomes()
        for number in range(1, 6):
            publisher.send(MESSAGE, outcomes.of(number))
        await broker.has_published(5)
        broker.send(commands.Basic.Ack(2), commands.Basic.Ack(4, multiple=True))
        assert await outcomes.count(4) == [(2, True), (1, True), (3, True), (4, True)]


async def test_a_multiple_nack_settles_all_before_it_as_refused() -> None:
    async with ScriptedBroker() as broker, connected(broker.url) as publisher:
        outcomes = Outcomes()
        for number in range(1, 4):
            publisher.send(MESSAGE, outcomes.of(number))
        await broker.has_published(3)
        broker.send(commands.Basic.Ack(1), commands.Basic.Nack(3, multiple=True))
        assert await outcomes.count(3) == [(1, True), (2, False), (3, False)]


async def test_a_failing_callback_does_not_disturb_the_others() -> None:
    def fails(acknowledged: bool) -> None:
        raise RuntimeError("callback")

    async with ScriptedBroker() as broker, connected(broker.url) as publisher:
        outcomes = Outcomes()
        publisher.send(MESSAGE, fails)
        publisher.send(MESSAGE, outcomes.of(2))
        await broker.has_published(2)
        broker.send(commands.Basic.Ack(2, multiple=True))
        assert await outcomes.count(1) == [(2, True)]


async def test_a_blocked_publisher_waits_for_the_broker_and_not_for_the_confirm_timeout() -> None:
    async with ScriptedBroker() as broker, connected(broker.url, confirm_timeout=0.1) as publisher:
        outcomes = Outcomes()
        publisher.send(MESSAGE, outcomes.of(1))
        await broker.has_published(1)
        broker.send(commands.Connection.Blocked("low on memory"), channel=0)
        broker.send(commands.Basic.Ack(1))
        await outcomes.count(1)
        publisher.send(MESSAGE, outcomes.of(2))
        writable = asyncio.create_task(publisher.writable())
        done, _ = await asyncio.wait([writable, publisher.lost], timeout=0.3)
        assert not done
        broker.send(commands.Connection.Unblocked(), channel=0)
        await writable
        assert "not confirmed within" in str(await publisher.lost)


async def test_a_silent_broker_is_lost_after_two_heartbeats() -> None:
    tune = commands.Connection.Tune(channel_max=10, frame_max=4096, heartbeat=1)
    async with ScriptedBroker(tune=tune) as broker, connected(broker.url) as publisher:
        await broker.has_received(Heartbeat)
        assert "has been silent" in str(await publisher.lost)


async def test_bodies_are_split_at_the_frame_size_the_broker_proposes() -> None:
    async with ScriptedBroker() as broker, connected(broker.url) as publisher:
        publisher.send(OutboundMessage("e", "k", (), b"x" * 10_000), Outcomes().of(1))
        await broker.has_received(ContentBody, 3)
        sizes = [len(frame.value) for frame in broker.received if isinstance(frame, ContentBody)]
        assert sizes == [4088, 4088, 1824]


async def test_a_peer_that_is_no_amqp_broker_is_refused() -> None:
    async def web_server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    server = await asyncio.start_server(web_server, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(BrokerUnavailable, match=r"expected an AMQP frame, got b\'HTTP/1\.1\'"):
            await Publisher(f"amqp://127.0.0.1:{port}/").connect()
