"""Who may import whom: the light packages stay light, and the layers of the server point one way."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent

SERVER = {"queue_service", "sqlalchemy", "fastapi", "starlette", "uvicorn", "alembic"}
WITH_THE_SERVER = {
    "taskbus.testing",  # runs the service in the test's process
    "taskbus.jobs.transaction",  # writes what the service would write, in the user's transaction
}
"""Modules of a light package that are for programs which have the server's packages."""


def loaded_by(package: str) -> set[str]:
    """The top-level packages in a fresh interpreter after it imported the package and all of its modules."""
    program = (
        "import importlib, json, pkgutil, sys\n"
        f"package = importlib.import_module({package!r})\n"
        f"for module in pkgutil.walk_packages(package.__path__, {package + '.'!r}):\n"
        f"    if not module.name.endswith('__main__') and module.name not in {WITH_THE_SERVER}:\n"
        "        importlib.import_module(module.name)\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, timeout=60
    )
    return set(json.loads(done.stdout))


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("schemas", SERVER | {"events", "taskbus", "aio_pika", "aiormq", "aiohttp"}),
        ("events", SERVER | {"taskbus"}),
        ("taskbus", SERVER),
    ],
)
def test_a_light_package_does_not_load_the_server(package: str, forbidden: set[str]) -> None:
    assert not loaded_by(package) & forbidden


def test_the_arrows_of_the_architecture_hold() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
