"""The promise of order against a broker that refuses what it likes, hangs up, and relays that take over.

Property: a row is sent only after every earlier row that it must not overtake has been confirmed, and in the
end each has been confirmed. Batches are tiny, so that both lanes of the outbox overflow.
"""

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from events.errors import BrokerUnavailable
from events.messages import OutboundMessage
from queue_service.loops import outbox_relay, retries
from queue_service.loops.outbox_relay import OutboxRelay
from queue_service.store.database import Database, Tx
from queue_service.store.outbox import SHARED
from queue_service.store.tables import outbox, outbox_barriers
from tests.loops.outbox_rows import RECORD, aside, waiting
from tests.loops.scripted_publisher import ScriptedPublisher, Settled
from tests.loops.test_outbox_relay import relay_for

Keys = list[str]

KEYS = st.lists(st.sampled_from(["a", "b", "c", "~a", "~b", "~c"]), max_size=3, unique_by=lambda key: key[-1])
ROUNDS = st.lists(
    st.tuples(
        st.lists(KEYS, max_size=6),  # recorded before the round
        st.sets(st.integers(0, 40), max_size=12),  # refused in it
        st.sampled_from(["runs", "runs", "runs", "loses", "is replaced"]),
    ),
    max_size=12,
)


class Judge(ScriptedPublisher):
    """Holds what is sent against what was confirmed before."""

    def __init__(self) -> None:
        super().__init__()
        self.keys_of: list[Keys] = []
        self.confirmed: set[int] = set()
        self.loses_after: int | None = None

    def send(self, message: OutboundMessage, settled: Settled) -> None:
        number = int(message.routing_key)
        for earlier in range(number):
            if conflict(self.keys_of[earlier], self.keys_of[number]):
                assert earlier in self.confirmed, f"{number} overtakes {earlier}"

        def judged(confirmed: bool) -> None:
            if confirmed:
                self.confirmed.add(number)
            settled(confirmed)

        super().send(message, judged)

    def settle(self, count: int = 1) -> None:
        if self.loses_after == 0:
            self.lose()
            return
        if self.loses_after is not None:
            self.loses_after -= 1
        super().settle(count)


def conflict(one: Keys, other: Keys) -> bool:
    names = {key.removeprefix(SHARED): key for key in one}
    return any(
        key.removeprefix(SHARED) in names and not (key[0] == names[key.removeprefix(SHARED)][0] == SHARED)
        for key in other
    )


async def record(database: Database, judge: Judge, rows: list[Keys]) -> None:
    async def script(tx: Tx) -> None:
        for keys in rows:
            listed = ", ".join(f'"{key}"' for key in keys)
            values = {"exchange": "x", "routing_key": str(len(judge.keys_of)), "cc": "[]", "body": "{}"}
            await tx.connection.execute(RECORD, {**values, "order_keys": f"[{listed}]", "created": tx.now})
            judge.keys_of.append(keys)

    if rows:
        await database.write(script)


async def clear(database: Database) -> None:
    async with database.engine.begin() as connection:
        await connection.execute(delete(outbox))
        await connection.execute(delete(outbox_barriers))


async def live(database: Database, rounds: list[tuple[list[Keys], set[int], str]]) -> None:
    await clear(database)
    judge = Judge()
    now = 0.0

    def made() -> OutboxRelay:
        relay = relay_for(database, judge)
        relay._time = lambda: now  # type: ignore[method-assign]
        return relay

    relay = made()
    for rows, refused, event in rounds:
        await record(database, judge, rows)
        judge.refuses = {str(number) for number in refused}
        judge.loses_after = 2 if event == "loses" else None
        if event == "is replaced":
            relay = made()
        now += 10.0
        with suppress(BrokerUnavailable):
            await relay.run_once()
    judge.refuses, judge.loses_after = set(), None
    for _ in range(200):
        now += 10.0
        await relay.run_once()
    assert (await waiting(database), await aside(database)) == ([], [])
    assert judge.confirmed == set(range(len(judge.keys_of)))
    async with database.engine.connect() as connection:
        assert (await connection.execute(outbox_barriers.select())).all() == []


async def test_nothing_overtakes_what_it_must_not_whatever_the_broker_does(
    sqlite_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_relay, "BATCH", 3)
    monkeypatch.setattr(retries, "MOST", 3)
    monkeypatch.setattr(retries, "FEW", 1)
    loop = asyncio.get_running_loop()

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(ROUNDS)
    def holds(rounds: Any) -> None:
        asyncio.run_coroutine_threadsafe(live(sqlite_database, rounds), loop).result()

    await asyncio.to_thread(holds)
