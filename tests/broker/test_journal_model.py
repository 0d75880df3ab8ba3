"""Any sequence of things done to queues, cut off anywhere: a restart finds what the last commit held.

The model knows lists of numbers only; the real parts are a topology, its journal and the file.
"""

import tempfile
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from pamqp.commands import Basic

from events.broker.journal import Journal
from events.broker.limits import BrokerLimits
from events.broker.message import received
from events.broker.queues import Entry
from events.broker.recovery import recovered

SHORT: Final = 3
ARGUMENTS: Final[dict[str, dict[str, Any]]] = {
    "plain": {},
    "short": {"x-max-length": SHORT},
    "rejecting": {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "plain"},
}
EXCHANGE: Final = "amq.fanout"
NAMES: Final = st.sampled_from(sorted(ARGUMENTS))


@dataclass
class Held:
    """A message in one queue of the model; a larger place is further behind."""

    place: int
    body: bytes
    persistent: bool
    delivered: bool = False


@dataclass
class ModelQueue:
    ready: list[Held] = field(default_factory=list)
    out: list[Held] = field(default_factory=list)
    bound: bool = False


class JournalMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="journal-")
        self.model: dict[str, ModelQueue] = {}
        self.committed: dict[str, ModelQueue] = {}
        self.out: dict[str, list[Entry]] = {}
        self.count = 0
        self.start()

    def start(self) -> None:
        self.journal = Journal(Path(self.folder.name) / "journal")
        self.topology = recovered(self.journal, BrokerLimits())
        self.out = {name: [] for name in self.model}

    def teardown(self) -> None:
        self.journal.close()
        self.folder.cleanup()

    # -- what clients do ------------------------------------------------------------------------------

    @rule(name=NAMES)
    def declare(self, name: str) -> None:
        self.topology.declare_queue(name, None, durable=True, arguments=ARGUMENTS[name])
        self.model.setdefault(name, ModelQueue())
        self.out.setdefault(name, [])

    @precondition(lambda self: self.model)
    @rule(data=st.data(), there=st.booleans())
    def bind(self, data: st.DataObject, there: bool) -> None:
        name = self._any(data)
        exchange, queue = self.topology.bindable(EXCHANGE), self.topology.queue(name, None)
        if there:
            self.topology.bind(exchange, "", queue)
        else:
            self.topology.unbind(EXCHANGE, "", queue)
        self.model[name].bound = there

    @rule(name=NAMES, persistent=st.booleans())
    def publish(self, name: str, persistent: bool) -> None:
        self._publish("", name, persistent, lambda: [name] if name in self.model else [])

    @rule(persistent=st.booleans())
    def publish_to_all(self, persistent: bool) -> None:
        self._publish(EXCHANGE, "", persistent, lambda: [n for n, queue in self.model.items() if queue.bound])

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        name = self._any(data)
        entry = self.topology.queue(name, None).pop()
        assert (entry is not None) == bool(self.model[name].ready)
        if entry is not None:
            held = self.model[name].ready.pop(0)
            assert (entry.message.body, entry.redelivered) == (held.body, held.delivered)
            held.delivered = True
            self.model[name].out.append(held)
            self.out[name].append(entry)

    @precondition(lambda self: any(self.out.values()))
    @rule(data=st.data(), verb=st.sampled_from(["ack", "requeue", "reject"]))
    def settle(self, data: st.DataObject, verb: str) -> None:
        name = data.draw(st.sampled_from([name for name, out in self.out.items() if out]))
        at = data.draw(st.integers(0, len(self.out[name]) - 1))
        entry, held = self.out[name].pop(at), self.model[name].out.pop(at)
        queue = self.topology.queue(name, None)
        if verb == "ack":
            queue.settle(entry)
        elif verb == "requeue":
            queue.requeue([entry])
            self._put(name, held)
        else:
            queue.reject([entry])
            if name == "rejecting" and "plain" in self.model:
                self._put("plain", Held(self._place(), held.body, held.persistent))

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def purge(self, data: st.DataObject) -> None:
        name = self._any(data)
        assert self.topology.queue(name, None).purge() == len(self.model[name].ready)
        self.model[name].ready.clear()

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        name = self._any(data)
        queue = self.topology.queue(name, None)
        self.topology.delete_queue(queue)
        queue.requeue(self.out.pop(name))  # as when the channel closes
        del self.model[name]

    # -- commits and ends -----------------------------------------------------------------------------

    @rule()
    def commit(self) -> None:
        done: list[None] = []
        self.journal.commit(lambda: done.append(None))
        assert done
        assert self.journal.problem is None
        self.committed = deepcopy(self.model)
        self._file_holds_no_more()

    def _file_holds_no_more(self) -> None:
        """What has gone leaves no row behind."""
        persistent = sum(
            held.persistent for queue in self.model.values() for held in (*queue.ready, *queue.out)
        )
        query = self.journal._file._connection.execute
        assert query("SELECT count(*) FROM entries").fetchone() == (persistent,)
        unused = "SELECT count(*) FROM messages WHERE id NOT IN (SELECT message FROM entries)"
        assert query(unused).fetchone() == (0,)

    @rule()
    def crash(self) -> None:
        """The file is let go of as it is; what was not committed is gone."""
        self.journal._file.close()
        self.model = {name: _after_restart(name, queue) for name, queue in self.committed.items()}
        self.start()
        self.commit()  # a limit may have dropped something

    @rule()
    def stop(self) -> None:
        self.journal.close()
        self.model = {name: _after_restart(name, queue) for name, queue in self.model.items()}
        self.start()
        self.commit()

    @invariant()
    def queues_agree(self) -> None:
        found = {info.name: (info.ready, info.unacknowledged) for info in self.topology.snapshot()}
        assert found == {name: (len(queue.ready), len(queue.out)) for name, queue in self.model.items()}

    def _publish(self, exchange: str, key: str, persistent: bool, queues: Callable[[], list[str]]) -> None:
        self.count += 1
        body = b"%d" % self.count
        properties = Basic.Properties(delivery_mode=2 if persistent else 1).marshal()
        self.topology.publish(received(exchange, key, b"", properties, body, "guest"))
        for name in queues():
            self._put(name, Held(self._place(), body, persistent))

    def _put(self, name: str, held: Held) -> None:
        queue = self.model[name]
        queue.ready = _within_limits(name, [*queue.ready, held])

    def _place(self) -> int:
        self.count += 1
        return self.count

    def _any(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(sorted(self.model)))


def _within_limits(name: str, held: list[Held]) -> list[Held]:
    ordered = sorted(held, key=lambda each: each.place)
    return ordered[-SHORT:] if name == "short" else ordered


def _after_restart(name: str, queue: ModelQueue) -> ModelQueue:
    kept = [held for held in (*queue.ready, *queue.out) if held.persistent]
    return ModelQueue(_within_limits(name, kept), [], queue.bound)


JournalMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestJournal = JournalMachine.TestCase
