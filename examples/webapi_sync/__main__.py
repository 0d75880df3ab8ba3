"""Sync from a web API of its own: ``python -m examples.webapi_sync``; needs a service and a worker."""

import asyncio
import sys

from aiohttp import web

from examples.webapi_sync.job import WebapiSync
from taskbus.jobs import Taskbus

PAGE, ROWS = 10, 35


async def stream(request: web.Request) -> web.Response:
    """A page of the web API."""
    page = int(request.query["page"])
    ids = range(1 + (page - 1) * PAGE, 1 + min(page * PAGE, ROWS))
    rows = [{"id": id, "name": f" customer {id} "} for id in ids]
    return web.json_response({"rows": rows, "total": ROWS, "next": page + 1 if page * PAGE < ROWS else None})


async def main(file: str = "stream.sqlite", port: int = 0) -> str:
    site = web.Application()
    site.router.add_get("/streams/{stream}", stream)
    runner = web.AppRunner(site)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    source = "http://{}:{}".format(*runner.addresses[0][:2])
    async with Taskbus.from_env() as bus:
        await bus.register(WebapiSync)
        job = await bus.submit(
            WebapiSync(
                stream_id="customers",
                connection_id="crm",
                env_id="dev",
                tenant_id="acme",
                ingestion_gateway=source,
                firestore_gateway=file,
            )
        )
        while job.state in ("PENDING", "RUNNING"):
            await asyncio.sleep(0.5)
            job = await bus.jobs.job(job.job_id)
    await runner.cleanup()
    return f"{job.state} {job.output} " + ", ".join(f"{step.name} {step.state}" for step in job.steps)


if __name__ == "__main__":
    print(asyncio.run(main(*sys.argv[1:])))
