"""The checker of histories: every commit, every reply and every delivery is held against the model."""

import sqlite3
from collections.abc import Callable, Sequence

from tests.simulation.broker import Delivery
from tests.simulation.calls import UNAVAILABLE, Reply
from tests.simulation.commits import Commits
from tests.simulation.deliveries import Deliveries, first_copies
from tests.simulation.history import History, Open, Violation, about
from tests.simulation.model import Model
from tests.simulation.replies import Replies
from tests.simulation.triggers import Triggers
from tests.simulation.values import Values
from tests.simulation.worksets import Worksets


class Judge:
    """The parts that judge, with the history that they share."""

    def __init__(
        self, model: Model, raw: sqlite3.Connection, clock: Callable[[], int], time: Callable[[], float]
    ) -> None:
        self.history = History(model, clock, time)
        self.commits = Commits(self.history, raw)
        self.replies = Replies(self.history)
        self.worksets = Worksets(self.history, raw)
        self.values = Values(self.history, raw)
        self.triggers = Triggers(self.history, raw)
        self._deliveries = Deliveries(self.history)

    def committed(self, now: int) -> None:
        """What a process has committed."""
        if "trigger" in self.history.open:
            self.triggers.look()
        self.commits.committed(now)
        if "trigger" in self.history.open:
            self.triggers.committed(now)
        if "set" in self.history.open:
            self.worksets.committed(now)
        if "key" in self.history.open:
            self.values.committed(now)

    def answered(self, call: Open, reply: Reply) -> None:
        """A server has answered; whether the client hears of it is another matter."""
        try:
            if reply.error == UNAVAILABLE:
                pass
            elif about(call.request) == "set":
                self.worksets.answered(call, reply)
            elif about(call.request) == "trigger":
                self.triggers.answered(call, reply)
            elif about(call.request) == "key":
                self.values.answered(call, reply)
            else:
                self.replies.answered(call, reply)
        except Violation as violation:
            self.history.violated(f"{call.request} was answered {reply.error or 'well'}: {violation}")
        self.history.ended(call)

    def told(self, deliveries: Sequence[Delivery]) -> None:
        """What is in the durable queue in the end, in the order of arrival."""
        copies = first_copies(self.history, deliveries)
        self._deliveries.judge(copies)
        self.values.judge_told(copies)
