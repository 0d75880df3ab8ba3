"""The exchange of user messages (``seed-systems.md`` D.6)."""

from typing import Final

from events.declaration import KIND, Exchange, Word
from schemas import events

EVENTS_EXCHANGES: Final[tuple[Exchange, ...]] = (
    Exchange(
        "exchange/taskbus-events/v1/",
        "user-message",
        events.UserMessage,
        (
            KIND,
            Word("messageKind", "Kind of the message, always `user`.", 4, constant="user"),
            Word(
                "source",
                "`job` when a worker sent it with its claim's credentials, else `server`.",
                6,
                source="source",
            ),
            Word("tag", "The tag of the message.", 38, required=False, source="tag"),
            Word("jobId", "The job, or task, that it is about.", 22, required=False, source="job_id"),
        ),
        "User message",
        "Somebody has something to tell: `level` is `info` or `alert`, `payload` any JSON value.",
    ),
)
"""What users tell."""
