"""The tables of the KV API's endpoints: values by key, and worksets (``seed-systems.md`` D.3, D.4)."""

from typing import Final

from queue_service.api.endpoint import Endpoint
from queue_service.features.kv.api import KvApi
from queue_service.features.kv.workset_api import WorksetApi
from schemas import kv as shapes
from schemas import worksets

_NAMESPACE: Final = "/<tenant>/<kvNamespace>"
_KEY: Final = f"{_NAMESPACE}/keys/<key>"
_SET: Final = f"{_NAMESPACE}/sets/<set>"
_LEASE: Final = f"{_NAMESPACE}/leases/<leaseId>"


def _scope(verb: str) -> str:
    return f"kv:{verb}:<tenant>:<kvNamespace>"


KV_ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint(
        name="getValue",
        method="get",
        route=_KEY,
        category="Values",
        title="Get a value",
        description=(
            "The value of this key with its version, which is its ETag, too. What was stored as `json` "
            "can be read as `raw-string`, which gives its text, and the other way round if it is JSON (422 "
            "`DecodeError`). Slashes in the namespace may be written as they are; those in the key as `%2F`."
        ),
        handler=KvApi.get_value,
        scopes=_scope("get"),
        query=("valueFormat",),
        output=shapes.ValueResponse,
        multi_segment="kvNamespace",
        refuses=(422,),
    ),
    Endpoint(
        name="putValue",
        method="put",
        route=_KEY,
        category="Values",
        title="Store a value",
        description=(
            "Stores a value under this key: 201 when there was none, 200 when it took the place of one. With "
            "`ifVersion` only if that is the present version, 0 for none; else 409 tells the present one. "
            "With `ttl` the value ends by itself. So a named lock is a put with `ifVersion: 0` and `ttl`; "
            "renew it with the version of the last put, which is the fencing token."
        ),
        handler=KvApi.put_value,
        scopes=_scope("put"),
        input=shapes.PutValueRequest,
        output=shapes.EntryResponse,
        multi_segment="kvNamespace",
        creates=True,
    ),
    Endpoint(
        name="deleteValue",
        method="delete",
        route=_KEY,
        category="Values",
        title="Delete a value",
        description="Deletes the value of a key, with `ifVersion` only that version; 200 if there is none.",
        handler=KvApi.delete_value,
        scopes=_scope("delete"),
        query=("ifVersion",),
        output=shapes.DeleteValueResponse,
        multi_segment="kvNamespace",
    ),
    Endpoint(
        name="listValues",
        method="get",
        route=f"{_NAMESPACE}/keys",
        category="Values",
        title="Iterate over keys",
        description=(
            "The keys that begin with `prefix`, in the order of their bytes; with `values=true` their "
            "values, too. A key that is there during the whole iteration comes exactly once, others once at "
            "most. A page may be shorter than `pageSize` (100, at most 1,000) when its values are large."
        ),
        handler=KvApi.list_values,
        scopes=_scope("get"),
        query=("prefix", "pageSize", "continuationToken", "values"),
        output=shapes.ListValuesResponse,
        multi_segment="kvNamespace",
    ),
)
"""Endpoints of values; the handlers are methods of :class:`KvApi`."""

WORKSET_ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint(
        name="workset",
        method="get",
        route=_SET,
        category="Worksets",
        title="Count the members of a workset",
        description=(
            "How many members are available, delayed, leased and dead; since when the oldest is available. "
            "It looks at every member: ask now and then, not all the time."
        ),
        handler=WorksetApi.workset,
        scopes=_scope("get"),
        output=worksets.WorksetResponse,
        multi_segment="kvNamespace",
    ),
    Endpoint(
        name="configureWorkset",
        method="put",
        route=_SET,
        category="Worksets",
        title="Set how often members are delivered",
        description=(
            "A member that was delivered `maxDeliveries` times and not acked moves to the set `<set>.dead`, "
            "which can be popped like any other. 0, the default, is for ever."
        ),
        handler=WorksetApi.configure_set,
        scopes=_scope("put"),
        input=worksets.WorksetSettings,
        output=worksets.WorksetResponse,
        multi_segment="kvNamespace",
    ),
    Endpoint(
        name="addMembers",
        method="post",
        route=f"{_SET}/members",
        category="Worksets",
        title="Add members to a workset",
        description=(
            "Adds up to 1,000 members. One that is present stays as it is; one that is leased comes again "
            "once it is acked; one that is dead lives again."
        ),
        handler=WorksetApi.add_members,
        scopes=_scope("put"),
        input=worksets.AddMembersRequest,
        output=worksets.AddMembersResponse,
        multi_segment="kvNamespace",
    ),
    Endpoint(
        name="popMembers",
        method="post",
        route=f"{_SET}/pop",
        category="Worksets",
        title="Lease a batch of members",
        description=(
            "Leases up to `limit` members: the most urgent first, of these who is available longest. Nobody "
            "else gets them until the lease ends. If there are none, the answer has no members and no lease; "
            "`wait` lets the call wait for some. In `ack-batch` all are acked together, in `ack-each` singly."
        ),
        handler=WorksetApi.pop_members,
        scopes=_scope("lease"),
        input=worksets.PopRequest,
        may_be_left_out=True,
        output=worksets.PopResponse,
        multi_segment="kvNamespace",
    ),
    Endpoint(
        name="ackMembers",
        method="post",
        route=f"{_LEASE}/ack",
        category="Worksets",
        title="Acknowledge members of a lease",
        description=(
            "Removes these members, or all of the lease. Naming those that are removed already is fine. 409 "
            "`LeaseExpired` when the lease is over: then nothing is removed."
        ),
        handler=WorksetApi.ack,
        scopes=_scope("lease"),
        input=worksets.AckRequest,
        may_be_left_out=True,
        output=worksets.AckResponse,
        multi_segment="kvNamespace",
    ),
    Endpoint(
        name="nackMembers",
        method="post",
        route=f"{_LEASE}/nack",
        category="Worksets",
        title="Give members of a lease back",
        description="Makes these members, or all of the lease, available again: now, or after `delay`.",
        handler=WorksetApi.nack,
        scopes=_scope("lease"),
        input=worksets.NackRequest,
        may_be_left_out=True,
        output=worksets.NackResponse,
        multi_segment="kvNamespace",
    ),
    Endpoint(
        name="extendLease",
        method="post",
        route=f"{_LEASE}/extend",
        category="Worksets",
        title="Extend a lease",
        description="Lets the lease end `leaseTtlMs` from now. 409 `LeaseExpired` when it is over already.",
        handler=WorksetApi.extend,
        scopes=_scope("lease"),
        input=worksets.ExtendRequest,
        output=worksets.ExtendResponse,
        multi_segment="kvNamespace",
    ),
)
"""Endpoints of worksets; the handlers are methods of :class:`WorksetApi`."""
