"""A report of every day, none twice and none left out: ``python -m examples.nightly_report``.

Needs ``taskbus serve`` and, once, a role for the tasks of its trigger:
``taskbus role create 'trigger-id:demo/*' --scope 'queue:create-task:*' --scope 'queue:scheduler-id:*'``.
While it is stopped, days wait; when it runs again, each tick covers up to seven of them.
"""

import asyncio
from datetime import datetime

from taskbus.jobs import Job, JobOptions, Run, Taskbus, Worker

worker = Worker()


class NightlyReport(Job):
    since: datetime
    until: datetime
    options = JobOptions(queue="demo/reports")


@worker.handle(NightlyReport)
async def report(job: NightlyReport, run: Run) -> str:
    return f"what happened from {job.since} until {job.until}"  # kept as the output of the job


async def main(bus: Taskbus, start: str) -> None:
    bus.periodic(
        cron="0 3 * * *",
        window={"size": "1d", "start": {"startTime": start}, "catchUp": 7},
        retries=2,
        args={"since": "${window.from}", "until": "${window.to}"},
        name="demo/nightly-report",
    )(NightlyReport)
    async with bus:
        await worker.run(bus)


if __name__ == "__main__":
    asyncio.run(main(Taskbus.from_env(), "2026-01-01 00:00:00.000 +0000"))
