"""A change of clients or roles acts at once in the process that made it, and in every other one."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from queue_service.api.directory import FRESH_SECONDS
from queue_service.store.database import StoreUnavailable
from queue_service.store.notifications import Notifications
from queue_service.store.signals import AccessChanged, Signal
from tests.api.secured_queue import SecuredQueue, Signed, quoted, refused
from tests.auth.callers import Caller

NAME = "a/b"
PATH = f"/clients/{quoted(NAME)}"

Change = Callable[[Signed], Awaitable[object]]

REVOCATIONS: dict[str, Change] = {
    "disabled": lambda root: root.post(f"{PATH}/disable"),
    "deleted": lambda root: root.delete(PATH),
    "reset": lambda root: root.post(f"{PATH}/reset"),
    "expired": lambda root: root.post(
        PATH, {"expires": "2024-01-01T00:00:00Z", "description": "", "scopes": ["assume:r"]}
    ),
}
REDUCTIONS: dict[str, Change] = {
    "fewer scopes": lambda root: root.post(PATH, root.queue.wanted()),
    "another role": lambda root: root.post("/roles/r", {"description": "", "scopes": []}),
    "no role": lambda root: root.delete("/roles/r"),
}


class Minute:
    """Seconds that pass when the test says so."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def minute() -> Minute:
    return Minute()


@pytest.fixture
async def caller(secured: SecuredQueue, other_process: SecuredQueue, minute: Minute) -> Signed:
    """A client with the role ``r``, of the scope ``auth:list-roles``; it asks the other process."""
    other_process.directory._monotonic = minute
    await secured.role("r", "auth:list-roles")
    made = await secured.client(NAME, "assume:r")
    caller = Signed(other_process, made.caller)
    assert (await caller.call("GET", "/roles/")).status == 200
    return caller


# ---- the process that made the change -----------------------------------------------------------------


@pytest.mark.parametrize("change", REVOCATIONS.values(), ids=REVOCATIONS)
async def test_who_is_revoked_is_out_with_the_next_call(secured: SecuredQueue, change: Change) -> None:
    made = await secured.client(NAME)
    await made.scopes()
    await change(secured.root)
    refused(await made.call("GET", "/scopes/current"), 401, "AuthenticationFailed")


@pytest.mark.parametrize("change", REDUCTIONS.values(), ids=REDUCTIONS)
async def test_what_is_taken_away_is_gone_with_the_next_call(secured: SecuredQueue, change: Change) -> None:
    await secured.role("r", "auth:list-roles")
    made = await secured.client(NAME, "assume:r")
    assert (await made.call("GET", "/roles/")).status == 200
    await change(secured.root)
    refused(await made.call("GET", "/roles/"), 403, "InsufficientScopes")


# ---- another process ----------------------------------------------------------------------------------


@pytest.mark.parametrize("change", REVOCATIONS.values(), ids=REVOCATIONS)
async def test_who_is_revoked_elsewhere_is_out_after_a_second_at_worst(
    secured: SecuredQueue, caller: Signed, minute: Minute, change: Change
) -> None:
    await change(secured.root)
    minute.now += FRESH_SECONDS
    refused(await caller.call("GET", "/scopes/current"), 401, "AuthenticationFailed")


@pytest.mark.parametrize("change", REDUCTIONS.values(), ids=REDUCTIONS)
async def test_what_is_taken_away_elsewhere_is_gone_after_a_second_at_worst(
    secured: SecuredQueue, caller: Signed, minute: Minute, change: Change
) -> None:
    await change(secured.root)
    minute.now += FRESH_SECONDS
    refused(await caller.call("GET", "/roles/"), 403, "InsufficientScopes")


async def test_nobody_is_refused_for_what_was_granted_elsewhere_before(
    secured: SecuredQueue, caller: Signed
) -> None:
    """Without any time for the other process to hear of it."""
    await secured.root.put("/roles/more", {"description": "", "scopes": ["auth:list-clients"]})
    wanted = secured.wanted("assume:r", "assume:more")
    await secured.root.post(PATH, wanted)
    assert (await caller.call("GET", "/clients/")).status == 200
    newer = Signed(caller.queue, (await secured.client("newer", "auth:list-clients")).caller)
    assert (await newer.call("GET", "/clients/")).status == 200
    reset = await secured.root.post(f"{PATH}/reset")
    again = caller.by(Caller(NAME, reset["accessToken"]))
    assert (await again.call("GET", "/clients/")).status == 200


async def test_a_deferred_refusal_is_looked_at_again_too(secured: SecuredQueue, caller: Signed) -> None:
    body = secured.wanted()
    refused(await caller.call("PUT", "/clients/new", body), 403, "InsufficientScopes")
    await secured.root.post("/roles/r", {"description": "", "scopes": ["auth:create-client:new"]})
    assert (await caller.call("PUT", "/clients/new", body)).status == 200


async def test_another_service_is_told_what_was_granted_elsewhere_before(
    secured: SecuredQueue, caller: Signed
) -> None:
    made = (await secured.client("newer")).caller
    assert made is not None
    url = "/api/x/v1/y"
    bewit = made.bewit(url, int(secured.clock.now().timestamp()) + 60, host="h", port=80)
    body = {"method": "get", "resource": f"{url}?bewit={bewit}", "host": "h", "port": 80}
    assert (await caller.post("/authenticate-hawk", body))["status"] == "auth-success"


@pytest.mark.parametrize("database_kind", [pytest.param("postgres", marks=pytest.mark.postgres)])
async def test_a_notification_tells_the_other_process_at_once(
    secured: SecuredQueue, other_process: SecuredQueue, caller: Signed
) -> None:
    heard = asyncio.Event()

    def listen(signal: Signal) -> None:
        if isinstance(signal, AccessChanged):
            heard.set()

    other_process.database.subscribe(listen)
    async with notified(secured, "one"), notified(other_process, "two"):
        await secured.root.post(f"{PATH}/disable")
        await heard.wait()
        refused(await caller.call("GET", "/scopes/current"), 401, "AuthenticationFailed")


class notified:
    """The process hears of the others, and they of it."""

    def __init__(self, process: SecuredQueue, name: str) -> None:
        self._notifications = Notifications(process.database, name)

    async def __aenter__(self) -> None:
        self._notifications.start()
        await self._notifications.listening.wait()

    async def __aexit__(self, *error: object) -> None:
        await self._notifications.stop()


# ---- how often the database is asked ------------------------------------------------------------------


class Asked:
    """How often a directory has read, while the test counts."""

    def __init__(self, queue: SecuredQueue) -> None:
        self.times = 0
        self.fails = False
        read = queue.database.read

        def counted() -> object:
            self.times += 1
            if self.fails:
                raise StoreUnavailable("gone")
            return read()

        queue.directory._database.read = counted  # type: ignore[method-assign,assignment]


@pytest.fixture
async def asked(secured: SecuredQueue, minute: Minute) -> Asked:
    secured.directory._monotonic = minute
    await secured.root.scopes()
    return Asked(secured)


async def test_what_is_known_is_not_asked_again(
    secured: SecuredQueue, asked: Asked, minute: Minute, database_kind: str
) -> None:
    for _ in range(3):
        await secured.root.scopes()
    assert asked.times == 0
    minute.now += FRESH_SECONDS
    await asyncio.gather(*(secured.root.scopes() for _ in range(5)))
    assert asked.times == (1 if database_kind == "postgres" else 0)


async def test_those_who_are_refused_together_share_a_look(
    secured: SecuredQueue, asked: Asked, database_kind: str
) -> None:
    """One look may have begun before a call was refused; the next one is for all that wait."""
    await asyncio.gather(*(secured.anonymous.call("GET", "/clients/") for _ in range(50)))
    assert asked.times in ((1, 2) if database_kind == "postgres" else (0,))


@pytest.mark.parametrize("database_kind", [pytest.param("postgres", marks=pytest.mark.postgres)])
async def test_what_cannot_be_looked_up_is_not_decided(
    secured: SecuredQueue, asked: Asked, minute: Minute
) -> None:
    asked.fails = True
    assert (await secured.root.scopes()) == ["*"]
    minute.now += FRESH_SECONDS
    assert (await secured.root.call("GET", "/scopes/current")).status == 503
    asked.fails = False
    assert (await secured.root.scopes()) == ["*"]


async def test_a_change_while_the_directory_looks_is_not_missed(secured: SecuredQueue) -> None:
    """A look that began before a change and ended after it does not count as one after it."""
    read, began, go_on, looks = secured.database.read, asyncio.Event(), asyncio.Event(), list[int]()

    @asynccontextmanager
    async def slow() -> AsyncIterator[object]:
        async with read() as connection:
            looks.append(1)
            began.set()
            await go_on.wait()
            yield connection

    secured.directory._database.read = slow  # type: ignore[method-assign,assignment]
    secured.database.announce((AccessChanged(),))
    looking = asyncio.create_task(secured.directory.renew())
    await began.wait()
    secured.database.announce((AccessChanged(),))
    go_on.set()
    await looking
    assert len(looks) == 2
