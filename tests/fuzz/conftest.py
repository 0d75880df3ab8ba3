"""A service that gives up quickly, for those who abuse it."""

from collections.abc import Iterator
from typing import Final

import pytest

from tests.clients.deployment import Deployment, deployed

CONNECTIONS: Final = 1_200


@pytest.fixture(scope="session")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Connections without a complete request are closed after a second, and more than 1,200 at once."""
    directory = tmp_path_factory.mktemp("abuse")
    with deployed(directory, idle_timeout="1", max_connections=str(CONNECTIONS)) as service:
        yield service
