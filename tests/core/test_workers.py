"""What is remembered of a worker, and for how long (``queue-behaviour.md`` 7.4)."""

from datetime import timedelta
from typing import Final

from queue_service.core.workers import (
    KEPT,
    MAX_DETAILS,
    RecentTask,
    Seen,
    Worker,
    WorkerKey,
    declare,
    notice,
    quarantine,
    remember,
)
from tests.core.samples import NOW, new_ids

HOUR: Final = timedelta(hours=1)
KEY: Final = WorkerKey("prov/type", "eu", "w-1")
WORKER: Final = Worker(KEY, NOW, Seen(NOW, NOW + KEPT))
IDS: Final = new_ids(30)
CLAIMS: Final = [RecentTask(task_id, 0, NOW + n * HOUR) for n, task_id in enumerate(IDS)]


def test_the_newest_20_claims_are_remembered_oldest_first() -> None:
    assert remember(CLAIMS[:15], CLAIMS[15:]) == tuple(CLAIMS[10:])
    assert remember(CLAIMS[20:], CLAIMS[:3]) == (*CLAIMS[:3], *CLAIMS[20:])
    assert remember((), ()) == ()


def test_a_claim_is_remembered_once_and_another_run_of_its_task_too() -> None:
    retried = RecentTask(IDS[0], 1, NOW + 2 * HOUR)
    assert remember(CLAIMS[:2], [CLAIMS[0], retried]) == (CLAIMS[0], CLAIMS[1], retried)


def test_to_be_seen_never_moves_a_time_backwards() -> None:
    later = notice(WORKER, Seen(NOW + HOUR, NOW), ())
    assert later.seen == Seen(NOW + HOUR, NOW + KEPT)
    assert notice(later, Seen(NOW, NOW + 2 * KEPT), ()).seen == Seen(NOW + HOUR, NOW + 2 * KEPT)


def test_claims_alone_are_no_activity() -> None:
    known = notice(WORKER, None, CLAIMS[:1])
    assert (known.seen, known.recent_tasks) == (WORKER.seen, (CLAIMS[0],))


def test_to_be_declared_is_no_activity() -> None:
    assert declare(WORKER, NOW + 2 * KEPT).seen == Seen(NOW, NOW + 2 * KEPT)
    assert declare(WORKER, NOW - KEPT).seen == WORKER.seen


def test_a_quarantine_ends_at_its_date() -> None:
    until = NOW + HOUR
    held = quarantine(WORKER, until, "", "me", NOW)
    assert held.quarantined(NOW)
    assert not held.quarantined(until)
    assert not quarantine(held, NOW, "", "me", NOW).quarantined(NOW)


def test_a_worker_is_shown_while_it_is_unexpired_or_quarantined() -> None:
    held = quarantine(WORKER, NOW + 3 * KEPT, "", "me", NOW)
    assert WORKER.shown(NOW)
    assert not WORKER.shown(NOW + KEPT)
    assert held.shown(NOW + 2 * KEPT)
    assert not held.shown(NOW + 3 * KEPT)


def test_only_so_many_quarantines_are_remembered() -> None:
    worker = WORKER
    for number in range(MAX_DETAILS + 5):
        worker = quarantine(worker, NOW, str(number), "me", NOW)
    assert len(worker.details) == MAX_DETAILS
    assert worker.details[-1].quarantine_info == str(MAX_DETAILS + 4)
