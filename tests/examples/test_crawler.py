"""The crawler visits every page of a site of its own, each of them kept, and leaves nothing behind."""

from collections import Counter
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from examples import crawler
from taskbus import Kv, Queue
from taskbus.jobs import Taskbus
from tests.examples.conftest import Running

PAGES = {"/": ["/a", "/b/"], "/a": ["/", "/b/c?d=1"], "/b/": ["c", "https://elsewhere.example/"], "/b/c": []}


class Site:
    """A small web site that counts its visitors."""

    def __init__(self) -> None:
        self.visits: Counter[str] = Counter()

    async def answer(self, request: web.Request) -> web.Response:
        self.visits[request.path_qs] += 1
        links = "".join(f'<a href="{link}">' for link in PAGES.get(request.path, []))
        return web.Response(text=links, content_type="text/html")


@pytest.fixture
async def site() -> AsyncIterator[tuple[Site, str]]:
    visited = Site()
    application = web.Application()
    application.router.add_get("/{path:.*}", visited.answer)
    async with TestServer(application) as server:
        yield visited, str(server.make_url("/"))


async def test_crawler_visits_every_page(service: Running, site: tuple[Site, str]) -> None:
    visited, root = site
    found = await crawler.main(root, Taskbus(Queue(service.root_url)), wait=0.3)
    assert found == sorted(root[:-1] + path for path in ("/", "/a", "/b/", "/b/c", "/b/c?d=1"))
    assert set(visited.visits) == {"/", "/a", "/b/", "/b/c", "/b/c?d=1"}
    async with Kv(service.root_url) as client:
        counts = await client.workset("demo:crawl", "urls").counts()
        assert (counts.available, counts.leased, counts.dead) == (0, 0, 0)
        assert (await client.kv("demo:crawl/pages").get(f"{root}a"))["status"] == 200
