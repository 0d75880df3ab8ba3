"""Crawl a site with two consumers of one workset: ``python -m examples.crawler http://localhost:8000/``.

Needs ``taskbus serve``. Kill it when you like: what it had leased comes again, what it knows is kept.
"""

import asyncio
import re
import sys
from urllib.parse import urljoin

import aiohttp

from taskbus.jobs import Taskbus

LINK = re.compile(r'href="([^"#]+)')


async def consume(bus: Taskbus, http: aiohttp.ClientSession, site: str, wait: float) -> None:
    urls, pages = bus.workset("demo:crawl", "urls"), bus.kv("demo:crawl/pages")
    async for batch in urls.batches(limit=10, ack="each", lease="30s", wait=wait):
        for member in batch:
            async with http.get(member.id) as response:
                links = {urljoin(member.id, link) for link in LINK.findall(await response.text())}
            await pages.put(member.id, {"status": response.status, "links": sorted(links)})
            new = [link for link in links if link.startswith(site) and not await pages.get(link)]
            if new:
                await urls.add(new)
            await batch.ack(member.id)


async def main(site: str, bus: Taskbus, wait: float = 2.0) -> list[str]:
    async with bus, aiohttp.ClientSession() as http:
        await bus.workset("demo:crawl", "urls").add([site])
        await asyncio.gather(*(consume(bus, http, site, wait) for _ in range(2)))
        return [page.key async for page in bus.kv("demo:crawl/pages").iterate(site)]


if __name__ == "__main__":
    print("\n".join(asyncio.run(main(sys.argv[1], Taskbus.from_env()))))
