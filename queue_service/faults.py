"""Named crash points: where the fault tests kill the process between two effects.

``point(name)`` does nothing unless ``TASKBUS_CRASH_AT`` names it; then the process ends at once, as by
SIGKILL. Code between two effects that must both happen calls it.
"""

import os
import signal
from typing import Final

CRASH_AT: Final = os.environ.get("TASKBUS_CRASH_AT", "")


def point(name: str) -> None:
    """End the process here when the environment asks for it."""
    if CRASH_AT and name == CRASH_AT:
        os.kill(os.getpid(), signal.SIGKILL)
