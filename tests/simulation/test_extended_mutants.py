"""The checker knows what goes beyond plain tasks: each of these faults of the service is found."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from types import SimpleNamespace
from typing import Any, Final

import pytest

from queue_service.core import attempts, transitions
from queue_service.core.task import Change, Task
from queue_service.core.uniqueness import UniqueKey
from queue_service.features.kv import lease_store, workset_operations, workset_rules, workset_store
from queue_service.features.kv import operations as kv_operations
from queue_service.features.kv import rules as kv_rules
from queue_service.operations import claims as claiming
from queue_service.operations import controls, deletion, due
from queue_service.store import delays
from tests.simulation import server
from tests.simulation.plan import Action, Plan, plan_of
from tests.simulation.run import simulate
from tests.simulation.test_regressions import created
from tests.simulation.world import World

FIRST_SEED: Final = 2000
LIVES: Final = 200
"""At most so many until a mutant is found; all of them are rich in what these are about."""
PLANS: Final = partial(plan_of, extended=1.0)

Patch = pytest.MonkeyPatch


# ---- attempts, delays, snoozes -------------------------------------------------------------------------


def release_before_the_time(patch: Patch) -> None:
    """Delayed runs join the line a second too early."""
    early = timedelta(seconds=1)
    pick = delays.pick_due

    async def mutant(tx: Any, limit: int) -> Any:
        tx.now += early
        try:
            return await pick(tx, limit)
        finally:
            tx.now -= early

    come_due = transitions.come_due
    patch.setattr(delays, "pick_due", mutant)
    patch.setattr(transitions, "come_due", lambda task, now: come_due(task, now + early))


def never_release(patch: Patch) -> None:
    async def mutant(tx: Any, limit: int) -> int:
        return 0

    async def nothing_in_queue(tx: Any, task_queue_id: str, limit: int) -> int:
        return 0

    patch.setattr(due, "release", mutant)
    patch.setattr(due, "release_in_queue", nothing_in_queue)


def forget_to_tell_what_came_due(patch: Patch) -> None:
    come_due = transitions.come_due
    patch.setattr(transitions, "come_due", lambda task, now: replace(come_due(task, now), messages=()))


def try_again_without_end(patch: Patch) -> None:
    choose = attempts._next_attempt

    def mutant(task: Task, report: Any, now: Any, jitter: float) -> Any:
        extras = task.extras or attempts.PLAIN
        more = replace(extras, max_attempts=extras.max_attempts + 1)
        return choose(replace(task, extras=more), report, now, jitter)

    patch.setattr(attempts, "_next_attempt", mutant)


def try_again_behind_the_deadline(patch: Patch) -> None:
    choose = attempts._next_attempt
    patch.setattr(
        attempts,
        "_next_attempt",
        lambda task, *rest: choose(replace(task, deadline=task.deadline + timedelta(days=1)), *rest),
    )


def take_attempts_from_the_retries(patch: Patch) -> None:
    retried = attempts._retried

    def mutant(task: Task, moment: Any, now: Any) -> Change:
        change = retried(task, moment, now)
        return replace(change, after=replace(change.after, retries_left=max(task.retries_left - 1, 0)))

    patch.setattr(attempts, "_retried", mutant)


def wait_after_every_error_as_after_the_first(patch: Patch) -> None:
    patch.setattr(attempts, "_errors", lambda task: 0)


def count_a_snooze_as_an_attempt(patch: Patch) -> None:
    """The run that is put off keeps what its worker has made of it."""
    snoozed = attempts.snoozed

    def mutant(task: Task, run_id: int, wait: Any, now: Any) -> Change:
        change = snoozed(task, run_id, wait, now)
        run = change.after.runs[-1].model_copy(update={"started": now})
        return replace(change, after=replace(change.after, runs=(*change.after.runs[:-1], run)))

    patch.setattr(attempts, "snoozed", mutant)


def start_what_is_held(patch: Patch) -> None:
    patch.setattr(transitions, "_waits_to_start", lambda task, now: False)


# ---- task queues, unique tasks, deletion --------------------------------------------------------------


def claim_from_paused_task_queues(patch: Patch) -> None:
    patch.setattr(claiming, "refuse_when_paused", lambda held: None)


def leave_workers_asleep_when_a_task_queue_is_resumed(patch: Patch) -> None:
    patch.setattr(controls, "QueueFilled", lambda task_queue_id: controls.QueueFilled)


def pause_again(patch: Patch) -> None:
    """A pause of what is paused takes the place of the first."""
    patch.setattr(controls.rules, "pause", lambda held, now: replace(held, paused_at=now))


def let_go_of_keys_while_tasks_run(patch: Patch) -> None:
    held_by = UniqueKey.held_by
    patch.setattr(
        UniqueKey,
        "held_by",
        lambda self, state, *rest: None if state == "running" else held_by(self, state, *rest),
    )


def delete_without_a_word(patch: Patch) -> None:
    silent = SimpleNamespace(cancel_member=lambda task, now: Change(task, task))
    patch.setattr(deletion, "transitions", silent)


# ---- sets and values ----------------------------------------------------------------------------------


def settle_what_is_over(patch: Patch) -> None:
    """Acks are heeded for a second after the lease."""
    settle = workset_rules.settle
    early = timedelta(seconds=1)
    patch.setattr(
        workset_operations, "settle", lambda lease, held, verb, now: settle(lease, held, verb, now - early)
    )


def forget_leases_with_their_end(patch: Patch) -> None:
    """Late calls are told that there was no lease, not that it is over."""
    delete_expired = lease_store.delete_expired

    async def mutant(tx: Any, before: datetime, limit: int) -> int:
        return await delete_expired(tx, tx.now, limit)

    sweeps = tuple(mutant if sweep is delete_expired else sweep for sweep in server.SWEEPS)
    patch.setattr(server, "SWEEPS", sweeps)


def lose_what_is_given_back(patch: Patch) -> None:
    give_back = workset_operations._Results._give_back

    def mutant(self: Any, key: Any, members: Any, verb: Any) -> None:
        give_back(self, key, members, verb)
        for member in members:
            self._moved.pop((key, member.member_id))
            self._removed[key, member.member_id] = None

    patch.setattr(workset_operations._Results, "_give_back", mutant)


def forget_what_was_added_meanwhile(patch: Patch) -> None:
    remove = workset_operations._Results.remove

    def mutant(self: Any, key: Any, members: Any) -> None:
        remove(self, key, [replace(member, again=None) for member in members])

    patch.setattr(workset_operations._Results, "remove", mutant)


def deliver_too_often(patch: Patch) -> None:
    patch.setattr(workset_operations, "is_last", lambda deliveries, most: 0 < most < deliveries)


def leave_consumers_asleep(patch: Patch) -> None:
    patch.setattr(workset_operations, "topic_of", lambda key: "nobody")


def say_nothing_of_the_dead(patch: Patch) -> None:
    die = workset_operations._Results.die

    def mutant(self: Any, key: Any, members: Any, error: str) -> None:
        die(self, key, members, error)
        self._told.clear()

    patch.setattr(workset_operations._Results, "die", mutant)


def answer_pops_with_more_than_is_leased(patch: Patch) -> None:
    """The commit of a lease is lost for its last member."""
    take = workset_store.take

    async def mutant(tx: Any, takings: Any) -> Any:
        taken = await take(tx, takings)
        last = takings[-1]
        await tx.connection.run(
            "UPDATE workset_members SET lease_id = NULL, available_at = 0 WHERE member_id = ?",
            (last.member_id,),
        )
        return taken

    patch.setattr(workset_store, "take", mutant)


def heed_no_expected_version(patch: Patch) -> None:
    patch.setattr(kv_rules, "check_version", lambda place, if_version, present: None)


def say_nothing_of_values(patch: Patch) -> None:
    changed = kv_operations._changed

    def mutant(place: Any, entry: Any, version: int, op: str) -> Any:
        return changed(place, entry, version if op == "put" and version % 5 else 0, op)

    patch.setattr(kv_operations, "_changed", mutant)


MUTANTS: Final[tuple[Callable[[Patch], None], ...]] = (
    release_before_the_time,
    never_release,
    forget_to_tell_what_came_due,
    try_again_without_end,
    try_again_behind_the_deadline,
    take_attempts_from_the_retries,
    wait_after_every_error_as_after_the_first,
    count_a_snooze_as_an_attempt,
    start_what_is_held,
    pause_again,
    let_go_of_keys_while_tasks_run,
    delete_without_a_word,
    settle_what_is_over,
    forget_leases_with_their_end,
    lose_what_is_given_back,
    forget_what_was_added_meanwhile,
    deliver_too_often,
    leave_consumers_asleep,
    say_nothing_of_the_dead,
    answer_pops_with_more_than_is_leased,
    heed_no_expected_version,
    say_nothing_of_values,
)


LATE: Final = {
    try_again_behind_the_deadline: 2140,
    wait_after_every_error_as_after_the_first: 2030,
    delete_without_a_word: 2050,
    forget_leases_with_their_end: 2030,
}
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


@pytest.mark.parametrize(
    "mutate",
    [leave_workers_asleep_when_a_task_queue_is_resumed, claim_from_paused_task_queues],
    ids=lambda mutate: mutate.__name__,
)
def test_a_pause_that_is_not_kept_is_caught(mutate: Callable[[Patch], None]) -> None:
    """Too rare in lives that are drawn: a worker has to wait through the pause, woken by nothing else."""
    claim = {"worker": "g/w-1", "conduct": ((0.1, "completed"),)}
    work = {**claim, "queue": "prov/one", "wanted": 1, "leaves": 0.0}
    plan = Plan(
        1,
        (
            Action(0.1, "work", work),
            Action(21.0, "queue call", {"queue": "prov/one", "method": "pause_task_queues"}),
            Action(22.0, "create", created(0, deadline=300, expires=None)),
            Action(23.0, "work", work),
            Action(24.0, "call", {**claim, "method": "claim_task", "task": 0, "run": 0}),
            Action(26.0, "queue call", {"queue": "prov/one", "method": "resume_task_queues"}),
        ),
    )
    assert World(plan).live().violations == ()
    with Patch.context() as patch:
        mutate(patch)
        assert World(plan).live().violations
