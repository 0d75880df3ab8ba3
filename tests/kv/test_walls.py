"""Tenants are walls: who may do something in one namespace may do nothing in another (KV-2, G-10)."""

from typing import Any, Final

import pytest

from tests.kv.running_kv import RunningKv

LEASE: Final = "fN1SbArXTPSVFNUvaOlinQ"
CALLS: Final[list[tuple[str, str, str, Any]]] = [
    ("get", "GET", "/keys/k", None),
    ("put", "PUT", "/keys/k", {"value": 1}),
    ("delete", "DELETE", "/keys/k", None),
    ("get", "GET", "/keys", None),
    ("get", "GET", "/sets/s", None),
    ("put", "PUT", "/sets/s", {"maxDeliveries": 1}),
    ("put", "POST", "/sets/s/members", {"members": [{"id": "a"}]}),
    ("lease", "POST", "/sets/s/pop", {}),
    ("lease", "POST", f"/leases/{LEASE}/ack", {}),
    ("lease", "POST", f"/leases/{LEASE}/nack", {}),
    ("lease", "POST", f"/leases/{LEASE}/extend", {"leaseTtlMs": 1000}),
]


@pytest.mark.parametrize("place", ["/acme/a/b", "/acme/a%2Fb"])
async def test_each_call_asks_for_its_scope_in_its_namespace(kv: RunningKv, place: str) -> None:
    for verb, method, target, body in CALLS:
        kv.permit.asked.clear()
        await kv.call(method, place + target, *([] if body is None else [body]))
        assert kv.permit.asked == [f"kv:{verb}:acme:a/b"], f"{method} {target}"


async def test_who_lacks_the_scope_changes_and_learns_nothing(kv: RunningKv) -> None:
    kv.permit.deny()
    for _, method, target, body in CALLS:
        reply = await kv.call(method, "/acme/a" + target, *([] if body is None else [body]))
        assert (reply.status, reply.code) == (403, "InsufficientScopes"), f"{method} {target}"
    assert not any((await kv.stored()).values())
