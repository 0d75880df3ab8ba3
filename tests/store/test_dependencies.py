"""Who waits for whom, and the list of ends that dependents and groups have not looked at yet."""

from queue_service.store import dependencies
from queue_service.store.database import Database, Tx
from queue_service.store.dependencies import Edge
from queue_service.store.signals import Signal, TasksResolved
from tests.core.samples import EXPIRES, new_ids, task
from tests.store.databases import opened
from tests.store.given import read
from tests.store.manual_clock import ManualClock

A, B, C, D = new_ids(4)


async def insert(database: Database, *edges: tuple[str, str], requires: str = "all-completed") -> None:
    await database.write(
        lambda tx: dependencies.insert_edges(
            tx,
            [
                (Edge(required, dependent, requires), False, EXPIRES)  # type: ignore[arg-type]
                for required, dependent in edges
            ],
        )
    )


async def waiting(database: Database, *ended: tuple[str, str], limit: int = 100) -> set[tuple[str, str]]:
    edges = await read(database, dependencies.waiting_for, ended, limit)
    return {(edge.required_task_id, edge.dependent_task_id) for edge in edges}


async def satisfy(database: Database, *edges: tuple[str, str]) -> None:
    await database.write(
        lambda tx: dependencies.satisfy(tx, [Edge(*edge, "all-completed") for edge in edges])
    )


async def free(database: Database, *dependents: str) -> set[str]:
    return set(await database.write(lambda tx: dependencies.free(tx, dependents)))


async def test_those_that_wait_for_a_task_are_found_by_what_they_require(database: Database) -> None:
    await insert(database, (A, B), (A, C))
    await insert(database, (A, D), requires="all-resolved")
    assert await waiting(database, (A, "all-completed")) == {(A, B), (A, C)}
    assert await waiting(database, (A, "all-resolved")) == {(A, D)}
    assert await waiting(database, (A, "all-completed"), (A, "all-resolved")) == {(A, B), (A, C), (A, D)}
    assert await waiting(database, (B, "all-completed")) == set()
    assert len(await waiting(database, (A, "all-completed"), limit=1)) == 1


async def test_an_edge_that_was_satisfied_at_creation_does_not_wait(database: Database) -> None:
    edge = Edge(A, B, "all-completed")
    await database.write(lambda tx: dependencies.insert_edges(tx, [(edge, True, EXPIRES)]))
    assert await waiting(database, (A, "all-completed")) == set()
    assert await free(database, B) == {B}


async def test_satisfied_edges_do_not_wait_any_more(database: Database) -> None:
    await insert(database, (A, C), (B, C), (A, D))
    await satisfy(database, (A, C))
    assert await waiting(database, (A, "all-completed"), (B, "all-completed")) == {(B, C), (A, D)}
    await satisfy(database, (A, C))
    assert await waiting(database, (A, "all-completed")) == {(A, D)}


async def test_a_dependent_is_free_when_its_last_edge_is_satisfied(database: Database) -> None:
    await insert(database, (A, C), (B, C), (A, D))
    assert await free(database, C, D) == set()
    await satisfy(database, (A, C), (A, D))
    assert await free(database, C, D) == {D}
    await satisfy(database, (B, C))
    assert await free(database, C, D) == {C, D}
    assert await free(database) == set()


async def end(database: Database, *task_ids: str) -> None:
    """These tasks complete, in this order."""
    ended = [task("scheduled completed", task_id=task_id) for task_id in task_ids]
    await database.write(lambda tx: dependencies.insert_resolutions(tx, ended))


async def next_ids(database: Database, limit: int = 100) -> list[str]:
    found = await database.write(lambda tx: dependencies.next_resolutions(tx, limit))
    return [entry.task_id for entry in found]


async def test_ends_are_worked_off_in_their_order(database: Database) -> None:
    await end(database, C, A, B)
    assert await next_ids(database) == [C, A, B]
    assert await next_ids(database, limit=2) == [C, A]


async def test_an_end_is_announced(database: Database) -> None:
    seen: list[Signal] = []
    database.subscribe(seen.append)
    await end(database)
    assert seen == []
    await end(database, A, B)
    assert seen == [TasksResolved()]


async def test_ends_stay_on_the_list_until_they_are_deleted(database: Database) -> None:
    await end(database, A, B)

    async def script(tx: Tx) -> None:
        first = await dependencies.next_resolutions(tx, 1)
        await dependencies.delete_resolutions(tx, [entry.id for entry in first])
        await dependencies.delete_resolutions(tx, [])

    await database.write(script)
    assert await next_ids(database) == [B]


async def test_another_process_takes_other_ends(
    postgres_database: Database, postgres_database_url: str, clock: ManualClock
) -> None:
    await end(postgres_database, A, B)
    async with opened(postgres_database_url, clock) as other:

        async def script(tx: Tx) -> tuple[list[str], list[str]]:
            mine = await dependencies.next_resolutions(tx, 1)
            return [entry.task_id for entry in mine], await next_ids(other)

        assert await postgres_database.write(script) == ([A], [B])
