"""Example bodies of the API documentation: an alert of a nightly import."""

from typing import Any, Final

_MESSAGE_ID: Final = "fN1SbArXTPSVFNUvaOlinQ"

EXAMPLES: Final[dict[str, dict[str, Any]]] = {
    "user-message-request": {
        "an alert": {
            "tag": "nightly-import",
            "level": "alert",
            "payload": {"text": "42 rows have no customer", "rows": 42},
            "messageId": _MESSAGE_ID,
        }
    },
    "user-message-response": {
        "recorded": {"messageId": _MESSAGE_ID, "sent": "2024-05-01T12:00:00.000Z"},
    },
}
