"""Crawl a site with two consumers of one workset: ``python -m examples.crawler http://localhost:8000/``.

Needs ``taskbus serve``. Kill it when you like: what it had leased comes again, what it knows is kept.
"""

import asyncio
import re
import sys
from urllib.parse import urljoin

import aiohttp

from taskbus import Kv

LINK = re.compile(r'href="([^"#]+)')


async def consume(client: Kv, http: aiohttp.ClientSession, site: str, wait: float) -> None:
    urls, pages = client.workset("demo:crawl", "urls"), client.kv("demo:crawl/pages")
    async with urls.batches(limit=10, ack="each", lease="30s", wait=wait) as batches:
        async for batch in batches:
            for member in batch:
                async with http.get(member.id) as response:
                    links = {urljoin(member.id, link) for link in LINK.findall(await response.text())}
                await pages.put(member.id, {"status": response.status, "links": sorted(links)})
                new = [link for link in links if link.startswith(site) and not await pages.get(link)]
                if new:
                    await urls.add(new)
                await batch.ack(member.id)


async def main(site: str, root_url: str | None = None, wait: float = 2.0) -> list[str]:
    async with Kv(root_url) as client, aiohttp.ClientSession() as http:
        await client.workset("demo:crawl", "urls").add([site])
        await asyncio.gather(*(consume(client, http, site, wait) for _ in range(2)))
        return [page.key async for page in client.kv("demo:crawl/pages").iterate(site)]


if __name__ == "__main__":
    print("\n".join(asyncio.run(main(sys.argv[1]))))
