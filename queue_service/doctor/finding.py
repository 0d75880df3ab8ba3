"""What a check has found: good or bad, in words, and what to do."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "failure"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's. ``advice`` says what to do next; empty when nothing is to be done.

    A failure keeps the service from doing its work, now or soon; a warning may be meant so.
    """

    level: Level
    subject: str
    says: str
    advice: str = ""

    def to_json(self) -> dict[str, str]:
        return {"level": self.level, "subject": self.subject, "says": self.says, "advice": self.advice}


def ok(subject: str, says: str) -> Finding:
    return Finding("ok", subject, says)


def warning(subject: str, says: str, advice: str) -> Finding:
    return Finding("warning", subject, says, advice)


def failure(subject: str, says: str, advice: str) -> Finding:
    return Finding("failure", subject, says, advice)


def duration(seconds: float) -> str:
    """For people: ``40 s``, ``12 min``, ``5 h``, ``3 days``."""
    for size, name in ((172_800, "days"), (7_200, "h"), (120, "min")):
        if seconds >= size:
            return f"{seconds / {'days': 86_400, 'h': 3_600, 'min': 60}[name]:.0f} {name}"
    return f"{seconds:.0f} s"


def size(number: float) -> str:
    """Bytes for people: ``1.5 GiB``."""
    for name in ("bytes", "KiB", "MiB", "GiB"):
        if number < 1024:
            return f"{number:.0f} {name}" if name == "bytes" else f"{number:.1f} {name}"
        number /= 1024
    return f"{number:.1f} TiB"
