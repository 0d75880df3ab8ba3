"""Values by key: get, put, delete, versions, formats, expiry, events and locks."""

import asyncio
import json
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest

from queue_service.features.kv import locks
from queue_service.features.kv.locks import Lock
from queue_service.features.kv.rules import Place
from tests.kv.running_kv import NAMESPACE, RunningKv

KEY = "/keys/my-deployment"
BIG = 256 * 1024


# ---- putting and getting ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", [{"a": [1, None, {"b": "ü"}]}, [], None, "text", "", 0, -1.5, True, 2**80, "\u0000\n"]
)
async def test_a_json_value_comes_back_as_it_went_in(kv: RunningKv, value: Any) -> None:
    stored = await kv.put(KEY, {"value": value})
    found = await kv.get(KEY)
    assert found == {**stored, "value": value}
    assert found["valueFormat"] == "json"
    assert found["updated"] == "2024-05-01T12:00:00.000Z"


async def test_a_new_value_is_201_and_a_replaced_one_200(kv: RunningKv) -> None:
    statuses = [(await kv.call("PUT", NAMESPACE + KEY, {"value": value})).status for value in (1, 2)]
    assert statuses == [201, 200]


async def test_versions_grow_with_each_write_in_the_namespace(kv: RunningKv) -> None:
    versions = [(await kv.put(f"/keys/{key}", {"value": 1}))["version"] for key in ("a", "b", "a")]
    await kv.delete("/keys/b")
    versions.append((await kv.put("/keys/b", {"value": 1}))["version"])
    assert versions == sorted(set(versions))
    reply = await kv.call("GET", NAMESPACE + "/keys/b")
    assert reply.header("etag") == f'"{versions[-1]}"'


async def test_another_namespace_or_tenant_has_its_own_values(kv: RunningKv) -> None:
    for place in ("/acme/a", "/acme/a/b", "/other/a"):
        await kv.call("PUT", f"{place}/keys/k", {"value": place})
    for place in ("/acme/a", "/acme/a/b", "/acme/a%2Fb", "/other/a"):
        found = (await kv.call("GET", f"{place}/keys/k")).json()["value"]
        assert found == place.replace("%2F", "/")


@pytest.mark.parametrize(
    "key", ["a/b", "..", "ä ö", "%", "a?b#c", "k" * 512, "é" * 256, "keys", "sets", "🦉"]
)
async def test_a_key_is_any_text_without_control_characters(kv: RunningKv, key: str) -> None:
    place = f"/keys/{quote(key, safe='')}"
    assert (await kv.put(place, {"value": key}))["key"] == key
    assert (await kv.get(place))["value"] == key
    assert [entry["key"] for entry in (await kv.get("/keys"))["entries"]] == [key]


async def test_a_missing_value_is_not_found(kv: RunningKv) -> None:
    status, code, text = await kv.refused("GET", KEY)
    assert (status, code) == (404, "ResourceNotFound")
    assert "my-deployment" in text
    assert "acme:deployments" in text


async def test_deleting_tells_whether_there_was_a_value(kv: RunningKv) -> None:
    await kv.put(KEY, {"value": 1})
    assert (await kv.delete(KEY))["deleted"] is True
    assert (await kv.delete(KEY))["deleted"] is False
    assert (await kv.refused("GET", KEY))[0] == 404


# ---- expected versions --------------------------------------------------------------------------------


async def test_version_zero_means_that_there_must_be_none(kv: RunningKv) -> None:
    first = await kv.put(KEY, {"value": "mine", "ifVersion": 0})
    status, code, text = await kv.refused("PUT", KEY, {"value": "yours", "ifVersion": 0})
    assert (status, code) == (409, "RequestConflict")
    assert f"version {first['version']}" in text
    assert (await kv.get(KEY))["value"] == "mine"


async def test_a_write_that_expects_another_version_changes_nothing(kv: RunningKv) -> None:
    version = (await kv.put(KEY, {"value": 1}))["version"]
    before = await kv.stored()
    assert (await kv.refused("PUT", KEY, {"value": 2, "ifVersion": version + 1}))[0] == 409
    assert (await kv.refused("DELETE", f"{KEY}?ifVersion={version + 1}"))[0] == 409
    assert await kv.stored() == before
    assert (await kv.put(KEY, {"value": 2, "ifVersion": version}))["version"] > version


async def test_many_writers_with_the_same_expectation_succeed_once(kv: RunningKv) -> None:
    calls = [kv.call("PUT", NAMESPACE + KEY, {"value": n, "ifVersion": 0}) for n in range(30)]
    statuses = [reply.status for reply in await asyncio.gather(*calls)]
    assert sorted(statuses) == [201, *[409] * 29]


# ---- formats ------------------------------------------------------------------------------------------


async def test_a_json_value_is_read_as_its_text(kv: RunningKv) -> None:
    await kv.put(KEY, {"value": {"a": "ü"}})
    found = await kv.get(f"{KEY}?valueFormat=raw-string")
    assert (found["value"], found["valueFormat"]) == ('{"a":"ü"}', "raw-string")


async def test_a_raw_string_that_is_json_is_read_as_json(kv: RunningKv) -> None:
    await kv.put(KEY, {"value": " [1, 2] ", "valueFormat": "raw-string"})
    assert (await kv.get(KEY))["value"] == " [1, 2] "
    assert (await kv.get(f"{KEY}?valueFormat=json"))["value"] == [1, 2]


@pytest.mark.parametrize("text", ["", "{", "NaN", "text", "[1,]"])
async def test_a_raw_string_that_is_no_json_cannot_be_decoded(kv: RunningKv, text: str) -> None:
    await kv.put(KEY, {"value": text, "valueFormat": "raw-string"})
    status, code, message = await kv.refused("GET", f"{KEY}?valueFormat=json")
    assert (status, code) == (422, "DecodeError")
    assert "my-deployment" in message


# ---- expiry -------------------------------------------------------------------------------------------


async def test_an_expired_value_is_invisible_at_once(kv: RunningKv) -> None:
    stored = await kv.put(KEY, {"value": 1, "ttl": "30s"})
    assert stored["expires"] == "2024-05-01T12:00:30.000Z"
    kv.clock.advance(seconds=30)
    assert (await kv.refused("GET", KEY))[0] == 404
    assert (await kv.get("/keys"))["entries"] == []
    assert (await kv.delete(KEY))["deleted"] is False
    assert (await kv.call("PUT", NAMESPACE + KEY, {"value": 2, "ifVersion": 0})).status == 201


async def test_an_expired_value_is_swept_and_told(kv: RunningKv) -> None:
    await kv.put(KEY, {"value": 1, "ttl": 1})
    await kv.put("/keys/stays", {"value": 1})
    await kv.messages()
    kv.clock.advance(seconds=1)
    await kv.run_loops()
    assert len((await kv.stored())["kv_entries"]) == 1
    ((_, key, body),) = await kv.messages()
    assert (key, body["key"], body["op"]) == ("primary.acme.deployments.expire", "my-deployment", "expire")


# ---- events -------------------------------------------------------------------------------------------


async def test_changes_are_told_without_the_value(kv: RunningKv) -> None:
    for method, body in (("PUT", {"value": "secret", "ttl": 60}), ("DELETE", None)):
        await kv.call(method, "/acme/a/b.c/keys/k", *([body] if body else []))
    told = await kv.messages()
    assert [(exchange, key) for exchange, key, _ in told] == [
        ("kv-changed", "primary.acme.a.b.c.put"),
        ("kv-changed", "primary.acme.a.b.c.delete"),
    ]
    assert told[0][2] == {
        "version": 1, "tenant": "acme", "namespace": "a/b.c", "key": "k", "op": "put", "entryVersion": 1,
        "valueFormat": "json", "expires": "2024-05-01T12:01:00.000Z",
    }  # fmt: skip
    assert "secret" not in json.dumps(told)


async def test_what_changed_nothing_is_not_told(kv: RunningKv) -> None:
    await kv.delete(KEY)
    await kv.refused("PUT", KEY, {"value": 1, "ifVersion": 5})
    assert await kv.messages() == []


# ---- bad input ----------------------------------------------------------------------------------------


ILL_FORMED = (
    "/Acme/a/keys/k", "/-a/a/keys/k", f"/{'a' * 39}/a/keys/k", "/acme:x/a/keys/k", "/acme/a:b/keys/k",
    "/acme/a%2F%2Fb/keys/k", "/acme/%2Fa/keys/k", "/acme/a%2F/keys/k", f"/acme/{'a' * 201}/keys/k",
    "/acme/a%20b/keys/k", "/acme/a/keys/%00", "/acme/a/keys/a%0Ab", "/acme/a/keys/%C2%85",
    f"/acme/a/keys/{'k' * 513}", f"/acme/a/keys/{'%C3%A9' * 257}",
)  # fmt: skip


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_an_ill_formed_place_is_invalid_arguments(kv: RunningKv, method: str) -> None:
    for place in ILL_FORMED:
        reply = await kv.call(method, place, *([{"value": 1}] if method == "PUT" else []))
        assert (reply.status, reply.code) == (400, "InvalidRequestArguments"), place
    assert (await kv.stored())["kv_entries"] == []


WRONG = (
    ({}, 400), ({"value": 1, "surprise": 1}, 400), ({"value": 1, "ttl": 0}, 400),
    ({"value": 1, "ttl": "-1s"}, 400), ({"value": 1, "ttl": "3651d"}, 400),
    ({"value": 1, "ttl": None}, 400), ({"value": 1, "ifVersion": -1}, 400),
    ({"value": 1, "ifVersion": "1"}, 400), ({"value": 1, "valueFormat": "xml"}, 400),
    ({"value": 1, "valueFormat": "raw-string"}, 400),
    ({"value": "\u0000", "valueFormat": "raw-string"}, 400),
    ({"value": "x" * (BIG - 1)}, 413),
    ({"value": "x" * (BIG + 1), "valueFormat": "raw-string"}, 413),
)  # fmt: skip


async def test_a_wrong_value_is_refused_and_nothing_is_stored(kv: RunningKv) -> None:
    for body, status in WRONG:
        assert (await kv.refused("PUT", KEY, body))[0] == status, str(body)[:80]
    stored = await kv.stored()
    assert (stored["kv_entries"], stored["outbox"]) == ([], [])


async def test_the_largest_value_is_taken(kv: RunningKv) -> None:
    await kv.put(KEY, {"value": "x" * BIG, "valueFormat": "raw-string"})
    assert len((await kv.get(KEY))["value"]) == BIG


async def test_an_ill_formed_query_is_refused(kv: RunningKv) -> None:
    for target in (
        f"{KEY}?valueFormat=xml", f"{KEY}?colour=red", "/keys?pageSize=x", "/keys?values=yes",
        "/keys?continuationToken=a", "/keys?continuationToken=AA", "/keys?prefix=%00",
    ):  # fmt: skip
        assert (await kv.refused("GET", target))[0] == 400, target


async def test_an_ill_formed_version_in_the_query_is_refused(kv: RunningKv) -> None:
    assert (await kv.refused("DELETE", f"{KEY}?ifVersion=-1"))[0] == 400


# ---- locks --------------------------------------------------------------------------------------------


async def test_a_lock_is_held_by_one_until_it_is_released_or_expires(kv: RunningKv) -> None:
    lock = {"value": "a", "ifVersion": 0, "ttl": 30}
    first = (await kv.put(KEY, lock))["version"]
    assert (await kv.refused("PUT", KEY, lock))[0] == 409
    renewed = (await kv.put(KEY, {**lock, "ifVersion": first}))["version"]
    kv.clock.advance(seconds=30)
    second = (await kv.put(KEY, {**lock, "value": "b"}))["version"]
    assert first < renewed < second
    assert (await kv.refused("DELETE", f"{KEY}?ifVersion={renewed}"))[0] == 409
    assert (await kv.delete(f"{KEY}?ifVersion={second}"))["deleted"] is True


async def test_locks_are_acquired_renewed_and_released_in_transactions_of_others(kv: RunningKv) -> None:
    place, ttl = Place("acme:locks", "release"), timedelta(seconds=30)
    wanted = [(place, "a"), (place, "b")]
    mine, refused = await kv.database.write(lambda tx: locks.acquire(tx, wanted, ttl=ttl))
    assert isinstance(mine, Lock)
    assert isinstance(refused, Exception)
    (again,) = await kv.database.write(lambda tx: locks.renew(tx, [mine], ttl=ttl))
    assert isinstance(again, Lock)
    assert again.token > mine.token
    await kv.database.write(lambda tx: locks.release(tx, [again]))
    (other,) = await kv.database.write(lambda tx: locks.acquire(tx, [(place, "b")], ttl=ttl))
    assert isinstance(other, Lock)
    assert other.token > again.token
