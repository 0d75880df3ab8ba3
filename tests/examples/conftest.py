"""A service in the test's process, on free ports, with SQLite and the built-in broker.

The credentials of its root client are in the environment, where programs look for them.
"""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest
import uvicorn
from pydantic import SecretStr

from queue_service.service import Service
from queue_service.settings import Settings
from taskbus import Credentials, slugid


class Running(NamedTuple):
    """Where the service is reached."""

    root_url: str
    amqp_url: str


@pytest.fixture
async def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    root = Credentials("static/taskbus/root", slugid() + slugid())
    for variable, value in root.to_env().items():
        monkeypatch.setenv(variable, value)
    settings = Settings(
        database_url=f"sqlite:///{tmp_path / 'taskbus.sqlite'}",
        amqp_url="",
        amqp_port=0,
        root_client_id=root.client_id,
        root_access_token=SecretStr(root.access_token),
    )
    async with Service(settings) as service:
        listening = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(
            uvicorn.Config(service.application, lifespan="off", log_config=None, ws="none")
        )
        serving = asyncio.create_task(server.serve([listening]))
        host, port = listening.getsockname()
        yield Running(f"http://{host}:{port}", service.amqp_url)
        server.should_exit = True
        await serving
