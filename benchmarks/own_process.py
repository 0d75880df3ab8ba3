"""Run a function in a process of its own, started afresh: it shares nothing with the caller but the machine.

``python -m benchmarks.own_process`` is the other side: it reads the call and writes its result, both pickled.
"""

import asyncio
import pickle
import sys
from collections.abc import Callable
from typing import Any, Final, TypeVar

Result = TypeVar("Result")

SIZE_BYTES: Final = 8
"""The length of a result stands before it: nobody waits for the process to end."""


class ProcessFailed(Exception):
    """The function raised, or the process ended without a result. Its traceback is on standard error."""


async def in_own_process(call: Callable[[], Result]) -> Result:
    """The result of ``call``, which must be picklable. The process is killed when the caller is cancelled."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "benchmarks.own_process",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(pickle.dumps(call))
        process.stdin.close()
        size = int.from_bytes(await process.stdout.readexactly(SIZE_BYTES))
        result: Result = pickle.loads(await process.stdout.readexactly(size))
    except asyncio.IncompleteReadError:
        raise ProcessFailed("the process ended without a result") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return result


def main() -> None:
    call: Callable[[], Any] = pickle.load(sys.stdin.buffer)
    result = pickle.dumps(call())
    sys.stdout.buffer.write(len(result).to_bytes(SIZE_BYTES) + result)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
