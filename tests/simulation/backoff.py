"""How long a task may wait before its next attempt: written from ``seed-systems.md`` C-7 and C-8 alone."""

from typing import Any, Final

DEFAULT: Final = {"kind": "polynomial"}
USUAL_JITTER: Final = 0.1


def bounds(policy: dict[str, Any] | None, errors: int) -> tuple[int, int]:
    """The shortest and the longest delay after so many errors, in milliseconds."""
    policy = policy or DEFAULT
    middle = _seconds(policy, errors) * 1000
    if "max" in policy:
        middle = min(middle, policy["max"] * 1000)
    spread = middle * policy.get("jitter", USUAL_JITTER)
    return int(middle - spread) - 1, int(middle + spread) + 1


def _seconds(policy: dict[str, Any], errors: int) -> float:
    match policy["kind"]:
        case "polynomial":
            return float(policy.get("base", 1) * errors ** policy.get("power", 4))
        case "exponential":
            return float(policy.get("base", 1) * policy.get("factor", 2) ** (errors - 1))
        case "fixed":
            return float(policy["delay"])
        case "list":
            return float(policy["delays"][min(errors, len(policy["delays"])) - 1])
    raise ValueError(f"the model knows no policy {policy['kind']}")
