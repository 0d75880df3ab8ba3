"""Rows of clients, and the encryption of their access tokens."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from queue_service.core.access import Client, SealedToken
from queue_service.store import access, clients
from queue_service.store.database import Database, StoreUnavailable, Tx
from queue_service.store.vault import Vault, WrongKey
from tests.core.samples import NOW
from tests.store.manual_clock import ManualClock

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def client(client_id: str = "c", **members: object) -> Client:
    made = Client(
        client_id=client_id,
        description="d é",
        scopes=("b*", "a"),
        token=SealedToken("sealed", "key-1"),
        expires=NOW + DAY,
        created=NOW,
        last_modified=NOW + HOUR,
        last_date_used=NOW + 2 * HOUR,
        last_rotated=NOW + 3 * HOUR,
    )
    return replace(made, **members)  # type: ignore[arg-type]


async def stored(database: Database, client_id: str = "c") -> Client | None:
    async with database.read() as connection:
        return await clients.get(connection, client_id)


async def insert(database: Database, *made: Client) -> None:
    async def script(tx: Tx) -> None:
        for one in made:
            await clients.insert(tx, one)

    await database.write(script)


@pytest.mark.parametrize("flag", [False, True])
async def test_a_client_comes_back_as_it_was_written(database: Database, flag: bool) -> None:
    made = client(disabled=flag, delete_on_expiration=flag)
    await insert(database, made)
    assert await stored(database) == made
    assert await stored(database, "C") is None


async def test_a_client_is_not_written_twice(database: Database) -> None:
    await insert(database, client())
    with pytest.raises(StoreUnavailable):
        await insert(database, client(description="other"))
    assert await stored(database) == client()


async def test_saving_keeps_what_cannot_change_and_when_it_was_used(database: Database) -> None:
    await insert(database, client())
    changed = client(
        description="other",
        scopes=(),
        token=SealedToken("more", "key-2"),
        expires=NOW,
        last_modified=NOW + DAY,
        last_rotated=NOW + DAY,
        disabled=True,
        delete_on_expiration=True,
    )
    later = replace(changed, created=NOW + DAY, last_date_used=NOW + DAY)
    await database.write(lambda tx: clients.save(tx, later))
    assert await stored(database) == changed


async def test_saving_a_client_that_is_gone_is_noticed(database: Database) -> None:
    with pytest.raises(StoreUnavailable):
        await database.write(lambda tx: clients.save(tx, client()))


async def test_removing_tells_whether_there_was_one(database: Database) -> None:
    await insert(database, client())
    assert await database.write(lambda tx: clients.remove(tx, "c"))
    assert not await database.write(lambda tx: clients.remove(tx, "c"))
    assert await stored(database) is None


@pytest.mark.parametrize(
    ("prefix", "after", "wanted", "expected"),
    [
        ("", "", 10, ["B", "a", "a/1", "a/2", "a|", "b"]),
        ("", "a/1", 2, ["a/2", "a|"]),
        ("a", "", 10, ["a", "a/1", "a/2", "a|"]),
        ("a/", "a/1", 10, ["a/2"]),
        ("a|", "", 10, ["a|"]),
        ("c", "", 10, []),
        ("~", "", 10, []),
    ],
)
async def test_pages_are_in_order_of_the_ids_by_their_bytes(
    database: Database, prefix: str, after: str, wanted: int, expected: list[str]
) -> None:
    await insert(database, *(client(name) for name in ("a", "b", "B", "a/1", "a|", "a/2")))
    async with database.read() as connection:
        found = await clients.page(connection, prefix, after, wanted)
    assert [one.client_id for one in found] == expected


async def test_a_use_is_written_when_the_last_one_is_long_ago(database: Database, clock: ManualClock) -> None:
    await insert(database, client(last_date_used=clock.now()))
    clock.advance(hours=1)
    await database.write(lambda tx: clients.mark_used(tx, "c", 2 * HOUR))
    assert await stored(database) == client(last_date_used=clock.now() - HOUR)
    clock.advance(hours=1)
    await database.write(lambda tx: clients.mark_used(tx, "c", 2 * HOUR))
    assert await stored(database) == client(last_date_used=clock.now())


async def test_only_clients_that_want_it_are_deleted_when_they_expire(database: Database) -> None:
    await insert(
        database,
        client("keeps", expires=NOW),
        client("goes/1", expires=NOW, delete_on_expiration=True),
        client("goes/2", expires=NOW - DAY, delete_on_expiration=True),
        client("later", expires=NOW + DAY, delete_on_expiration=True),
    )
    before = NOW + timedelta(milliseconds=1)
    async with database.read() as connection:
        assert await clients.expired(connection, NOW, 10) == ["goes/2"]
        assert await clients.expired(connection, before, 1) == ["goes/2"]
        found = await clients.expired(connection, before, 10)
    assert found == ["goes/2", "goes/1"]
    every = ["keeps", *found, "later"]
    gone = await database.write(lambda tx: clients.remove_expired(tx, every, before))
    assert gone == ["goes/1", "goes/2"]
    async with database.read() as connection:
        assert [one.client_id for one in await clients.page(connection, "", "", 10)] == ["keeps", "later"]


async def test_clients_of_another_key_are_counted(database: Database) -> None:
    async with database.read() as connection:
        assert await clients.with_other_key(connection, "key-1") == (0, "")
    await insert(database, client("a"), client("b", token=SealedToken("", "key-2")))
    async with database.read() as connection:
        assert await clients.with_other_key(connection, "key-1") == (1, "b")
        assert await clients.with_other_key(connection, "key-3") == (2, "a")


# ---- the state that counts changes --------------------------------------------------------------------


async def test_the_state_is_made_once(database: Database, clock: ManualClock) -> None:
    async with database.read() as connection:
        assert await access.state(connection) is None
    began = clock.now()
    assert await database.write(access.begin)
    clock.advance(hours=1)
    assert not await database.write(access.begin)
    async with database.read() as connection:
        assert await access.state(connection) == access.AccessState(1, began)


async def test_changes_are_counted_once_each_however_many_come_at_once(database: Database) -> None:
    await database.write(access.begin)

    async def change(tx: Tx) -> None:
        await access.lock(tx)
        await access.changed(tx)

    await asyncio.gather(*(database.write(change) for _ in range(10)))
    async with database.read() as connection:
        state = await access.state(connection)
    assert state is not None
    assert state.generation == 11


async def test_nothing_changes_before_the_first_start(database: Database) -> None:
    with pytest.raises(StoreUnavailable):
        await database.write(access.changed)


# ---- encryption ---------------------------------------------------------------------------------------

TOKEN = "vuOoBTLkTDKsiDVZ2BuxUQ3ReqAqTXmzLAr1nOm6RQWA"


def test_a_token_comes_back_from_the_vault() -> None:
    sealed = Vault(b"secret").seal("a/b", TOKEN)
    assert Vault(b"secret").open("a/b", sealed) == TOKEN
    assert TOKEN not in sealed.text
    assert TOKEN not in repr(sealed)
    assert sealed.text not in repr(sealed)


def test_equal_tokens_are_sealed_differently() -> None:
    vault = Vault(b"secret")
    assert vault.seal("a", TOKEN) != vault.seal("a", TOKEN)


def test_another_key_another_client_and_another_text_are_refused() -> None:
    vault = Vault(b"secret")
    sealed = vault.seal("a", TOKEN)
    flipped = sealed.text[:-4] + ("B" if sealed.text[-4] == "A" else "A") + sealed.text[-3:]
    for wrong, client_id, text in (
        (Vault(b"other"), "a", sealed.text),
        (vault, "b", sealed.text),
        (vault, "a", flipped),
        (vault, "a", ""),
        (vault, "a", "no base64"),
    ):
        with pytest.raises(WrongKey) as refused:
            wrong.open(client_id, SealedToken(text, sealed.key_id))
        assert TOKEN not in str(refused.value)


def test_a_key_is_known_by_a_name_that_does_not_tell_it() -> None:
    one, other = Vault(b"secret"), Vault(b"another")
    assert one.key_id == Vault(b"secret").key_id == one.seal("a", TOKEN).key_id
    assert one.key_id != other.key_id
    assert "secret" not in one.key_id
