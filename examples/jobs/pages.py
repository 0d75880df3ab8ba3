"""Jobs that look at web pages: ``python -m examples.jobs.pages https://example.com https://example.org``.

Needs ``taskbus serve``, credentials, and ``taskbus worker --jobs examples.jobs.pages:worker``: see README.md.
"""

import asyncio
import sys
from urllib.error import HTTPError
from urllib.request import urlopen

from taskbus.jobs import Job, JobOptions, Run, Taskbus, Worker, exponential

worker = Worker(concurrency=4)


class LookAt(Job):
    """What makes a job: its arguments, and what the queue and workers should do with it."""

    url: str
    options = JobOptions(queue="examples/pages", max_attempts=5, retry=exponential(base="2s", max="1m"))


@worker.handle(LookAt)
def look_at(job: LookAt, run: Run) -> dict[str, int]:
    """The work. It may wait, so it is a plain function, in a thread; an error means another attempt."""
    try:
        with urlopen(job.url, timeout=10) as page:
            return {"bytes": len(page.read())}
    except HTTPError as error:
        if error.code == 404:
            run.cancel("there is no such page")
        if error.code == 429 and (wait := error.headers.get("Retry-After", "")).isdigit():
            run.snooze(int(wait))
        raise


async def main(*urls: str) -> None:
    async with Taskbus.from_env() as bus:
        for result in await bus.insert_many([LookAt(url=url) for url in urls]):
            print(result.task_id)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
