"""Iterating over keys: order, prefixes, pages, and the guarantee under concurrent writes (KV-9)."""

import random
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queue_service.features.kv.rules import end_of
from tests.kv.running_kv import RunningKv

KEYS = ["a", "a/1", "a/2", "a0", "b", "é", "z", "～", "😀"]


async def every(kv: RunningKv, query: str = "") -> list[dict[str, Any]]:
    """The entries of all pages."""
    entries: list[dict[str, Any]] = []
    token = ""
    while True:
        page = await kv.get(f"/keys?{query}{token}")
        entries += page["entries"]
        if "continuationToken" not in page:
            return entries
        token = f"&continuationToken={page['continuationToken']}"


async def fill(kv: RunningKv) -> None:
    for key in random.Random(7).sample(KEYS, len(KEYS)):
        await kv.put(f"/keys/{quote(key, safe='')}", {"value": key})


async def test_keys_come_in_the_order_of_their_bytes(kv: RunningKv) -> None:
    await fill(kv)
    for size in (1, 2, 100):
        found = [entry["key"] for entry in await every(kv, f"pageSize={size}")]
        assert found == sorted(KEYS, key=str.encode)


@pytest.mark.parametrize("prefix", ["a", "a/", "é", "😀", "none", ""])
async def test_keys_of_a_prefix(kv: RunningKv, prefix: str) -> None:
    await fill(kv)
    found = [entry["key"] for entry in await every(kv, f"prefix={quote(prefix)}&pageSize=2")]
    assert found == sorted((key for key in KEYS if key.startswith(prefix)), key=str.encode)


async def test_values_come_when_they_are_asked_for(kv: RunningKv) -> None:
    await fill(kv)
    assert all("value" not in entry for entry in await every(kv))
    assert all(entry["value"] == entry["key"] for entry in await every(kv, "values=true&pageSize=4"))


async def test_a_page_of_large_values_is_cut_short(kv: RunningKv) -> None:
    for n in range(20):
        await kv.put(f"/keys/{n:02}", {"value": "x" * 250_000})
    page = await kv.get("/keys?values=true")
    assert 1 < len(page["entries"]) < 20
    assert len(await every(kv, "values=true")) == 20


async def test_another_namespace_is_not_listed(kv: RunningKv) -> None:
    await kv.call("PUT", "/acme/deployments/x/keys/a", {"value": 1})
    await kv.call("PUT", "/acme2/deployments/keys/a", {"value": 1})
    assert await every(kv) == []


@pytest.mark.parametrize("seed", range(3))
async def test_a_key_that_stays_comes_exactly_once_whatever_happens_to_others(
    kv: RunningKv, seed: int
) -> None:
    chance = random.Random(seed)
    stays = {f"{n:03}-stays" for n in range(0, 90, 3)}
    for key in stays:
        await kv.put(f"/keys/{key}", {"value": 0})
    found: list[str] = []
    token = ""
    while True:
        page = await kv.get(f"/keys?pageSize=4{token}")
        found += [entry["key"] for entry in page["entries"]]
        if "continuationToken" not in page:
            break
        token = f"&continuationToken={page['continuationToken']}"
        for _ in range(3):
            key = f"{chance.randrange(90):03}-{chance.choice(['goes', 'stays'])}"
            if key in stays or chance.random() < 0.6:
                await kv.put(f"/keys/{key}", {"value": 1})
            else:
                await kv.delete(f"/keys/{key}")
            stays -= {key} if key not in stays else set()
    assert len(found) == len(set(found))
    assert stays <= set(found)


TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=4)


@given(TEXTS, TEXTS)
def test_the_end_of_a_prefix_is_after_all_that_begin_with_it_and_before_all_others(
    prefix: str, other: str
) -> None:
    end = end_of(prefix).encode()
    assert (prefix + other).encode() < end
    if other.encode() > prefix.encode() and not other.startswith(prefix):
        assert end <= other.encode()
