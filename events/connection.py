"""Connecting to the broker for listening, and how long to wait between tries.

These are plain connections, not aio-pika's robust ones: a robust connection restores itself piece by piece,
and a piece that it misses leaves a listener that looks alive and hears nothing. Here a connection has one
life. Whoever uses it watches it, and after a loss builds everything anew.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import aio_pika
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import AMQPError

from events.address import Address

logger = logging.getLogger(__name__)

# The library logs a traceback for every lost link, which the listener tells in one line. A program that has
# set this logger's level keeps what it asked for.
if (noisy := logging.getLogger("aiormq.connection")).level == logging.NOTSET:
    noisy.setLevel(logging.CRITICAL)

CONNECT_TIMEOUT: Final = 10.0
CLOSE_TIMEOUT: Final = 2.0

BROKER_ERRORS: Final = (AMQPError, OSError, TimeoutError, RuntimeError)
"""What a call to the broker raises when it is refused or its connection is gone."""


async def connect(url: str, name: str) -> AbstractConnection:
    """Open a connection that the broker shows under ``name``.

    Raises BrokerUnavailable with the reason and what to do about it.
    """
    address = Address.parse(url)
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            return await aio_pika.connect(
                url,
                ssl_context=address.tls,
                client_properties={"connection_name": name},
                heartbeat=address.heartbeat,
            )
    except BROKER_ERRORS as error:
        raise address.unreachable(error) from error


async def disconnect(connection: AbstractConnection) -> None:
    """Close a connection, whatever state it is in; gives up waiting for a peer that is gone."""
    with suppress(*BROKER_ERRORS):
        async with asyncio.timeout(CLOSE_TIMEOUT):
            await connection.close()


class Backoff:
    """Waits between tries: doubling from ``first`` to ``longest`` seconds, each shortened by up to a half.

    ``chance`` gives numbers from 0 to 1 and keeps many listeners from trying in step.
    """

    def __init__(
        self, first: float = 0.5, longest: float = 30.0, chance: Callable[[], float] = random.random
    ) -> None:
        self._first = first
        self._longest = longest
        self._chance = chance
        self._next = first

    def next(self) -> float:
        """Seconds to wait before the next try."""
        delay = self._next * (1 - self._chance() / 2)
        self._next = min(self._next * 2, self._longest)
        return delay

    def reset(self) -> None:
        """A try succeeded."""
        self._next = self._first

    def another(self) -> "Backoff":
        """A fresh one with the same settings."""
        return Backoff(self._first, self._longest, self._chance)
