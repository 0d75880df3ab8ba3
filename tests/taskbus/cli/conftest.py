"""Commands run in this process, with the environment a fresh shell would have."""

import os
from collections.abc import Callable

import pytest
from typer.testing import CliRunner, Result

from taskbus.cli.app import app

Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """``run("task", "status", id)``; the result has exit_code, stdout and stderr."""
    for variable in os.environ:
        if variable.startswith(("TASKBUS_", "TASKCLUSTER_")):
            monkeypatch.delenv(variable)
    runner = CliRunner()

    def run(*arguments: str, input: str | None = None) -> Result:
        return runner.invoke(app, list(arguments), input=input, prog_name="taskbus")

    return run
