"""Does a usable PostgreSQL or RabbitMQ answer at a URL?"""

import asyncio
import socket
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final
from urllib.parse import urlsplit

import aiormq
import asyncpg

ANSWER_SECONDS: Final = 5.0


class NotUsable(Exception):
    """One way to a server did not work; the text says why."""


def probe_postgres(url: str, *, fsync: bool) -> None:
    """Raise NotUsable unless a PostgreSQL lets us in; with ``fsync`` it must write through to the disk."""

    async def ask() -> str:
        connection = await asyncpg.connect(url, timeout=ANSWER_SECONDS)
        try:
            return str(await connection.fetchval("SHOW fsync"))
        finally:
            await connection.close(timeout=ANSWER_SECONDS)

    if _answer(url, 5432, ask()) == "off" and fsync:
        raise NotUsable("it runs with fsync=off")


def probe_rabbitmq(url: str) -> None:
    """Raise NotUsable unless a RabbitMQ lets us in; another AMQP broker, such as our own, proves nothing."""

    async def ask() -> object:
        async with asyncio.timeout(ANSWER_SECONDS):
            connection = await aiormq.connect(url)
            try:
                return connection.server_properties.get("product")
            finally:
                await connection.close()

    product = _answer(url, 5672, ask())
    if product != "RabbitMQ":
        raise NotUsable(f"the broker there is {product!r}, not RabbitMQ")


def _answer(url: str, default_port: int, question: Coroutine[Any, Any, Any]) -> Any:
    """Await ``question`` in a thread of its own, because an event loop may be running in this one."""
    address = urlsplit(url)
    with ThreadPoolExecutor(1) as aside:
        try:
            # The drivers log each refused connection; a bare one is silent.
            socket.create_connection(
                (address.hostname or "127.0.0.1", address.port or default_port), ANSWER_SECONDS
            ).close()
            return aside.submit(asyncio.run, question).result()
        except (
            OSError,
            TimeoutError,
            asyncpg.PostgresError,
            asyncpg.InterfaceError,
            aiormq.exceptions.AMQPError,
        ) as error:
            raise NotUsable(f"{type(error).__name__}: {error}") from None
        finally:
            question.close()
