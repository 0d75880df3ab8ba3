"""The queues of hooks follow the definitions, on both brokers (``hooks-and-triggers.md`` 5)."""

import asyncio
import json
from collections.abc import AsyncIterator

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange
from aio_pika.exceptions import ChannelNotFoundEntity

from queue_service.features.hooks import definitions, queue_rows, store
from queue_service.features.hooks.hook import Key
from queue_service.features.hooks.on_message import MessageHandler
from queue_service.features.hooks.queues import HookQueues
from queue_service.store.database import Database
from schemas.hooks import CreateHookRequest, HookBinding
from schemas.ids import slugid
from tests.api.hooked import hook
from tests.events.conftest import amqp_url  # noqa: F401

KEY: Key = ("project-releng", "nightly/linux")


class Recorder(MessageHandler):
    """Remembers what would have fired a hook."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[tuple[Key, str, object]] = asyncio.Queue()
        self.failures = 0
        """How many of the next messages fail."""

    async def handle(self, key: Key, exchange: str, message_id: str | None, body: bytes) -> bool:
        self.heard.put_nowait((key, exchange, json.loads(body)))
        if self.failures:
            self.failures -= 1
            raise RuntimeError("as the test wants it")
        return True


@pytest.fixture
async def connection(amqp_url: str) -> AsyncIterator[AbstractConnection]:  # noqa: F811
    async with await aio_pika.connect(amqp_url) as opened:
        yield opened


@pytest.fixture
async def channel(connection: AbstractConnection) -> AbstractChannel:
    """For what the broker may refuse, which closes it."""
    return await connection.channel()


@pytest.fixture
async def exchange(connection: AbstractConnection) -> AsyncIterator[AbstractExchange]:
    channel = await connection.channel()
    declared = await channel.declare_exchange(f"exchange/test/{slugid()}", "topic", durable=True)
    yield declared
    await channel.exchange_delete(declared.name)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
async def queues(amqp_url: str, sqlite_database: Database, recorder: Recorder) -> AsyncIterator[HookQueues]:  # noqa: F811
    running = HookQueues(sqlite_database, amqp_url, recorder)
    running.start()
    await reconciled(running)
    yield running
    await sqlite_database.write(lambda tx: definitions.remove(tx, KEY))
    await reconciled(running)
    await running.stop()


async def reconciled(queues: HookQueues) -> None:
    """Until the queues are as the definitions say."""
    async with asyncio.timeout(30):
        await queues.reconciled.wait()
    queues.reconciled.clear()


def definition(*bindings: tuple[str, str]) -> CreateHookRequest:
    bound = tuple(HookBinding(exchange=name, routing_key_pattern=pattern) for name, pattern in bindings)
    return CreateHookRequest.model_validate(hook()).model_copy(update={"bindings": bound})


async def bind(database: Database, queues: HookQueues, *bindings: tuple[str, str]) -> None:
    """Create or change the hook, and wait until its queue follows."""
    queues.reconciled.clear()
    wanted = definition(*bindings)
    async with database.read() as connection:
        change = definitions.update if await store.get(connection, KEY) else definitions.create
    await database.write(lambda tx: change(tx, KEY, wanted, slugid))
    await reconciled(queues)


async def tell(exchange: AbstractExchange, key: str, value: object) -> None:
    await exchange.publish(aio_pika.Message(json.dumps(value).encode()), routing_key=key)


async def heard(recorder: Recorder) -> object:
    async with asyncio.timeout(30):
        return (await recorder.heard.get())[2]


async def test_a_hook_hears_what_it_is_bound_to_and_nothing_else(
    sqlite_database: Database, queues: HookQueues, exchange: AbstractExchange, recorder: Recorder
) -> None:
    await bind(sqlite_database, queues, (exchange.name, "build.*.done"))
    await tell(exchange, "build.linux.failed", 1)
    await tell(exchange, "build.linux.done", 2)
    async with asyncio.timeout(30):
        assert await recorder.heard.get() == (KEY, exchange.name, 2)


async def test_bindings_follow_the_definition(
    sqlite_database: Database, queues: HookQueues, exchange: AbstractExchange, recorder: Recorder
) -> None:
    await bind(sqlite_database, queues, (exchange.name, "old"))
    await bind(sqlite_database, queues, (exchange.name, "new"))
    await tell(exchange, "old", 1)
    await tell(exchange, "new", 2)
    assert await heard(recorder) == 2


async def test_the_queue_of_a_hook_that_is_gone_is_deleted(
    sqlite_database: Database, queues: HookQueues, exchange: AbstractExchange, channel: AbstractChannel
) -> None:
    await bind(sqlite_database, queues, (exchange.name, "#"))
    assert await channel.get_queue(queues.name_of(KEY))
    queues.reconciled.clear()
    await sqlite_database.write(lambda tx: definitions.remove(tx, KEY))
    await reconciled(queues)
    with pytest.raises(ChannelNotFoundEntity):
        await channel.get_queue(queues.name_of(KEY))
    async with sqlite_database.read() as connection:
        assert await queue_rows.every(connection) == {}


async def test_an_exchange_that_is_not_there_yet_does_not_stand_in_the_way_of_others(
    sqlite_database: Database,
    queues: HookQueues,
    exchange: AbstractExchange,
    channel: AbstractChannel,
    recorder: Recorder,
) -> None:
    later = f"exchange/test/{slugid()}"
    await bind(sqlite_database, queues, (later, "#"), (exchange.name, "#"))
    await tell(exchange, "any", 1)
    assert await heard(recorder) == 1
    declared = await channel.declare_exchange(later, "topic", durable=True)
    await bind(sqlite_database, queues, (later, "#"), (exchange.name, "#"))
    await tell(declared, "any", 2)
    assert await heard(recorder) == 2
    await channel.exchange_delete(later)


async def test_an_exchange_whose_name_cannot_be_sent_does_not_stand_in_the_way_of_others(
    sqlite_database: Database, queues: HookQueues, exchange: AbstractExchange, recorder: Recorder
) -> None:
    await bind(sqlite_database, queues, ("exchange/<name>", "#"), (exchange.name, "old"))
    await bind(sqlite_database, queues, ("exchange/{name}", "#"), (exchange.name, "new"))
    await tell(exchange, "new", 1)
    assert await heard(recorder) == 1
    async with sqlite_database.read() as connection:
        assert await queue_rows.every(connection) == {KEY: {(exchange.name, "new")}}


async def test_a_message_that_fails_comes_once_more(
    sqlite_database: Database, queues: HookQueues, exchange: AbstractExchange, recorder: Recorder
) -> None:
    await bind(sqlite_database, queues, (exchange.name, "#"))
    recorder.failures = 2
    await tell(exchange, "any", "fails")
    assert [await heard(recorder), await heard(recorder)] == ["fails", "fails"]
    await tell(exchange, "any", "next")
    assert await heard(recorder) == "next"


async def test_a_change_that_nobody_saw_is_caught_up_with_at_the_start(
    amqp_url: str,  # noqa: F811
    sqlite_database: Database,
    exchange: AbstractExchange,
    channel: AbstractChannel,
    recorder: Recorder,
) -> None:
    first = HookQueues(sqlite_database, amqp_url, recorder)
    first.start()
    await reconciled(first)
    await bind(sqlite_database, first, (exchange.name, "#"))
    await first.stop()
    await sqlite_database.write(lambda tx: definitions.remove(tx, KEY))
    second = HookQueues(sqlite_database, amqp_url, recorder)
    second.start()
    async with asyncio.timeout(30):
        while (await _rows(sqlite_database)) != {}:
            await reconciled(second)
    with pytest.raises(ChannelNotFoundEntity):
        await channel.get_queue(second.name_of(KEY))
    await second.stop()


async def _rows(database: Database) -> object:
    async with database.read() as connection:
        return await queue_rows.every(connection)


def test_the_name_of_a_queue_fits_into_amqp(sqlite_database: Database, recorder: Recorder) -> None:
    queues = HookQueues(sqlite_database, "amqp://releng:secret@localhost", recorder)
    assert queues.name_of(KEY) == "queue/releng/project-releng/nightly/linux"
    names = {queues.name_of(("g", "h" * length)) for length in (300, 301)}
    assert len(names) == 2
    assert max(map(len, names)) <= 255
