"""Every method of the PyPI client's ``Auth`` that this service has, against a real secured service."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
import taskcluster
from taskcluster.exceptions import TaskclusterRestFailure

from tests.clients.callers import Caller

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

SERVED_BY_OTHERS: Final = {
    "awsS3Credentials", "gcpCredentials", "githubRepoToken", "sentryDSN", "websocktunnelToken",
    "getEntityHistory", "listAuditHistory",
}  # fmt: skip
"""Methods for other services of a large deployment (``auth.md`` 4: not needed)."""


def new_client(caller: Caller, **members: Any) -> dict[str, Any]:
    expires = taskcluster.stringDate(datetime.now(UTC) + timedelta(days=1))
    body = {"expires": expires, "description": "for a test", "scopes": ["queue:status:*"], **members}
    made: dict[str, Any] = caller.call("Auth", "createClient", f"test/{taskcluster.slugId()}", body)
    return made


def new_role(caller: Caller) -> str:
    role_id = f"test:{taskcluster.slugId()}"
    caller.call("Auth", "createRole", role_id, {"description": "a role", "scopes": ["queue:status:*"]})
    return role_id


def create_client(caller: Caller) -> None:
    assert len(new_client(caller)["accessToken"]) >= 22


def client(caller: Caller) -> None:
    made = new_client(caller)
    found = caller.call("Auth", "client", made["clientId"])
    assert found["scopes"] == ["queue:status:*"]
    assert "accessToken" not in found


def list_clients(caller: Caller) -> None:
    made = new_client(caller)
    found = caller.call("Auth", "listClients", query={"prefix": made["clientId"]})
    assert [item["clientId"] for item in found["clients"]] == [made["clientId"]]


def update_client(caller: Caller) -> None:
    made = new_client(caller)
    body = {"expires": made["expires"], "description": "changed", "scopes": []}
    assert caller.call("Auth", "updateClient", made["clientId"], body)["description"] == "changed"


def reset_access_token(caller: Caller) -> None:
    made = new_client(caller)
    assert caller.call("Auth", "resetAccessToken", made["clientId"])["accessToken"] != made["accessToken"]


def disable_client(caller: Caller) -> None:
    assert caller.call("Auth", "disableClient", new_client(caller)["clientId"])["disabled"] is True


def enable_client(caller: Caller) -> None:
    assert caller.call("Auth", "enableClient", new_client(caller)["clientId"])["disabled"] is False


def delete_client(caller: Caller) -> None:
    made = new_client(caller)
    assert caller.call("Auth", "deleteClient", made["clientId"]) is None
    with pytest.raises(TaskclusterRestFailure) as missing:
        caller.call("Auth", "client", made["clientId"])
    assert missing.value.status_code == 404


def create_role(caller: Caller) -> None:
    new_role(caller)


def role(caller: Caller) -> None:
    role_id = new_role(caller)
    expanded = caller.call("Auth", "role", role_id)["expandedScopes"]
    assert set(expanded) == {f"assume:{role_id}", "queue:status:*"}


def list_roles(caller: Caller) -> None:
    role_id = new_role(caller)
    assert role_id in {item["roleId"] for item in caller.call("Auth", "listRoles")}


def list_roles2(caller: Caller) -> None:
    role_id = new_role(caller)
    assert role_id in {item["roleId"] for item in caller.call("Auth", "listRoles2")["roles"]}


def list_role_ids(caller: Caller) -> None:
    role_id = new_role(caller)
    assert role_id in caller.call("Auth", "listRoleIds")["roleIds"]


def update_role(caller: Caller) -> None:
    role_id = new_role(caller)
    body = {"description": "changed", "scopes": ["a", "b"]}
    assert caller.call("Auth", "updateRole", role_id, body)["scopes"] == ["a", "b"]


def delete_role(caller: Caller) -> None:
    assert caller.call("Auth", "deleteRole", new_role(caller)) is None


def current_scopes(caller: Caller) -> None:
    assert caller.call("Auth", "currentScopes")["scopes"] == ["*"]


def expand_scopes(caller: Caller) -> None:
    role_id = new_role(caller)
    found = caller.call("Auth", "expandScopes", {"scopes": [f"assume:{role_id}"]})["scopes"]
    assert set(found) == {f"assume:{role_id}", "queue:status:*"}


def authenticate_hawk(caller: Caller) -> None:
    body = {"method": "get", "resource": "/", "host": "localhost", "port": 80}
    assert caller.call("Auth", "authenticateHawk", body)["status"] == "no-auth"


def ping(caller: Caller) -> None:
    assert caller.call("Auth", "ping")["alive"] is True


def heartbeat(caller: Caller) -> None:
    caller.call("Auth", "heartbeat")


def lbheartbeat(caller: Caller) -> None:
    caller.call("Auth", "lbheartbeat")


def version(caller: Caller) -> None:
    assert "version" in caller.call("Auth", "version")


USES: Final[dict[str, Callable[[Caller], None]]] = {
    "createClient": create_client,
    "client": client,
    "listClients": list_clients,
    "updateClient": update_client,
    "resetAccessToken": reset_access_token,
    "disableClient": disable_client,
    "enableClient": enable_client,
    "deleteClient": delete_client,
    "createRole": create_role,
    "role": role,
    "listRoles": list_roles,
    "listRoles2": list_roles2,
    "listRoleIds": list_role_ids,
    "updateRole": update_role,
    "deleteRole": delete_role,
    "currentScopes": current_scopes,
    "expandScopes": expand_scopes,
    "authenticateHawk": authenticate_hawk,
    "ping": ping,
    "heartbeat": heartbeat,
    "lbheartbeat": lbheartbeat,
    "version": version,
}
TESTERS: Final = {"testAuthenticate", "testAuthenticateGet"}


@pytest.mark.parametrize("method", USES)
def test_the_method_does_what_its_users_expect(caller: Caller, method: str) -> None:
    USES[method](caller)


def test_no_method_of_the_client_is_left_out() -> None:
    assert set(taskcluster.Auth.funcinfo) - SERVED_BY_OTHERS - TESTERS == set(USES)


TESTER: Final = {"clientId": "tester", "accessToken": "no-secret"}


def as_tester(root_url: str, **options: Any) -> Any:
    return taskcluster.Auth({"rootUrl": root_url, "credentials": TESTER, **options})


def test_a_client_library_may_test_its_signatures(deployment: Any) -> None:
    body = {"clientScopes": ["test:*"], "requiredScopes": ["test:a"]}
    assert as_tester(deployment.root_url).testAuthenticate(body)["clientId"] == "tester"


def test_a_client_library_may_test_signatures_of_get(deployment: Any) -> None:
    found = as_tester(deployment.root_url).testAuthenticateGet()
    assert "test:*" in found["scopes"]


def test_a_client_library_may_test_authorized_scopes(deployment: Any) -> None:
    client = as_tester(deployment.root_url, authorizedScopes=["test:authenticate-get"])
    assert "test:*" not in client.testAuthenticateGet()["scopes"]


def test_a_client_library_may_test_temporary_credentials(deployment: Any) -> None:
    now = datetime.now(UTC)
    credentials = taskcluster.createTemporaryCredentials(
        "tester", "no-secret", now, now + timedelta(hours=1), ["test:*"], name="test:it"
    )
    client = taskcluster.Auth({"rootUrl": deployment.root_url, "credentials": credentials})
    assert client.testAuthenticateGet()["clientId"] == "test:it"
