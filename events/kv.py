"""The exchanges of values and worksets (``seed-systems.md`` KV-12, WK-8).

A namespace stands in the key with its slashes as dots, so it is as many words as it has parts.
"""

from typing import Final

from events.declaration import KIND, Exchange, Word
from schemas import kv, worksets

_KV: Final = "exchange/taskbus-kv/v1/"
_TENANT: Final = Word("tenant", "Tenant of the namespace.", 38, source="tenant")
_NAMESPACE: Final = Word(
    "namespace",
    "The namespace, its slashes as dots.",
    200,
    multiple_words=True,
    source="namespace",
)

KV_EXCHANGES: Final[tuple[Exchange, ...]] = (
    Exchange(
        _KV,
        "kv-changed",
        kv.KvChangedMessage,
        (KIND, _TENANT, _NAMESPACE, Word("op", "`put`, `delete` or `expire`.", 6, source="op")),
        "KV changed",
        "A value was put or deleted, or it expired. The value itself is not told: get it. Messages about one "
        "key come in the order of its changes.",
    ),
    Exchange(
        _KV,
        "workset-member-dead",
        worksets.WorksetMemberDeadMessage,
        (KIND, _TENANT, _NAMESPACE),
        "Workset member dead",
        "A member of a workset was delivered as often as its set allows without being acked. It is in the "
        "set `<set>.dead` now, which can be popped like any other; adding it again gives it a new life.",
    ),
)
"""The exchanges of the KV service."""
