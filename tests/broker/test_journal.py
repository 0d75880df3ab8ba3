"""The embedded broker's journal: what is there again after a restart, and what if it cannot be used."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pamqp.commands import Basic, Connection, Exchange, Queue

from events.broker import Broker, BrokerLimits, JournalUnusable, QueueInfo, server
from tests.broker.peer import Closed, PeerChannel, connected

PERSISTENT = 2


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "journal"


async def fill(channel: PeerChannel, queue: str, *bodies: bytes, **properties: Any) -> None:
    """Declare a durable queue and publish to it, confirmed."""
    await channel.confirms()
    await channel.queue(queue, durable=True)
    for body in bodies:
        channel.publish(body, queue, delivery_mode=PERSISTENT, **properties)
    await channel.outcomes(len(bodies))


async def drained(channel: PeerChannel, queue: str) -> list[tuple[bytes, bool]]:
    """What is in the queue: bodies, and whether they are marked as redelivered."""
    found = []
    while (message := await channel.get(queue)) is not None:
        found.append((message.body, message.method.redelivered))
    return found


def changed(file: Path, script: str) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(script)


def content(file: Path) -> bytes:
    return file.read_bytes() if file.is_file() else b""


def new(*bodies: bytes) -> list[tuple[bytes, bool]]:
    return [(body, False) for body in bodies]


async def test_durable_queues_and_persistent_messages_are_there_again_in_order(file: Path) -> None:
    async with Broker(journal=file) as broker, connected(broker.url) as peer:
        await fill(await peer.open(), "q", b"1", b"2", b"3")
    async with Broker(journal=file) as broker, connected(broker.url) as peer:
        assert await drained(await peer.open(), "q") == new(b"1", b"2", b"3")


async def test_routes_between_durable_things_are_there_again(file: Path) -> None:
    async with Broker(journal=file) as broker, connected(broker.url) as peer:
        channel = await peer.open()
        for name in ("first", "second", "gone"):
            await channel.exchange("topic", name, durable=True, auto_delete=False)
        await channel.exchange(
            "direct", "other", durable=True, auto_delete=False, arguments={"alternate-exchange": "first"}
        )
        await channel.call(Exchange.Bind(source="first", destination="second", routing_key="a.#"))
        await channel.queue("q", durable=True)
        await channel.bind("q", "second", "*.b")
        await channel.bind("q", "first", "unbound")
        await channel.call(Queue.Unbind(queue="q", exchange="first", routing_key="unbound"))
        await channel.call(Exchange.Delete(exchange="gone"))
    async with Broker(journal=file) as broker, connected(broker.url) as peer:
        channel = await peer.open()
        for key in ("a.b", "unbound", "a.c"):
            channel.publish(key.encode(), key, "first")
        channel.publish(b"by the alternate", "a.b", "other")
        assert await drained(channel, "q") == new(b"a.b", b"by the alternate")
        with pytest.raises(Closed, match="404"):
            await channel.call(Exchange.Declare(exchange="gone", passive=True))


async def test_what_is_not_durable_is_gone(file: Path) -> None:
    async with Broker(journal=file) as broker, connected(broker.url) as peer:
        channel = await peer.open()
        await fill(channel, "q", b"kept")
        channel.publish(b"not persistent", "q")
        await channel.queue("not durable")
        await channel.queue("exclusive", durable=True, exclusive=True)
        await channel.exchange("topic", "not durable", auto_delete=False)
        await channel.bind("q", "not durable", "#")
        await channel.settled()
    async with Broker(journal=file) as broker, connected(broker.url) as peer:
        assert [queue.name for queue in broker.queues()] == ["q"]
        assert await drained(await peer.open(), "q") == new(b"kept")


async def test_acknowledged_purged_and_dropped_messages_do_not_come_back(file: Path) -> None:
    async with Broker(journal=file) as broker, connected(broker.url) as peer:
        channel = await peer.open()
        await fill(channel, "acknowledged", b"1", b"2")
        message = await channel.get("acknowledged", no_ack=False)
        assert message is not None
        channel.send(Basic.Ack(message.method.delivery_tag))
        await channel.queue("short", durable=True, arguments={"x-max-length": 1})
        for body in (b"1", b"2"):
            channel.publish(body, "short", delivery_mode=PERSISTENT)
        await channel.queue("purged", durable=True)
        channel.publish(b"1", "purged", delivery_mode=PERSISTENT)
        await channel.settled()
        await channel.call(Queue.Purge(queue="purged"))
        await channel.queue("deleted", durable=True)
        channel.publish(b"old", "deleted", delivery_mode=PERSISTENT)
        await channel.call(Queue.Delete(queue="deleted"))
        await channel.queue("deleted", durable=True)
    async with Broker(journal=file) as broker, connected(broker.url) as peer:
        channel = await peer.open()
        held = {queue.name: await drained(channel, queue.name) for queue in broker.queues()}
        assert held == {"acknowledged": new(b"2"), "short": new(b"2"), "purged": [], "deleted": []}


async def test_what_has_been_delivered_is_marked_as_redelivered(file: Path) -> None:
    async with Broker(journal=file) as broker, connected(broker.url) as peer:
        channel = await peer.open()
        await fill(channel, "q", b"1", b"2", b"3")
        await channel.call(Basic.Qos(prefetch_count=2))
        await channel.consume("q")
        await channel.deliveries(2)
    async with Broker(journal=file) as broker, connected(broker.url) as peer:
        assert await drained(await peer.open(), "q") == [(b"1", True), (b"2", True), (b"3", False)]


async def test_dead_letters_keep_their_record_and_their_count(file: Path) -> None:
    async with Broker(journal=file) as broker, connected(broker.url) as peer:
        channel = await peer.open()
        again = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "q"}
        await channel.queue("q", durable=True, arguments=again)
        channel.publish(b"1", "q", delivery_mode=PERSISTENT)
        for _ in range(3):
            message = await channel.get("q", no_ack=False)
            assert message is not None
            channel.send(Basic.Reject(message.method.delivery_tag, requeue=False))
        await channel.settled()
    async with Broker(journal=file) as broker, connected(broker.url) as peer:
        message = await (await peer.open()).get("q")
        assert message is not None
        assert message.headers["x-death"][0]["count"] == 3


async def test_a_quorum_queue_goes_on_counting_deliveries(file: Path) -> None:
    arguments = {"x-queue-type": "quorum", "x-delivery-limit": 2}
    async with Broker(journal=file) as broker, connected(broker.url) as peer:
        channel = await peer.open()
        await channel.queue("q", durable=True, arguments=arguments)
        channel.publish(b"1", "q", delivery_mode=PERSISTENT)
        await channel.get("q", no_ack=False)
    async with Broker(journal=file) as broker, connected(broker.url) as peer:
        message = await (await peer.open()).get("q")
        assert message is not None
        assert message.headers["x-delivery-count"] == 1


async def test_time_to_live_goes_on_while_nothing_runs(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Broker(journal=file) as broker, connected(broker.url) as peer:
        channel = await peer.open()
        await channel.queue("dead", durable=True)
        letters = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
        await channel.queue("q", durable=True, arguments=letters)
        for body, milliseconds in ((b"short", "60000"), (b"long", "600000")):
            channel.publish(body, "q", delivery_mode=PERSISTENT, expiration=milliseconds)
        await channel.settled()
    changed(file, "UPDATE entries SET deadline = deadline - 120000")  # as if so much time had passed
    async with Broker(journal=file) as broker, connected(broker.url) as peer:
        channel = await peer.open()
        assert await drained(channel, "q") == new(b"long")
        assert await drained(channel, "dead") == new(b"short")


async def test_a_queue_keeps_its_arguments_and_its_limits(file: Path) -> None:
    arguments = {"x-max-length": 1, "x-overflow": "reject-publish"}
    async with Broker(journal=file) as broker, connected(broker.url) as peer:
        channel = await peer.open()
        await channel.queue("q", durable=True, arguments=arguments)
        channel.publish(b"1", "q", delivery_mode=PERSISTENT)
        await channel.settled()
    async with Broker(journal=file) as broker, connected(broker.url) as peer:
        channel = await peer.open()
        await channel.queue("q", durable=True, arguments=arguments)
        await channel.confirms()
        channel.publish(b"2", "q", delivery_mode=PERSISTENT)
        assert await channel.outcomes(1) == ["nack"]


async def test_lower_limits_refuse_what_is_new_and_keep_what_is_there(file: Path) -> None:
    async with Broker(journal=file) as broker, connected(broker.url) as peer:
        channel = await peer.open()
        for name in ("a", "b"):
            await channel.queue(name, durable=True)
            await channel.bind(name, "amq.topic", "#")
    limits = BrokerLimits(queues=1, bindings=1)
    async with Broker(journal=file, limits=limits) as broker, connected(broker.url) as peer:
        channel = await peer.open()
        channel.publish(b"1", "k", "amq.topic")
        await channel.settled()
        assert [queue.ready for queue in broker.queues()] == [1, 1]
        with pytest.raises(Closed, match="limit"):
            await channel.queue("c", durable=True)


async def test_one_message_in_many_queues_is_kept_once(file: Path) -> None:
    async with Broker(journal=file) as broker, connected(broker.url) as peer:
        channel = await peer.open()
        for number in range(50):
            await channel.queue(f"q{number}", durable=True)
            await channel.bind(f"q{number}", "amq.fanout", "")
        await channel.confirms()
        channel.publish(bytes(200_000), "", "amq.fanout", delivery_mode=PERSISTENT)
        await channel.outcomes(1)
    assert len(content(file)) < 500_000


# -- files that cannot be used --------------------------------------------------------------------------


async def test_a_second_broker_on_the_same_file_is_refused(file: Path) -> None:
    async with Broker(journal=file):
        with pytest.raises(JournalUnusable, match="in use by another process"):
            await Broker(journal=file).start()


def foreign_database(file: Path) -> None:
    changed(file, "CREATE TABLE something (else_ TEXT)")


def other_file(file: Path) -> None:
    file.write_text("no database at all, but some text that is long enough to be one" * 20)


def newer_version(file: Path) -> None:
    changed(file, "PRAGMA application_id = 2063967413; PRAGMA user_version = 99; CREATE TABLE queues (name)")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (foreign_database, "not a journal of the built-in broker"),
        (other_file, "file is not a database"),
        (newer_version, "version 99"),
        (Path.mkdir, "cannot be opened"),
    ],
)
async def test_a_file_that_is_no_journal_is_refused_and_left_alone(
    file: Path, make: Any, reason: str
) -> None:
    make(file)
    before = content(file)
    with pytest.raises(JournalUnusable, match=reason):
        await Broker(journal=file).start()
    assert content(file) == before


def damage(file: Path) -> None:
    damaged = bytearray(file.read_bytes())
    damaged[4096 : 10 * 4096] = b"\xff" * (9 * 4096)
    file.write_bytes(damaged)


async def test_a_damaged_journal_is_refused(file: Path) -> None:
    async with Broker(journal=file) as broker, connected(broker.url) as peer:
        await fill(await peer.open(), "q", bytes(100_000))
    damage(file)
    with pytest.raises(JournalUnusable, match="cannot be read"):
        await Broker(journal=file).start()


async def test_a_journal_that_makes_no_sense_is_refused_and_left_alone(file: Path) -> None:
    async with Broker(journal=file) as broker, connected(broker.url) as peer:
        await fill(await peer.open(), "q", b"1")
        await (await peer.open()).exchange("topic", "e", durable=True, auto_delete=False)
    changed(file, "UPDATE exchanges SET definition = 'no JSON'")
    for _ in range(2):
        with pytest.raises(JournalUnusable, match="cannot hold"):
            await Broker(journal=file).start()
    changed(file, "DELETE FROM exchanges")
    async with Broker(journal=file) as broker, connected(broker.url) as peer:
        assert await drained(await peer.open(), "q") == new(b"1")


# -- a full disk ----------------------------------------------------------------------------------------


@pytest.fixture
def short_of_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "TRY_AGAIN_SECONDS", 0.01)


def set_pages(broker: Broker, pages: int) -> None:
    """The file may have so many pages: SQLite says that the disk is full beyond that."""
    assert broker._journal is not None
    broker._journal._file._connection.execute(f"PRAGMA max_page_count = {pages}")


@pytest.mark.usefixtures("short_of_disk")
async def test_with_a_full_disk_publishers_wait_consumers_go_on_and_nothing_is_lost(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        Broker(journal=file) as broker,
        connected(broker.url) as publishing,
        connected(broker.url) as consuming,
    ):
        publisher, consumer = await publishing.open(), await consuming.open()
        await fill(publisher, "q", b"1", b"2")
        set_pages(broker, 20)
        publisher.publish(bytes(500_000), "q", delivery_mode=PERSISTENT)
        blocked = await publishing.control.expect(Connection.Blocked)
        assert "disk is full" in blocked.reason
        assert await drained(consumer, "q") == [*new(b"1", b"2"), (bytes(500_000), False)]
        assert publisher.arrived.empty(), "confirmed, and not in the journal"
        set_pages(broker, 1_000_000)
        await publishing.control.expect(Connection.Unblocked)
        assert (await publisher.expect(Basic.Ack)).delivery_tag == 3
    assert any("disk is full" in record.message for record in caplog.records)
    caplog.clear()


@pytest.mark.usefixtures("short_of_disk")
async def test_a_queue_declared_while_the_disk_is_full_is_told_when_it_is_kept(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with Broker(journal=file) as broker, connected(broker.url) as peer:
        channel = await peer.open()
        await channel.queue("q", durable=True)
        set_pages(broker, 20)
        channel.publish(bytes(500_000), "q", delivery_mode=PERSISTENT)
        channel.send(Queue.Declare(queue="late", durable=True))
        await peer.control.expect(Connection.Blocked)
        assert channel.arrived.empty()
        set_pages(broker, 1_000_000)
        assert (await channel.expect(Queue.DeclareOk)).queue == "late"
    caplog.clear()
    async with Broker(journal=file) as broker:
        assert QueueInfo("late", ready=0, unacknowledged=0, consumers=0) in broker.queues()
