"""One suite, two brokers: a test that asks for `amqp_url` runs on the embedded one, bare and with a journal,
and on RabbitMQ.
"""

import logging
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from pamqp.commands import Queue

from events.broker import Broker
from tests.broker.peer import Peer, PeerChannel, connected, unique


@pytest.fixture(params=["embedded", "journal", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
async def amqp_url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    if request.param == "rabbitmq":
        yield request.getfixturevalue("rabbitmq_url")
        return
    async with Broker(journal=tmp_path / "journal" if request.param == "journal" else None) as broker:
        yield broker.url


@pytest.fixture
async def broker() -> AsyncIterator[Broker]:
    """The embedded broker, for what only it promises."""
    async with Broker() as broker:
        yield broker


@pytest.fixture
async def peer(amqp_url: str) -> AsyncIterator[Peer]:
    async with connected(amqp_url) as peer:
        yield peer


@pytest.fixture
async def channel(peer: Peer) -> PeerChannel:
    return await peer.open()


@pytest.fixture
async def shared_name(amqp_url: str) -> AsyncIterator[Callable[[], str]]:
    """Names for queues that outlive a connection; the queues are deleted after the test."""
    names: list[str] = []

    def make() -> str:
        names.append(unique("shared"))
        return names[-1]

    yield make
    async with connected(amqp_url) as peer:
        channel = await peer.open()
        for name in names:
            await channel.call(Queue.Delete(queue=name))


@pytest.fixture(autouse=True)
def no_failure_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """A fault of its own the broker answers with 541 and an error in its log: here that is a failure."""
    yield
    failures = [
        record.getMessage() + (record.exc_text or "")
        for record in caplog.records
        if record.name.startswith("events.broker") and record.levelno >= logging.ERROR
    ]
    assert not failures
