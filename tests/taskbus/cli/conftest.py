"""Commands run in this process, with the environment a fresh shell would have."""

from collections.abc import Callable

import pytest
from typer.testing import CliRunner, Result

from taskbus.cli.app import app

Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """``run("task", "status", id)``; the result has exit_code, stdout and stderr."""
    for variable in ("TASKBUS_ROOT_URL", "TASKCLUSTER_ROOT_URL", "TASKBUS_AMQP_URL"):
        monkeypatch.delenv(variable, raising=False)
    runner = CliRunner()

    def run(*arguments: str, input: str | None = None) -> Result:
        return runner.invoke(app, list(arguments), input=input, prog_name="taskbus")

    return run
