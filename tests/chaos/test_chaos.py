"""One short round of each of the most telling faults; ``make chaos`` plays many, of all of them."""

from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest
import pytest_asyncio

from tests.chaos.plan import Plan, fault
from tests.chaos.run import SHOWN, Chaos, chaos
from tests.conftest import REQUIRED
from tests.servers.probes import NotUsable

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.postgres,
    pytest.mark.rabbitmq,
    pytest.mark.timeout(300),
    pytest.mark.asyncio(loop_scope="module"),
]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def player(rabbitmq_url: str) -> AsyncIterator[Chaos]:
    """Its PostgreSQL is not that of the session: it is killed."""
    try:
        async with chaos(rabbitmq_url, hurried=True) as player:
            yield player
    except NotUsable as reason:
        if REQUIRED:
            pytest.fail(str(reason), pytrace=False)
        pytest.skip(str(reason))


@pytest.mark.parametrize(
    ("topology", "kinds"),
    [
        ("split", ["kill database", "kill worker"]),
        ("split", ["kill at point"]),
        ("split", ["freeze worker", "freeze server"]),
        ("sqlite", ["disk full"]),
    ],
    ids=lambda value: value if isinstance(value, str) else " and ".join(value),
)
async def test_nothing_is_lost_doubled_or_out_of_order(
    player: Chaos, tmp_path: Path, topology: str, kinds: list[str]
) -> None:
    random = Random()
    plan = Plan(0, topology, tuple(fault(random, kind) for kind in kinds))
    played = await player.play(plan)
    violations = [violation[:SHOWN] for violation in played.outcome.violations]
    assert not violations, f"{played.write_history(tmp_path)}: {violations}"
    assert played.outcome.faults.total() == len(kinds)
    assert played.outcome.tasks > 0
