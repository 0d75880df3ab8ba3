"""Checks of what is reached over the network: the broker with its exchanges, and the HTTP server."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final

import aiohttp
from aio_pika.exceptions import ChannelNotFoundEntity

from events.address import Address
from events.connection import connect, disconnect
from events.errors import BrokerUnavailable
from events.exchanges import EXCHANGES
from queue_service.doctor.database import clocks
from queue_service.doctor.finding import Finding, failure, ok, warning
from queue_service.settings import EVERY_ADDRESS, Settings

CONNECT_SECONDS: Final = 5.0
WHOLE_SECONDS: Final = timedelta(seconds=1)
"""In which HTTP tells the time."""


async def broker(settings: Settings) -> AsyncIterator[Finding]:
    """Whether the broker is reachable, and knows the exchanges."""
    url = settings.amqp_url or _built_in(settings)
    address = Address.parse(url)
    try:
        connection = await connect(url, "taskbus doctor")
    except BrokerUnavailable as error:
        if settings.amqp_url:
            yield failure(
                "broker",
                f"{error}; events wait in the outbox",
                "start it, or correct TASKBUS_AMQP_URL",
            )
        else:
            yield warning(
                "broker",
                f"nothing answers at {address}, where the built-in broker would be",
                "it starts and ends with `taskbus serve`",
            )
        return
    try:
        yield ok("broker", f"reachable: {address}")
        missing = [name for name in _names() if not await _is_declared(connection, name)]
        if missing:
            yield warning(
                "exchanges",
                f"{len(missing)} of {len(EXCHANGES)} are not declared, {missing[0]} among them",
                "the service declares them when it connects: see that one runs, and what its log says",
            )
        else:
            yield ok("exchanges", f"all {len(EXCHANGES)} are declared")
    finally:
        await disconnect(connection)


def _built_in(settings: Settings) -> str:
    host = f"[{settings.amqp_host}]" if ":" in settings.amqp_host else settings.amqp_host
    return f"amqp://guest:guest@{host}:{settings.amqp_port}/"


def _names() -> list[str]:
    return [exchange.full_name for exchange in EXCHANGES]


async def _is_declared(connection: Any, name: str) -> bool:
    """On a channel of its own: the broker closes it when there is no such exchange."""
    channel = await connection.channel()
    try:
        await channel.get_exchange(name)
    except ChannelNotFoundEntity:
        return False
    else:
        await channel.close()
        return True


async def server(settings: Settings) -> AsyncIterator[Finding]:
    """Whether somebody serves where clients are sent to, what it says of itself, and its clock."""
    url = _reached_at(settings)
    timeout = aiohttp.ClientTimeout(total=CONNECT_SECONDS)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session:
            began = datetime.now(UTC)
            async with session.get(f"{url}/api/queue/v1/__heartbeat__") as reply:
                facts = await reply.json(content_type=None)
                date = reply.headers.get("date")
                yield _heartbeat(url, reply.status, facts if isinstance(facts, dict) else {})
    except (aiohttp.ClientError, ValueError, OSError) as error:
        yield warning(
            "HTTP server",
            f"does not answer at {url}: {error or 'not in time'}",
            "start it (`taskbus serve`, `taskbus api`), or correct TASKBUS_ROOT_URL, which clients use",
        )
        return
    if date is not None:
        theirs, ours = parsedate_to_datetime(date) + WHOLE_SECONDS / 2, began
        skew = max(abs(theirs - ours) - WHOLE_SECONDS, timedelta())
        yield clocks("clock of the HTTP server", skew)


def _reached_at(settings: Settings) -> str:
    """For this machine; where the service listens on every address, this one is as good as any."""
    if not settings.root_url and settings.host in EVERY_ADDRESS:
        return f"http://127.0.0.1:{settings.port}"
    return settings.reached_at


def _heartbeat(url: str, status: int, facts: dict[str, Any]) -> Finding:
    troubles = facts.get("background", {})
    if status == 503:
        says = ", ".join(f"{name}: {fact}" for name, fact in facts.items() if fact not in (True, False, "ok"))
        return failure("HTTP server", f"answers at {url}, but is not ready ({says})", "see its log")
    if status != 200:
        return failure(
            "HTTP server", f"answers {status} at {url}", "see whether a proxy leads to another program"
        )
    if isinstance(troubles, dict) and troubles:
        name, trouble = next(iter(troubles.items()))
        return failure("HTTP server", f"its {name} {trouble}", "see its log, and start it again")
    return ok("HTTP server", f"ready at {url}")
