"""The first example of docs/jobs.md does what the page says."""

import re
from pathlib import Path
from typing import Any

from taskbus import testing

PAGE = Path(__file__).parents[3] / "docs" / "jobs.md"


async def test_the_first_example_runs_and_is_short() -> None:
    (first, *_) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    assert len([line for line in first.splitlines() if line]) < 20
    mailed: list[int] = []

    async def mail(customer: int) -> None:
        mailed.append(customer)

    names: dict[str, Any] = {"mail": mail, "__name__": "billing"}
    exec(first, names)
    async with testing.bus(names["worker"]) as bus:
        await bus.insert(names["SendInvoice"](customer=7))
        assert await bus.run_until_idle() == 1
    assert mailed == [7]
