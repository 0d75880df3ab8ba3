"""The checker catches what it is there for: each of these faults of the service is found."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any, Final

import pytest

from queue_service.api.queue import QueueApi
from queue_service.core import transitions
from queue_service.core.errors import RequestConflict
from queue_service.core.task import Change, Task, nothing
from queue_service.loops import outbox_relay, schedule
from queue_service.loops.outbox_relay import OutboxRelay
from queue_service.operations import resolutions, tasks
from queue_service.operations.work_desk import WorkDesk
from queue_service.store import claims, dependencies, outbox
from tests.simulation.plan import plan_of
from tests.simulation.run import simulate

FIRST_SEED: Final = 1000
LIVES: Final = 400
"""At most so many until a mutant is found."""
PLANS: Final = partial(plan_of, extended=0.0)

Patch = pytest.MonkeyPatch


def delete_before_the_confirm(patch: Patch) -> None:
    publish = OutboxRelay._publish

    async def mutant(self: OutboxRelay, sequencer: Any) -> None:
        await self._settle([row.id for row in sequencer.ready], ())
        await publish(self, sequencer)

    patch.setattr(OutboxRelay, "_publish", mutant)


def delete_what_was_refused(patch: Patch) -> None:
    settle = outbox_relay.Sequencer.settle
    patch.setattr(outbox_relay.Sequencer, "settle", lambda self, row, confirmed: settle(self, row, True))


def commit_the_message_after_the_change(patch: Patch) -> None:
    record = outbox.record
    later: list[asyncio.Task[None]] = []

    async def mutant(tx: Any, outgoing: Any) -> None:
        async def soon() -> None:
            await asyncio.sleep(0.2)
            await tx._places.write(lambda tx: record(tx, outgoing))

        if outgoing:
            later.append(asyncio.create_task(soon()))

    patch.setattr(outbox, "record", mutant)


def send_in_any_order(patch: Patch) -> None:
    class Unordered(outbox_relay.Sequencer):
        def __init__(self, rows: Any, barred: Any) -> None:
            super().__init__([])
            self.ready = list(rows)[::-1]
            self.under_way = len(self.ready)

    patch.setattr(outbox_relay, "Sequencer", Unordered)


def expire_claims_that_were_renewed(patch: Patch) -> None:
    """As if the timer of the first claim were kept."""

    async def mutant(tx: Any, limit: int) -> list[Task]:
        return await claims._due(tx, claims.PICK_EXPIRED, tx.now + timedelta(seconds=59), limit)

    def expire(task: Task, now: Any) -> Change:
        run = task.last_run
        if run is None or run.started is None or now - run.started < timedelta(seconds=60):
            return nothing(task)
        return transitions._end_with_exception(task, "claim-expired", now)

    patch.setattr(claims, "pick_expired", mutant)
    patch.setattr(transitions, "expire_claim", expire)


def forget_resolutions_in_a_crash(patch: Patch) -> None:
    """They are taken off the list in one transaction and worked off in the next."""
    following, delete = dependencies.next_resolutions, dependencies.delete_resolutions

    async def mutant(self: Any) -> int:
        async def take(tx: Any) -> Any:
            ended = await following(tx, 100)
            await delete(tx, [entry.id for entry in ended])
            return ended

        ended = await self._database.write(take)

        async def known(tx: Any, limit: int) -> Any:
            return ended

        async def nothing_left(tx: Any, ids: Any) -> None:
            return None

        async def work(tx: Any) -> int:
            before = dependencies.next_resolutions, dependencies.delete_resolutions
            dependencies.next_resolutions, dependencies.delete_resolutions = known, nothing_left
            try:
                return await resolutions.work_off(tx, 100)
            finally:
                dependencies.next_resolutions, dependencies.delete_resolutions = before

        return await self._database.write(work)

    patch.setattr(schedule.Loops, "_work_off_resolutions", mutant)


def answer_before_the_commit(patch: Patch) -> None:
    run = QueueApi._run_changes

    class TakenBack(Exception):
        pass

    async def mutant(self: QueueApi, calls: Any) -> Any:
        outcomes: list[Any] = []

        async def script(tx: Any) -> None:
            outcomes.extend(await tasks.change(tx, calls))
            raise TakenBack

        try:
            await self._database.write(script)
        except TakenBack:
            asyncio.get_running_loop().create_task(run(self, calls))
        return outcomes

    patch.setattr(QueueApi, "_run_changes", mutant)


def refuse_repeats(patch: Patch) -> None:
    report = transitions.report

    def mutant(task: Task, run_id: int, outcome: Any, now: Any) -> Change:
        if task.state == outcome:
            raise RequestConflict("reported already")
        return report(task, run_id, outcome, now)

    patch.setattr(transitions, "report", mutant)


def leave_waiting_workers_asleep(patch: Patch) -> None:
    patch.setattr(WorkDesk, "on_signal", lambda self, signal: None)


def never_pass_a_deadline(patch: Patch) -> None:
    patch.setattr(transitions, "pass_deadline", lambda task, now: nothing(task))


def retry_for_ever(patch: Patch) -> None:
    end = transitions._end_with_exception

    def mutant(task: Task, reason: Any, now: Any) -> Change:
        change = end(task, reason, now)
        return replace(change, after=replace(change.after, retries_left=task.retries_left))

    patch.setattr(transitions, "_end_with_exception", mutant)


def let_dependents_go_too_early(patch: Patch) -> None:
    async def mutant(tx: Any, dependent_ids: Any) -> list[str]:
        return list(dependent_ids)

    patch.setattr(dependencies, "free", mutant)


MUTANTS: Final[tuple[Callable[[Patch], None], ...]] = (
    delete_before_the_confirm,
    delete_what_was_refused,
    commit_the_message_after_the_change,
    send_in_any_order,
    expire_claims_that_were_renewed,
    forget_resolutions_in_a_crash,
    answer_before_the_commit,
    refuse_repeats,
    leave_waiting_workers_asleep,
    never_pass_a_deadline,
    retry_for_ever,
    let_dependents_go_too_early,
)


LATE: Final = {forget_resolutions_in_a_crash: 1705}
"""The first seed for what few lives show: shortly before one that does."""


@pytest.mark.timeout(600)
@pytest.mark.parametrize("mutate", MUTANTS, ids=lambda mutate: mutate.__name__)
def test_a_broken_service_is_caught(mutate: Callable[[Patch], None]) -> None:
    with Patch.context() as patch:
        mutate(patch)
        first = LATE.get(mutate, FIRST_SEED)
        run = simulate(range(first, first + LIVES), shrunk=False, plans=PLANS)
    assert run.failures, f"{LIVES} lives, and nothing was found"
    healthy = simulate([first + run.lives - 1], plans=PLANS)
    assert not healthy.failures, "it was not the mutation that was found"
