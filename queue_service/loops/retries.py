"""When messages that the broker refused are tried again, and how many at a time.

Pure: times are passed in, as seconds of one clock.
"""

from typing import Final

FEW: Final = 50
MOST: Final = 500
FIRST_PAUSE: Final = 0.2
LONGEST_PAUSE: Final = 1.0
"""So a queue that stays full costs at most 50 refused messages each second, however many wait for it."""


class Retries:
    """Few at a time and ever less often while all are refused, more and more while the broker takes some."""

    def __init__(self) -> None:
        self.some = True
        """Messages are set aside, or may be: it is not known before the first look."""
        self._at = 0.0
        self._limit = MOST
        self._pause = FIRST_PAUSE

    def wanted(self, now: float) -> int:
        """How many are to be tried now."""
        return self._limit if self.some and now >= self._at else 0

    def wait(self, now: float) -> float:
        """Seconds until some are to be tried."""
        return max(0.0, self._at - now)

    def tried(self, now: float, wanted: int, taken: int, confirmed: int) -> None:
        """Of ``taken`` messages, as many as there were up to ``wanted``, the broker has confirmed some."""
        if wanted and confirmed == taken < wanted:
            self.some = False
        if confirmed:
            self._pause = FIRST_PAUSE
            self._limit = min(self._limit * 2, MOST)
            self._at = now if confirmed == taken else now + self._pause
        elif taken:
            self._limit = FEW
            self._at = now + self._pause
            self._pause = min(self._pause * 2, LONGEST_PAUSE)

    def added(self, now: float) -> None:
        """More messages were set aside."""
        if not self.some:
            self.some = True
            self._limit, self._pause, self._at = FEW, FIRST_PAUSE, now + FIRST_PAUSE
