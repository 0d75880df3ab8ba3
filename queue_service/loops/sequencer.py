"""In which order recorded messages may leave: pure, so that the promise of order can be tested alone.

Of rows that share an order key only the oldest unconfirmed one is under way. So a refused or lost message
never lets a later message of the same task pass it.
"""

from collections import defaultdict
from collections.abc import Sequence

from queue_service.store.outbox import OutboxRow


class Sequencer:
    """Feeds one batch of rows, oldest first. ``ready`` are to be sent now; ``settle`` may free others."""

    def __init__(self, rows: Sequence[OutboxRow]) -> None:
        self.confirmed: list[int] = []
        """Ids that the broker has taken responsibility for."""
        self.refused: list[int] = []
        """Ids that the broker has refused; what waits behind them stays for a later batch."""
        self.ready: list[OutboxRow] = []
        """Rows without anything before them, oldest first."""
        self._behind: dict[int, list[OutboxRow]] = defaultdict(list)
        self._before: dict[int, int] = {}
        self.under_way = 0
        """Rows that were made ready and are not settled yet."""
        last: dict[str, int] = {}
        for row in rows:
            before = {last[key] for key in row.order_keys if key in last}
            for key in row.order_keys:
                last[key] = row.id
            if before:
                self._before[row.id] = len(before)
                for earlier in before:
                    self._behind[earlier].append(row)
            else:
                self.ready.append(row)
        self.under_way = len(self.ready)

    def settle(self, row: OutboxRow, confirmed: bool) -> list[OutboxRow]:
        """The broker has answered for this row; the rows that may be sent now."""
        self.under_way -= 1
        if not confirmed:
            self.refused.append(row.id)
            return []
        self.confirmed.append(row.id)
        freed: list[OutboxRow] = []
        for later in self._behind.pop(row.id, ()):
            self._before[later.id] -= 1
            if self._before[later.id] == 0:
                freed.append(later)
        self.under_way += len(freed)
        return freed
