"""No sequence of calls by somebody without a scope changes what the scope guards.

An attacker has a few scopes and knows everything else: ids, other clients' names, the state of the service.
He calls whatever he likes, in any order, with any body, with what he was given on the way. What his scopes do
not guard stays as it is, and whatever he makes has no scope that he did not have.
"""

import asyncio
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from queue_service.auth.roles import Roles
from queue_service.auth.scopes import ScopeSet
from tests.api.databases import SqliteDatabase
from tests.api.manual_clock import ManualClock
from tests.api.running_queue import NOTHING
from tests.api.secured_queue import SecuredQueue, Signed, quoted
from tests.auth.callers import Caller

CLIENTS: Final = ("mine/a", "mine/b", "theirs/a", "static/taskbus/root", "attacker")
ROLES: Final = ("mine-x", "mine-*", "theirs-x", "*", "anonymous", "mine")
SCOPES: Final = (
    "*", "a", "a:b", "a:*", "b", "assume:*", "assume:mine-x", "assume:theirs-x", "assume:mine-*",
    "assume:mine", "auth:*", "auth:create-client:*", "auth:create-client:mine/*",
    "auth:update-role:theirs-x", "secret:1", "assume:<..>", "x:<..>", "assume:anonymous", "queue:*",
)  # fmt: skip
VERBS: Final = (
    "create-client", "update-client", "reset-access-token", "enable-client", "disable-client",
    "delete-client", "create-role", "update-role", "delete-role",
)  # fmt: skip
GRANTS: Final = [f"auth:{verb}:mine*" for verb in VERBS]

scopes = st.lists(st.sampled_from(SCOPES), max_size=3, unique=True)
clients = st.sampled_from(CLIENTS).map(lambda name: f"/clients/{quoted(name)}")
roles = st.sampled_from(ROLES).map(lambda name: f"/roles/{quoted(name)}")
client_bodies = scopes.map(
    lambda given: {"expires": "2030-01-01T00:00:00Z", "description": "", "scopes": given}
)
role_bodies = scopes.map(lambda given: {"description": "", "scopes": given})
calls = st.one_of(
    st.tuples(st.sampled_from(["PUT", "POST"]), clients, client_bodies),
    st.tuples(st.sampled_from(["PUT", "POST"]), roles, role_bodies),
    st.tuples(
        st.just("POST"),
        st.tuples(clients, st.sampled_from(["/reset", "/enable", "/disable"])).map("".join),
        st.just(NOTHING),
    ),
    st.tuples(st.just("DELETE"), st.one_of(clients, roles), st.just(NOTHING)),
)
sequences = st.lists(st.tuples(st.integers(0, 5), calls), min_size=1, max_size=12)

RUNS: Final[dict[str, Any]] = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.function_scoped_fixture],
    "phases": (Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> SqliteDatabase:
    return SqliteDatabase(tmp_path_factory.mktemp("attack"))


class State:
    """Clients and roles as the database has them."""

    def __init__(self, clients: list[dict[str, Any]], roles: list[dict[str, Any]]) -> None:
        self.clients = {client["clientId"]: client for client in clients}
        self.roles = {role["roleId"]: role for role in roles}

    def held(self, *scopes: str) -> ScopeSet:
        return Roles({name: role["scopes"] for name, role in self.roles.items()}).expand(scopes)


async def state_of(queue: SecuredQueue) -> State:
    return State((await queue.root.get("/clients/"))["clients"], await queue.root.get("/roles/"))


async def attack(database: SqliteDatabase, granted: list[str], sequence: list[Any]) -> None:
    with database.copy() as url:
        queue = SecuredQueue(url, ManualClock())
        try:
            await queue.begin()
            await queue.client("theirs/a", "secret:1")
            await queue.role("theirs-x", "secret:1")
            attackers = [await queue.client("attacker", *granted)]
            before = await state_of(queue)
            reach = before.held(*granted, "assume:anonymous")
            for who, (method, target, body) in sequence:
                attacker = attackers[who % len(attackers)]
                reply = await attacker.call(method, target, body)
                assert reply.status < 500, reply.body
                if reply.status == 200 and "accessToken" in reply.json():
                    told = reply.json()
                    attackers.append(Signed(queue, Caller(told["clientId"], told["accessToken"])))
            await assert_guarded(queue, before, reach)
        finally:
            await queue.close()


async def assert_guarded(queue: SecuredQueue, before: State, reach: ScopeSet) -> None:
    after = await state_of(queue)
    for kind, was, became in (
        ("client", before.clients, after.clients),
        ("role", before.roles, after.roles),
    ):
        for name in was.keys() | became.keys():
            assert_allowed(kind, name, was.get(name), became.get(name), reach)


def assert_allowed(
    kind: str, name: str, was: dict[str, Any] | None, became: dict[str, Any] | None, reach: ScopeSet
) -> None:
    """Whatever became of a client or role, the attacker had a scope for it."""

    def may(*verbs: str) -> bool:
        return any(reach.satisfies(f"auth:{verb}-{kind}:{name}") for verb in verbs)

    if was is None or became is None:
        assert may("create", "delete"), f"{kind} {name} came or went"
        gained = became["scopes"] if became is not None else []
    else:
        own = {key: value for key, value in was.items() if key not in ("expandedScopes", "lastDateUsed")}
        if own == {key: became[key] for key in own}:
            return
        verbs = ("update", "delete", "enable", "disable") if kind == "client" else ("update", "delete")
        resettable = kind == "client" and reach.satisfies(f"auth:reset-access-token:{name}")
        assert may(*verbs) or resettable, f"{kind} {name} changed"
        gained = [scope for scope in became["scopes"] if scope not in was["scopes"]]
    if was is not None and kind == "role":
        gained = [scope for scope in gained if scope not in was["expandedScopes"]]
    assert all(reach.satisfies(scope) for scope in gained), f"{kind} {name} has what the attacker had not"


@settings(max_examples=60, **RUNS)
@given(
    granted=st.lists(st.sampled_from([*GRANTS, "a:*", "b", "assume:mine-x"]), unique=True), sequence=sequences
)
def test_no_sequence_of_calls_reaches_beyond_its_scopes(
    database: SqliteDatabase, granted: list[str], sequence: list[Any]
) -> None:
    asyncio.run(attack(database, granted, sequence))


@settings(max_examples=30, **RUNS)
@given(sequence=sequences, data=st.data())
def test_no_sequence_of_calls_without_a_scope_changes_anything(
    database: SqliteDatabase, sequence: list[Any], data: st.DataObject
) -> None:
    granted = data.draw(
        st.lists(st.sampled_from(["a:*", "secret:1", "assume:theirs-x", "queue:*"]), unique=True)
    )

    async def run() -> None:
        with database.copy() as url:
            queue = SecuredQueue(url, ManualClock())
            try:
                await queue.begin()
                attacker = await queue.client("attacker", *granted)
                await queue.role("theirs-x", "secret:1")
                before = await queue.generation()
                for who, (method, target, body) in sequence:
                    caller = (attacker, queue.anonymous)[who % 2]
                    assert (await caller.call(method, target, body)).status in (400, 403, 404)
                assert await queue.generation() == before
            finally:
                await queue.close()

    asyncio.run(run())
