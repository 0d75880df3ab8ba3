"""The rules of clients and roles that need neither a database nor a caller (``auth.md`` 3.1, 4.1, 4.2)."""

from dataclasses import replace
from datetime import timedelta

import pytest

from queue_service.core.access import (
    Client,
    Role,
    SealedToken,
    refuse_different_client,
    refuse_different_role,
    refuse_static,
    refuse_wild_scopes,
)
from queue_service.core.errors import InputError, RequestConflict
from tests.core.samples import NOW

CLIENT = Client("c", "d", ("a", "b"), SealedToken("t", "k"), NOW, NOW, NOW, NOW, NOW)
ROLE = Role("r", ("a", "b"), "d", NOW, NOW)
LATER = NOW + timedelta(days=1)


@pytest.mark.parametrize("client_id", ["static/", "static/a", "static/a/b"])
def test_static_clients_are_not_for_calls(client_id: str) -> None:
    with pytest.raises(InputError, match=client_id):
        refuse_static(client_id)


@pytest.mark.parametrize("client_id", ["a", "static", "Static/a", "a/static/b"])
def test_other_clients_are(client_id: str) -> None:
    refuse_static(client_id)


@pytest.mark.parametrize("scope", ["**", "a**", "a***"])
def test_a_scope_with_two_stars_at_its_end_is_refused(scope: str) -> None:
    with pytest.raises(InputError, match=r"\*\*"):
        refuse_wild_scopes(["a", scope])


def test_stars_elsewhere_are_text() -> None:
    refuse_wild_scopes(["*", "a*", "**a", "a**b*", ""])


@pytest.mark.parametrize(
    "other",
    [
        CLIENT,
        replace(CLIENT, scopes=("b", "a")),
        replace(CLIENT, delete_on_expiration=True, token=SealedToken("u", "k"), created=LATER),
    ],
)
def test_creating_a_client_again(other: Client) -> None:
    refuse_different_client(CLIENT, other, NOW + timedelta(minutes=15))


@pytest.mark.parametrize(
    ("stored", "other", "after"),
    [
        (CLIENT, replace(CLIENT, description="other"), 0),
        (CLIENT, replace(CLIENT, expires=LATER), 0),
        (CLIENT, replace(CLIENT, scopes=("a",)), 0),
        (replace(CLIENT, disabled=True), CLIENT, 0),
        (CLIENT, CLIENT, 15 * 60 + 0.001),
    ],
)
def test_what_does_not_repeat_the_creation_of_a_client(stored: Client, other: Client, after: float) -> None:
    with pytest.raises(RequestConflict, match="`c`"):
        refuse_different_client(stored, other, NOW + timedelta(seconds=after))


def test_creating_a_role_again() -> None:
    refuse_different_role(ROLE, replace(ROLE, created=LATER))


@pytest.mark.parametrize("other", [replace(ROLE, scopes=("a",)), replace(ROLE, description="other")])
def test_what_does_not_repeat_the_creation_of_a_role(other: Role) -> None:
    with pytest.raises(RequestConflict, match="`r`"):
        refuse_different_role(ROLE, other)
