"""Services shared by the whole session: started before the first test that needs them, stopped at the end."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Final

import pytest

from tests.servers import Unavailable, postgres, rabbitmq

pytest_plugins = ["tests.store.planned"]

REQUIRED: Final = bool(os.environ.get("CI")) or os.environ.get("TASKBUS_REQUIRE_SERVICES") == "1"
"""A missing service fails its tests instead of skipping them."""


class Services:
    """The services of one session by name; a failure to get one is remembered and given to every asker."""

    KINDS: Final[dict[str, Callable[[], AbstractContextManager[str]]]] = {
        "postgres": postgres,
        "rabbitmq": rabbitmq,
    }

    def __init__(self) -> None:
        self._held = ExitStack()
        self._outcomes: dict[str, str | Unavailable] = {}

    def get(self, name: str) -> str | Unavailable:
        if name not in self._outcomes:
            try:
                self._outcomes[name] = self._held.enter_context(self.KINDS[name]())
            except Unavailable as missing:
                self._outcomes[name] = missing
        return self._outcomes[name]

    def report(self) -> list[str]:
        return [f"{name}: {outcome}" for name, outcome in self._outcomes.items()]

    def stop(self) -> None:
        self._held.close()


SERVICES: Final = pytest.StashKey[Services]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[SERVICES] = services = Services()
    config.add_cleanup(services.stop)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that ask for a service, so that ``-m 'not rabbitmq'`` works without further ado."""
    for item in items:
        for name in Services.KINDS:
            if f"{name}_url" in getattr(item, "fixturenames", ()):
                item.add_marker(name)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Start what the selected tests need now: no test's time limit pays for it."""
    if not session.config.option.collectonly:
        for name in Services.KINDS:
            if any(item.get_closest_marker(name) for item in session.items):
                session.config.stash[SERVICES].get(name)


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    return config.stash[SERVICES].report()


def _url(request: pytest.FixtureRequest, name: str) -> str:
    outcome = request.config.stash[SERVICES].get(name)
    if isinstance(outcome, str):
        return outcome
    if REQUIRED:
        pytest.fail(str(outcome), pytrace=False)
    pytest.skip(str(outcome))


@pytest.fixture(scope="session")
def postgres_url(request: pytest.FixtureRequest) -> str:
    """A PostgreSQL superuser's URL on a server of this session; make databases of your own in it."""
    return _url(request, "postgres")


@pytest.fixture(scope="session")
def rabbitmq_url(request: pytest.FixtureRequest) -> str:
    """A RabbitMQ's URL, shared by the session; use names of your own in it."""
    return _url(request, "rabbitmq")
