"""Values by key: what is stored was put, versions grow, and every change is told (KV-5 to KV-12)."""

import json
import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from tests.simulation.broker import Delivery
from tests.simulation.calls import NAMESPACE, Reply
from tests.simulation.history import History, Open, Violation
from tests.simulation.model import CONFLICT, NOT_FOUND

ENTRIES: Final = "SELECT key, value, version, expires FROM kv_entries WHERE namespace = 'acme:sim'"


class Entry(NamedTuple):
    value: Any
    version: int
    expires: int | None

    def visible(self, now: int) -> bool:
        return self.expires is None or self.expires > now


class Values:
    """Judges the values of the only namespace there is."""

    def __init__(self, history: History, raw: sqlite3.Connection) -> None:
        self._history = history
        self._raw = raw
        self._entries: dict[str, Entry] = {}
        self._known: dict[str, list[tuple[int, Entry | None]]] = defaultdict(list)
        """What each key had from a commit on."""
        self._written: dict[str, list[int]] = defaultdict(list)
        """At which commits calls about a key were answered."""
        self._newest = 0
        self._owed: set[tuple[str, int]] = set()
        """Versions of which a message must tell."""

    def committed(self, now: int) -> None:
        """Every change of this commit must be explained."""
        found = {
            key: Entry(json.loads(value), version, expires)
            for key, value, version, expires in self._raw.execute(ENTRIES)
        }
        for key in sorted({*found, *self._entries}):
            before, after = self._entries.get(key), found.get(key)
            if before == after:
                continue
            calls = [call.request for call in self._history.open["key"] if call.request.key == key]
            if after is None:
                deleted = any(call.method == "delete_value" for call in calls)
                if not deleted and before is not None and before.visible(now):
                    self._history.violated(f"{key}: {before} is gone, and nobody deletes it")
            else:
                if after.version <= self._newest:
                    self._history.violated(f"{key}: version {after.version} after {self._newest}")
                if not any(call.body.get("value") == after.value for call in calls):
                    self._history.violated(f"{key}: has {after}, and nobody puts that")
                self._owed.add((key, after.version))
            self._known[key].append((self._history.commits, after))
        self._newest = max([self._newest, *(entry.version for entry in found.values())])
        self._entries = found

    def answered(self, call: Open, reply: Reply) -> None:
        """Raises Violation when that cannot be the answer."""
        try:
            self._judge(call, reply)
        finally:
            self._written[str(call.request.key)].append(self._history.commits)

    def _judge(self, call: Open, reply: Reply) -> None:
        request = call.request
        known = self._during(call)
        times = (call.began, self._history.clock())
        visible = [entry if entry and entry.visible(now) else None for entry in known for now in times]
        versions = {entry.version if entry else 0 for entry in visible}
        match request.method, reply.error:
            case "get_value", None:
                shown = (reply.body["value"], reply.body["version"])
                if not any(entry is not None and entry[:2] == shown for entry in known):
                    raise Violation(f"{shown} was never committed")
            case "get_value", code if code == NOT_FOUND:
                if all(entry is not None and all(map(entry.visible, times)) for entry in known):
                    raise Violation("it was there all the time")
            case "put_value", None:
                self._owed.add((str(request.key), reply.body["version"]))
                if request.body.get("ifVersion") not in (None, *versions) and not self._others(call):
                    raise Violation(f"the version was none of {versions}")
            case "put_value", code if code == CONFLICT and "ifVersion" in request.body:
                if versions == {request.body["ifVersion"]} and not self._others(call):
                    raise Violation("the version was that all the time")
            case "delete_value", None:
                pass
            case _:
                raise Violation("no reason to refuse")

    def _during(self, call: Open) -> list[Entry | None]:
        known = self._known[str(call.request.key)]
        before = [entry for commit, entry in known if commit <= call.since][-1:] or [None]
        return [*before, *(entry for commit, entry in known if commit > call.since)]

    def _others(self, call: Open) -> bool:
        """Whether others wrote this key meanwhile: of what a commit undid itself no trace is left."""
        key = call.request.key
        writing = [one for one in self._history.open["key"] if one is not call and one.request.key == key]
        return bool(writing) or any(end >= call.since for end in self._written[str(key)])

    def judge_told(self, deliveries: Sequence[Delivery]) -> None:
        """``deliveries``: the first copies, in the order of their arrival."""
        last: dict[str, int] = defaultdict(int)
        told = set()
        for delivery in deliveries:
            if delivery.exchange != "kv-changed" or delivery.body["tenant"] != NAMESPACE[0]:
                continue
            key, version, op = (delivery.body[name] for name in ("key", "entryVersion", "op"))
            told.add((key, version))
            if version < last[key] or (version == last[key] and op != "expire"):
                self._history.violated(f"{key}: {op} of version {version} told after {last[key]}")
            last[key] = version
        if missing := self._owed - told:
            self._history.violated(f"never told: {sorted(missing)}")
