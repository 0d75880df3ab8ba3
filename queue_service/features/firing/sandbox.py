"""What users wrote is computed in a process of its own, which is killed when it takes too long or too much.

JSON-e computes and JSON Schema has regular expressions: thirty characters of either can keep a processor busy
for hours. Whoever may write a template must not be able to stop the service. Run as a program, this module is
that process: a line of JSON in, a line out.
"""

import asyncio
import json
import resource
import sys
from typing import Any, Final

SECONDS: Final = 5.0
START_SECONDS: Final = 20.0
MAX_LINE: Final = 4 * 1024 * 1024
"""Bytes of a question, such as a template with its context, and of an answer."""
MAX_MEMORY: Final = 512 * 1024 * 1024
MAX_VIOLATIONS: Final = 50
MAX_TEXT: Final = 10_000
_READY: Final = b"ready\n"


class TemplateFailed(Exception):
    """The template cannot be rendered, or not to an object."""


class SandboxFailed(Exception):
    """The question has no answer within the limits."""


class Sandbox:
    """Answers one question after the other; starts its process when it is first needed."""

    def __init__(self, *, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()

    async def render(self, template: dict[str, Any], context: dict[str, Any]) -> dict[str, Any] | None:
        """What a JSON-e template gives in this context; None for nothing. Raises TemplateFailed."""
        try:
            rendered = await self._ask(["render", template, context])
        except SandboxFailed as error:
            raise TemplateFailed(f"the template cannot be rendered: {error}") from None
        if not rendered:
            return None
        if not isinstance(rendered, dict):
            raise TemplateFailed(f"the template rendered to {type(rendered).__name__}; expected an object")
        return rendered

    async def violations(self, schema: dict[str, Any], value: Any) -> list[str]:
        """How a value violates a JSON Schema, each with its place; empty when it does not."""
        try:
            found: list[str] = await self._ask(["violations", schema, value])
        except SandboxFailed as error:
            return [f"`/`: it cannot be checked: {error}"]
        return found

    async def close(self) -> None:
        """End the process; whoever waits for an answer gets none."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            process.kill()
            await process.wait()

    async def _ask(self, question: list[Any]) -> Any:
        line = json.dumps(question).encode() + b"\n"
        if len(line) > MAX_LINE:
            raise SandboxFailed(f"it takes {len(line)} bytes with all that it is given, at most {MAX_LINE}")
        async with self._turn:
            answer = await self._answer(line)
        if "error" in answer:
            raise SandboxFailed(answer["error"])
        return answer["result"]

    async def _answer(self, line: bytes) -> Any:
        process = self._process or await self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        answer = b""
        try:
            async with asyncio.timeout(self._seconds):
                process.stdin.write(line)
                await process.stdin.drain()
                answer = await process.stdout.readline()
        except TimeoutError:
            raise SandboxFailed(f"it takes more than {self._seconds:g} s") from None
        except (OSError, ValueError):  # the process died, or its line is longer than the limit
            answer = b""
        finally:
            if not answer.endswith(b"\n"):
                await self.close()
        if not answer.endswith(b"\n"):
            raise SandboxFailed("it takes too much memory")
        return json.loads(answer)

    async def _started(self) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            *[sys.executable, "-m", __name__],
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=MAX_LINE,
        )
        self._process = process
        assert process.stdout is not None
        try:
            async with asyncio.timeout(START_SECONDS):
                ready = await process.stdout.readline()
        except TimeoutError:
            ready = b""
        if ready != _READY:
            await self.close()
            raise SandboxFailed("the process that computes it did not start")
        return process


def main() -> None:
    """Answer what comes in until the input ends."""
    import jsone  # of this process alone, as is the next

    from queue_service.features.firing.json_schema import violations

    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    sys.stdout.buffer.write(_READY)
    sys.stdout.flush()
    for line in sys.stdin.buffer:
        kind, first, second = json.loads(line)
        try:
            if kind == "render":
                result = jsone.render(first, second)
            else:
                result = violations(first, second, MAX_VIOLATIONS, MAX_TEXT)
            answer = json.dumps({"result": result})
        except MemoryError:
            raise
        except Exception as error:  # an interpreter raises anything when it is given anything
            answer = json.dumps({"error": str(error)[:MAX_TEXT]})
        sys.stdout.write(answer + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
