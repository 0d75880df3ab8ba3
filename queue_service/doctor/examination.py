"""The order of the checks. One that fails in a way nobody foresaw is a failure, and the next one goes on."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Final

from queue_service.doctor import database, machine, network
from queue_service.doctor.finding import Finding, failure, ok
from queue_service.secret_key import NoSecretKey, secret_of
from queue_service.settings import Settings

UNFORESEEN: Final = "report this: the doctor should have known what to say"


async def examine(settings: Settings) -> AsyncIterator[Finding]:
    """Everything the service with these settings needs, whether it runs or not."""
    yield ok("settings", "understood")
    checks: dict[str, Callable[[], AsyncIterator[Finding]]] = {
        "secret key": lambda: _each(machine.key, settings),
        "disks": lambda: _all(machine.disks, settings),
        "database": lambda: database.examine(settings, _secret(settings)),
        "broker": lambda: network.broker(settings),
        "HTTP server": lambda: network.server(settings),
    }
    for subject, check in checks.items():
        try:
            async for finding in check():
                yield finding
        except Exception as error:
            yield failure(subject, f"cannot be examined: {type(error).__name__}: {error}", UNFORESEEN)


def _secret(settings: Settings) -> bytes | None:
    try:
        return secret_of(settings, make=False)
    except NoSecretKey:
        return None  # the check of the key says so


async def _each(check: Callable[[Settings], Finding], settings: Settings) -> AsyncIterator[Finding]:
    yield check(settings)


async def _all(check: Callable[[Settings], Iterator[Finding]], settings: Settings) -> AsyncIterator[Finding]:
    for finding in check(settings):
        yield finding
