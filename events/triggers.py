"""The exchanges of triggers (``seed-systems.md`` TR-5, TR-7, TR-9)."""

from typing import Final

from events.declaration import KIND, RESERVED, Exchange, Word
from schemas import triggers

_TRIGGERS: Final = "exchange/taskbus-triggers/v1/"
_WORDS: Final = (
    KIND,
    Word("group", "Group of the trigger.", 100, source="group"),
    Word("triggerId", "Id of the trigger in its group.", 100, source="trigger_id"),
    RESERVED,
)

TRIGGER_EXCHANGES: Final[tuple[Exchange, ...]] = (
    Exchange(
        _TRIGGERS,
        "trigger-blocked",
        triggers.TriggerBlockedMessage,
        _WORDS,
        "Trigger blocked",
        "A range of time failed as often as its trigger allows. It fires no more until somebody resumes it.",
    ),
    Exchange(
        _TRIGGERS,
        "trigger-exhausted",
        triggers.TriggerExhaustedMessage,
        _WORDS,
        "Trigger exhausted",
        "A trigger has fired as often as its limit allows, and listens no more.",
    ),
    Exchange(
        _TRIGGERS,
        "trigger-loop",
        triggers.TriggerLoopMessage,
        _WORDS,
        "Trigger loop",
        "A message did not fire a trigger: it comes of a task at the end of ten triggers that fired each "
        "other.",
    ),
)
"""What is told of triggers."""
