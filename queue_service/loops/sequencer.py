"""In which order recorded messages may leave: pure, so that the promise of order can be tested alone.

Rows wait for earlier rows by their order keys (``store/outbox.py``) until these are confirmed. So a refused
or lost message never lets a later message of the same task, or of what it caused, pass it.
"""

from collections import defaultdict
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from queue_service.store.outbox import SHARED, OutboxRow


class Sequencer:
    """Feeds one batch of rows, oldest first. ``ready`` are to be sent now; ``settle`` may free others.

    ``barred`` are ids of rows that wait for something outside of the batch: they stay, and what is behind
    them.
    """

    def __init__(self, rows: Sequence[OutboxRow], barred: AbstractSet[int] = frozenset()) -> None:
        self.rows = rows
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
        exclusive: dict[str, int] = {}
        sharing: dict[str, list[int]] = defaultdict(list)
        for row in rows:
            before: set[int] = set()
            for key in row.order_keys:
                name = key.removeprefix(SHARED)
                if name in exclusive:
                    before.add(exclusive[name])
                if name == key:
                    before.update(sharing.pop(name, ()))
            for key in row.order_keys:
                name = key.removeprefix(SHARED)
                if name == key:
                    exclusive[name] = row.id
                else:
                    sharing[name].append(row.id)
            if row.id in barred:
                continue  # it is never settled, so what is behind it is never freed
            if before:
                self._before[row.id] = len(before)
                for earlier in before:
                    self._behind[earlier].append(row)
            else:
                self.ready.append(row)
        self.under_way = len(self.ready)

    @property
    def left(self) -> list[OutboxRow]:
        """The rows that are not confirmed, oldest first."""
        confirmed = set(self.confirmed)
        return [row for row in self.rows if row.id not in confirmed]

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
