"""Ranges of RFC 9110, section 14, as a table."""

import pytest

from queue_service.api.ranges import Unsatisfiable, requested

WHOLE = None
NONE = "none"


@pytest.mark.parametrize(
    ("header", "size", "expected"),
    [
        ("bytes=0-0", 10, (0, 1)),
        ("bytes=0-9", 10, (0, 10)),
        ("bytes=2-4", 10, (2, 3)),
        ("bytes=9-9", 10, (9, 1)),
        ("bytes=2-", 10, (2, 8)),
        ("bytes=0-", 10, (0, 10)),
        ("bytes=2-99", 10, (2, 8)),
        ("bytes=-3", 10, (7, 3)),
        ("bytes=-10", 10, (0, 10)),
        ("bytes=-99", 10, (0, 10)),
        ("Bytes= 2-4 ", 10, (2, 3)),
        ("bytes=00002-4", 10, (2, 3)),
        ("bytes=10-", 10, NONE),
        ("bytes=10-12", 10, NONE),
        ("bytes=-0", 10, NONE),
        ("bytes=0-", 0, NONE),
        ("bytes=0-0", 0, NONE),
        ("bytes=-1", 0, NONE),
        ("", 10, WHOLE),
        ("bytes=4-2", 10, WHOLE),
        ("bytes=-", 10, WHOLE),
        ("bytes=", 10, WHOLE),
        ("bytes=a-b", 10, WHOLE),
        ("bytes=--1", 10, WHOLE),
        ("bytes=1-2-3", 10, WHOLE),
        ("bytes=0-1,3-4", 10, WHOLE),
        ("lines=0-1", 10, WHOLE),
        ("bytes 0-1", 10, WHOLE),
        ("bytes=٢-٤", 10, WHOLE),
        ("bytes=0-" + "9" * 5000, 10, WHOLE),
    ],
)
def test_the_part_that_a_range_asks_for(header: str, size: int, expected: object) -> None:
    if expected == NONE:
        with pytest.raises(Unsatisfiable):
            requested(header, size)
    else:
        assert requested(header, size) == expected
