"""The example of jobs does what it says, on a web site of the test's own."""

from collections import deque
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from examples.jobs import pages
from taskbus import testing
from tests.examples.conftest import Running

HEADERS = {429: {"Retry-After": "90"}}


class Site(BaseHTTPRequestHandler):
    """Answers with the next of its statuses, and with a page of 5 bytes when that is 200."""

    statuses: deque[int]

    def do_GET(self) -> None:
        status = self.statuses.popleft()
        self.send_response(status)
        for name, value in HEADERS.get(status, {}).items():
            self.send_header(name, value)
        self.end_headers()
        if status == 200:
            self.wfile.write(b"hello")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join()


async def test_a_page_is_looked_at_again_until_it_answers(site: str) -> None:
    Site.statuses = deque([500, 429, 200])
    async with testing.bus(pages.worker) as bus:
        task_id = (await bus.insert(pages.LookAt(url=site))).task_id
        await bus.run_until_idle()
        assert [error.error for error in (await bus.attempts(task_id)).errors] == [
            "HTTPError: HTTP Error 500: Internal Server Error"
        ]
        bus.clock.advance("3s")
        await bus.run_until_idle()
        assert (await bus.attempts(task_id)).available_at == bus.clock.now() + timedelta(seconds=90)
        bus.clock.advance("90s")
        await bus.run_until_idle()
        assert (await bus.attempts(task_id)).output == {"bytes": 5}


async def test_a_page_that_is_not_there_is_not_looked_at_again(site: str) -> None:
    Site.statuses = deque([404])
    async with testing.bus(pages.worker) as bus:
        task_id = (await bus.insert(pages.LookAt(url=site))).task_id
        assert await bus.run_until_idle() == 1
        assert (await bus.queue.status(task_id)).runs[-1].reason_resolved == "canceled"


async def test_the_program_inserts_a_job_for_each_page(
    service: Running, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TASKBUS_ROOT_URL", service.root_url)
    await pages.main("http://one.invalid", "http://two.invalid")
    assert len(capsys.readouterr().out.split()) == 2
