"""Load a file and follow the job: ``python -m examples.etl orders.csv``; needs a service and a worker."""

import asyncio
import sys

from examples.etl.job import FileEtl
from taskbus.jobs import Taskbus


async def main(file: str, area: str = "orders") -> str:
    async with Taskbus.from_env() as bus:
        await bus.register(FileEtl)
        job = await bus.submit(
            FileEtl(file_id=file, area_id=area, env_id="dev", tenant_id="acme"), env_id="dev"
        )
        while job.state in ("PENDING", "RUNNING"):
            await asyncio.sleep(0.5)
            job = await bus.jobs.job(job.job_id)
            steps = ", ".join(f"{step.name} {step.state}" for step in job.steps)
            print(f"{job.state} {job.progress.percent:g} %: {steps}")
        return f"{job.state} {job.output or [error.error for error in job.errors or ()]}"


if __name__ == "__main__":
    print(asyncio.run(main(*sys.argv[1:])))
