"""Request bodies for the contract tests: a full valid one of each kind, and odd values for its members."""

from typing import Any, Final

SLUG: Final = "fN1SbArXTPSVFNUvaOlinQ"
EXAMPLES: Final[dict[str, dict[str, Any]]] = {
    "create-task-request": {
        "provisionerId": "prov",
        "workerType": "worker-type",
        "taskQueueId": "prov/worker-type",
        "schedulerId": "scheduler",
        "projectId": "some/project.name",
        "taskGroupId": SLUG,
        "dependencies": [SLUG],
        "requires": "all-completed",
        "routes": ["index.some.route"],
        "priority": "high",
        "retries": 5,
        "created": "2024-05-01T12:00:00.123Z",
        "deadline": "2024-05-02T12:00:00.123Z",
        "expires": "2025-05-02T12:00:00.123Z",
        "scopes": ["a:scope"],
        "payload": {"command": ["true"]},
        "metadata": {
            "name": "a name",
            "description": "what it is",
            "owner": "someone@example.com",
            "source": "https://example.com/source",
        },
        "tags": {"kind": "test"},
        "extra": {"anything": [1, None]},
    },
    "tasks-request": {"taskIds": [SLUG]},
    "change-task-priority-request": {"newPriority": "low"},
    "claim-work-request": {"workerGroup": "group", "workerId": "worker", "tasks": 3},
    "task-claim-request": {"workerGroup": "group", "workerId": "worker"},
    "task-exception-request": {"reason": "worker-shutdown"},
    "quarantine-worker-request": {
        "quarantineUntil": "2024-06-01T12:00:00.123Z",
        "quarantineInfo": "its disk is full",
    },
    "update-worker-request": {"expires": "2024-06-01T12:00:00.123Z"},
    "post-artifact-request s3": {
        "storageType": "s3",
        "expires": "2024-06-01T12:00:00.123Z",
        "contentType": "text/plain; charset=utf-8",
        "contentLength": 1024,
    },
    "post-artifact-request object": {
        "storageType": "object",
        "expires": "2024-06-01T12:00:00.123Z",
        "contentType": "application/gzip",
        "contentLength": 0,
    },
    "post-artifact-request reference": {
        "storageType": "reference",
        "expires": "2024-06-01T12:00:00.123Z",
        "url": "https://user@example.com:8443/logs/live?from=0#end",
        "contentType": "text/plain",
    },
    "post-artifact-request link": {
        "storageType": "link",
        "expires": "2024-06-01T12:00:00.123Z",
        "artifact": "public/logs/live_backing.log",
        "contentType": "text/plain",
    },
    "post-artifact-request error": {
        "storageType": "error",
        "expires": "2024-06-01T12:00:00.123Z",
        "reason": "file-missing-on-worker",
        "message": "there is no build/target.zip",
    },
    "finish-artifact-request": {"uploadId": SLUG},
    "task-metadata": {
        "name": "a name",
        "description": "what it is",
        "owner": "someone@example.com",
        "source": "git@example.com:source",
    },
}
"""A valid body of every request, with every member; of each of its shapes, when it has several."""

# fmt: off
NUMBERS: Final = (0, 1, 5, 5.0, 5.5, -1, 31, 32, 33, 49, 50, 1001, 1714564800, 10**18, 1e300)
LENGTHS: Final = tuple(
    "a" * length for length in (1, 38, 39, 249, 250, 255, 256, 500, 501, 4096, 4097, 32768, 32769)
)
WIDE: Final = ("ä", "é" * 250, "😀" * 249, "😀" * 250, "x\x00", "x\x7f", "a\tb", "a b", " ", "")
WORDS: Final = (
    "5", "-", "_", "A", "~", "-a", "a-", "a.b", "all-resolved", "normal", "highest", "HIGH", "canceled",
    "superseded",
)
IDS: Final = (SLUG[:-1], SLUG + "A", SLUG[:-1] + "B", "-" + SLUG[1:])
QUEUES: Final = ("p/w", "p/W", "p/w/w", "p/", "/w", "p.p/w", "p/w-")
SOURCES: Final = (
    "http://x", "https://", "ssh://x", "git@", "ftp://x", "HTTPS://x",
    " https://x", "https://a b", "https://" + "a" * 4088, "https://" + "a" * 4089,
)
URIS: Final = (
    "urn:a:b", "http://[::1]:80/", "file:///x", "data:,x", "mailto:x@y", "x:", "x:?#", "//host/path", "/path",
    "http://a b", "http://a/%zz", "http://a/%C3%A9", "http://é", "https://a#b#c", "https://a?b?c", "1x:y",
    "https://x\r\ny:", "javascript:alert(1)",
)
TIMES: Final = (
    "2024-05-01T12:00:00Z", "2024-05-01T12:00:00", "2024-05-01", "2024-05-01T12:00Z", "20240501T120000Z",
    "2024-W18-3T12:00:00Z", "2024-05-01T12:00:00+02:00", "2024-05-01T12:00:00+0200",
    "2024-05-01T12:00:00+24:00", "2024-05-01T12:00:00+02:60", "2024-05-01T12:00:00.123456789-11:30",
    "2024-05-01T12:00:00.Z", "2024-05-01T12:00:00,5Z", "2024-02-29T00:00:00Z", "2023-02-29T00:00:00Z",
    "2024-13-01T12:00:00Z", "2024-05-01T24:00:00Z", "2024-05-01T12:60:00Z", "2024-05-01T12:00:60Z",
    "0000-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z", "+12024-05-01T12:00:00Z",
    "٢٠٢٤-05-01T12:00:00Z",
)
# fmt: on
LISTS: Final[tuple[list[Any], ...]] = (
    *([], [None], [1], [""], ["a"], ["a", "a"], ["a", "b"], [["a"]], [{}]),
    *([SLUG], [SLUG, SLUG], [SLUG + "\n"], ["a" * 249], ["a" * 250]),
    *([f"r{n}" for n in range(64)], [f"r{n}" for n in range(65)]),
)
OBJECTS: Final[tuple[dict[str, Any], ...]] = (
    *({}, {"a": "b"}, {"a": 1}, {"a": None}, {"": ""}, {"é": "é"}, {"a": ["b"]}, {"a": {"b": "c"}}),
    *({"a": "b" * 4096}, {"a": "b" * 4097}),
)
ODD_VALUES: Final[tuple[Any, ...]] = (
    *(
        None,
        True,
        False,
        *NUMBERS,
        *LENGTHS,
        *WIDE,
        *WORDS,
        *IDS,
        *QUEUES,
        *SOURCES,
        *URIS,
        *TIMES,
        *LISTS,
        *OBJECTS,
    ),
)
"""At, below and above limits, wrong types, near misses."""
