"""Whatever is sent comes back: any bytes in any pieces, with any content type and any encoding."""

import tempfile
from datetime import timedelta
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from queue_service.api.blobs import BlobTransfers
from queue_service.blobs.directory import Directory
from queue_service.blobs.local import LocalBlobs
from queue_service.blobs.urls import SignedUrls
from tests.api.asgi import request
from tests.store.manual_clock import ManualClock

visible = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=255)
encodings = st.text(st.characters(min_codepoint=0x21, max_codepoint=0xFF), max_size=255)
pieces = st.lists(st.binary(max_size=2000), min_size=1, max_size=20)


@settings(max_examples=100, deadline=None)
@given(pieces=pieces, content_type=visible, encoding=encodings, first=st.integers(0, 40_000))
async def test_any_bytes_come_back_as_they_were_sent(
    pieces: list[bytes], content_type: str, encoding: str, first: int
) -> None:
    sent = b"".join(pieces)
    clock = ManualClock()
    with tempfile.TemporaryDirectory() as folder:
        blobs = LocalBlobs(Directory(Path(folder)), SignedUrls("", b"secret"), clock, max_size=len(sent))
        transfers = BlobTransfers(blobs, clock)
        soon = clock.now() + timedelta(hours=1)
        target = await blobs.upload_url(
            "t/1", content_type=content_type, content_length=len(sent), expires=soon
        )
        headers = {"content-type": content_type, "content-length": str(len(sent))}
        if encoding:
            headers["content-encoding"] = encoding
        assert (await request(transfers, "PUT", target, headers=headers, body=pieces)).status == 200
        target = await blobs.download_url("t/1", expires=soon)
        whole = await request(transfers, "GET", target)
        part = await request(transfers, "GET", target, headers={"range": f"bytes={first}-"})
        await blobs.close()
    assert whole.body == sent
    assert whole.header("content-encoding") == (encoding or None)
    assert (whole.header("content-type") or "") == content_type.strip(" ")
    if first < len(sent):
        assert (part.status, part.body) == (206, sent[first:])
    else:
        assert part.status == 416
