"""What only the embedded broker promises: start and stop, its limits on sockets, and standing alone."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from pamqp import frame, header
from pamqp.commands import Basic, Connection, Queue

import events.broker
from events.broker import Broker, BrokerLimits, PortInUse, QueueInfo
from tests.broker.peer import Closed, connect, connected, dial


async def test_a_taken_port_is_named(broker: Broker) -> None:
    with pytest.raises(PortInUse, match=str(broker.port)) as taken:
        await Broker(port=broker.port).start()
    assert isinstance(taken.value, OSError)


async def test_the_port_is_free_again_after_a_stop() -> None:
    async with Broker() as first:
        pass
    async with Broker(port=first.port) as second, connected(second.url):
        assert second.port == first.port


async def test_stopping_tells_every_client() -> None:
    broker = Broker()
    await broker.start()
    peers = [await connect(broker.url) for _ in range(3)]
    stopping = asyncio.create_task(broker.stop())
    for peer in peers:
        with pytest.raises(Closed) as closed:
            await peer.control.receive()
        assert closed.value.code == 320
    await stopping


async def test_stopping_waits_only_so_long_for_a_client_that_does_not_answer() -> None:
    broker = Broker(limits=BrokerLimits(handshake_seconds=0.05))
    await broker.start()
    peer = await connect(broker.url)
    peer.answers_close = False
    await broker.stop()
    await peer.cut()


async def test_stopping_does_not_wait_for_a_blocked_publisher() -> None:
    broker = Broker(limits=BrokerLimits(held_bytes=0))
    await broker.start()
    publisher = await connect(broker.url)
    channel = await publisher.open()
    await channel.queue("q")
    channel.publish(b"", "q")
    await publisher.control.expect(Connection.Blocked)
    async with asyncio.timeout(broker.limits.handshake_seconds / 2):
        await broker.stop()
    await publisher.cut()


async def test_starting_twice_is_refused(broker: Broker) -> None:
    with pytest.raises(RuntimeError):
        await broker.start()


async def test_queues_do_not_outlive_a_stop(broker: Broker) -> None:
    async with connected(broker.url) as peer:
        await (await peer.open()).queue("q", durable=True)
    await broker.stop()
    await broker.start()
    assert broker.queues() == []


async def test_stopping_twice_is_no_error(broker: Broker) -> None:
    await broker.stop()
    await broker.stop()


async def test_the_url_holds_the_credentials() -> None:
    async with Broker(username="a/b", password="p@:ss") as broker, connected(broker.url) as peer:
        await (await peer.open()).settled()


async def test_other_credentials_than_its_own_are_refused() -> None:
    async with Broker(password="secret") as broker:
        with pytest.raises(Closed) as closed:
            await connect(broker.url.replace("secret", "guest"))
    assert closed.value.code == 403


async def test_secrets_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "events.broker")
    async with Broker(password="pa55word") as broker:
        with pytest.raises(Closed):
            await connect(broker.url.replace("pa55word", "wr0ngword"))
    assert "pa55word" not in caplog.text
    assert "wr0ngword" not in caplog.text


async def test_queues_are_listed(broker: Broker) -> None:
    async with connected(broker.url) as peer:
        channel = await peer.open()
        await channel.queue("jobs")
        channel.publish(b"", "jobs")
        await channel.settled()
        assert broker.queues() == [QueueInfo("jobs", ready=1, unacknowledged=0, consumers=0)]


async def test_one_connection_too_many_is_dropped() -> None:
    async with Broker(limits=BrokerLimits(connections=1)) as broker, connected(broker.url) as first:
        with pytest.raises((Closed, OSError)):
            await connect(broker.url)
        await (await first.open()).settled()


async def test_a_client_that_does_not_shake_hands_is_dropped() -> None:
    async with Broker(limits=BrokerLimits(handshake_seconds=0.05)) as broker:
        peer = await dial(broker.url)
        peer.write(header.ProtocolHeader().marshal())
        await peer.control.expect(Connection.Start)
        with pytest.raises(Closed):
            await peer.control.receive()


async def test_a_client_that_does_not_finish_a_frame_is_dropped() -> None:
    """Another byte now and then does not help."""
    async with (
        Broker(limits=BrokerLimits(frame_seconds=0.05)) as broker,
        connected(broker.url) as patient,
        connected(broker.url) as slow,
    ):
        publish = frame.marshal(Basic.Publish(routing_key="q"), 1)
        slow.write(publish[:6])
        slow.write(publish[6:9])
        with pytest.raises((Closed, OSError)):
            await slow.control.receive()
        await (await patient.open()).settled()


async def test_a_client_that_has_shaken_hands_may_take_its_time() -> None:
    async with (
        Broker(limits=BrokerLimits(handshake_seconds=0.05)) as broker,
        connected(broker.url) as patient,
    ):
        waiting = await dial(broker.url)
        with pytest.raises(Closed):
            await waiting.control.receive()
        await (await patient.open()).settled()


async def test_a_slow_consumer_gets_everything_and_holds_up_nobody() -> None:
    """Its messages stay in the queue, not in the broker's output, until it reads."""
    async with Broker() as broker, connected(broker.url) as peer, connected(broker.url) as slow:
        channel, consumer = await peer.open(), await slow.open()
        await channel.confirms()
        await channel.queue("big")
        slow.pause_reading()
        consumer.send(Basic.Consume(queue="big", consumer_tag="slow", nowait=True, no_ack=True))
        for _ in range(400):
            channel.publish(bytes(100_000), "big")
        await channel.outcomes(400)
        assert broker.queues()[0].ready > 200
        slow.resume_reading()
        assert len(await consumer.deliveries(400)) == 400


async def test_a_blocked_publisher_goes_on_over_the_socket() -> None:
    async with (
        Broker(limits=BrokerLimits(held_bytes=1_000_000)) as broker,
        connected(broker.url) as publisher,
        connected(broker.url) as consumer,
    ):
        sending, taking = await publisher.open(), await consumer.open()
        await sending.confirms()
        await sending.queue("q")
        for _ in range(40):
            sending.publish(bytes(100_000), "q")
        assert "memory" in (await publisher.control.expect(Connection.Blocked)).reason
        assert broker.queues()[0].ready < 12
        await taking.consume("q", no_ack=True)
        await taking.deliveries(40)
        await publisher.control.expect(Connection.Unblocked)
        assert await sending.outcomes(40) == ["ack"] * 40


async def test_a_blocked_publisher_that_leaves_is_forgotten() -> None:
    async with Broker(limits=BrokerLimits(held_bytes=0)) as broker, connected(broker.url) as other:
        publisher = await connect(broker.url)
        channel = await publisher.open()
        await channel.queue("q")
        channel.publish(b"", "q")
        await publisher.control.expect(Connection.Blocked)
        await publisher.cut()
        assert (await (await other.open()).call(Queue.Purge(queue="q"))).message_count == 1


def test_it_runs_on_uvloop() -> None:
    uvloop = pytest.importorskip("uvloop")

    async def round_trip() -> bytes:
        async with Broker() as broker, connected(broker.url) as peer:
            channel = await peer.open()
            await channel.queue("q", arguments={"x-message-ttl": 60_000})
            channel.publish(bytes(3_000_000), "q")
            await channel.consume("q")
            return (await channel.delivery()).body

    assert uvloop.run(round_trip()) == bytes(3_000_000)


def test_it_needs_pamqp_and_the_standard_library_only() -> None:
    """The package around it imports more, for listeners; the broker itself runs without any of that."""
    program = f"""
import sys, types
before = set(sys.modules)
sys.modules["events"] = around = types.ModuleType("events")
around.__path__ = [{str(Path(events.broker.__file__).parents[1])!r}]
import events.broker
loaded = {{name.partition(".")[0] for name in set(sys.modules) - before}}
print(*loaded - sys.stdlib_module_names)
"""
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {"events", "pamqp"}
