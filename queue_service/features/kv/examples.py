"""Example bodies of the API documentation: the state of a deployment, and a crawler's pages."""

from typing import Any, Final

_LEASE: Final = "fN1SbArXTPSVFNUvaOlinQ"
_NOW: Final = "2024-05-01T12:00:00.000Z"
_UNTIL: Final = "2024-05-01T12:01:00.000Z"
_ENTRY: Final = {
    "key": "my-deployment",
    "valueFormat": "json",
    "version": 17,
    "expires": "2024-05-02T12:00:00.000Z",
    "updated": _NOW,
}
_DEPLOYMENT: Final = {"revision": "5f0c2d6", "replicas": 3}
_PAGE: Final = "https://example.com/about"

EXAMPLES: Final[dict[str, dict[str, Any]]] = {
    "put-value-request": {
        "a value": {"value": _DEPLOYMENT, "ttl": 86_400, "ifVersion": 16},
        "a lock": {"value": "worker-7", "valueFormat": "raw-string", "ttl": 30, "ifVersion": 0},
    },
    "entry-response": {"stored": _ENTRY},
    "value-response": {"a value": {**_ENTRY, "value": _DEPLOYMENT}},
    "delete-value-response": {"deleted": {"key": "my-deployment", "deleted": True}},
    "list-values-response": {
        "a page": {"entries": [{**_ENTRY, "value": _DEPLOYMENT}], "continuationToken": "bXktZGVwbG95bWVudA"}
    },
    "workset-settings": {"five times": {"maxDeliveries": 5}},
    "workset-response": {
        "at work": {
            "set": "urls",
            "maxDeliveries": 5,
            "available": 950,
            "delayed": 3,
            "leased": 50,
            "dead": 1,
            "oldestAvailable": _NOW,
        }
    },
    "add-members-request": {
        "two pages": {
            "members": [
                {"id": _PAGE, "payload": {"depth": 1}, "priority": "high"},
                {"id": "https://example.com/", "availableAt": _UNTIL},
            ]
        }
    },
    "add-members-response": {
        "one is new": {"added": 1, "existing": ["https://example.com/"], "requeued": []}
    },
    "pop-request": {
        "a batch": {
            "limit": 50,
            "leaseTtlMs": 60_000,
            "ackMode": "ack-each",
            "consumer": "crawler-1",
            "wait": 20,
        }
    },
    "pop-response": {
        "a batch": {
            "leaseId": _LEASE,
            "expires": _UNTIL,
            "ackMode": "ack-each",
            "members": [{"id": _PAGE, "payload": {"depth": 1}, "deliveries": 1, "token": 1714564800000001}],
        },
        "nothing": {"members": []},
    },
    "ack-request": {"some": {"ids": [_PAGE]}, "all": {}},
    "ack-response": {"acked": {"leaseId": _LEASE, "acked": 1, "left": 49}},
    "nack-request": {"later": {"ids": [_PAGE], "delay": 300, "error": "503 Service Unavailable"}},
    "nack-response": {"returned": {"leaseId": _LEASE, "returned": 1, "dead": 0, "left": 48}},
    "extend-request": {"a minute": {"leaseTtlMs": 60_000}},
    "extend-response": {"extended": {"leaseId": _LEASE, "expires": _UNTIL}},
}
