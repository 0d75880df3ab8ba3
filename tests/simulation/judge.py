"""The checker of histories: every commit, every reply and every delivery is held against the model."""

import sqlite3
from collections.abc import Callable

from tests.simulation.commits import Commits
from tests.simulation.deliveries import Deliveries
from tests.simulation.history import History
from tests.simulation.model import Model
from tests.simulation.replies import Replies


class Judge:
    """The parts that judge, with the history that they share."""

    def __init__(
        self, model: Model, raw: sqlite3.Connection, clock: Callable[[], int], time: Callable[[], float]
    ) -> None:
        self.history = History(model, clock, time)
        self.commits = Commits(self.history, raw)
        self.replies = Replies(self.history)
        self.deliveries = Deliveries(self.history)
