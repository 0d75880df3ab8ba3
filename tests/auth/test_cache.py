"""A memory that is bounded by the weight of what is in it."""

from queue_service.auth.cache import Cache


def test_what_was_used_least_lately_is_forgotten_first() -> None:
    cache: Cache[str, int] = Cache(10)
    for number, key in enumerate("abcde"):
        cache.put(key, number, 2)
    assert cache.get("a") == 0
    cache.put("f", 5, 2)
    assert [cache.get(key) for key in "abcdef"] == [0, None, 2, 3, 4, 5]


def test_one_value_may_weigh_as_much_as_many() -> None:
    cache: Cache[str, int] = Cache(100)
    for number in range(50):
        cache.put(str(number), number, 2)
    cache.put("heavy", 1, 25)
    assert [number for number in range(50) if cache.get(str(number)) is None] == list(range(13))


def test_a_value_that_would_push_out_the_others_is_not_kept() -> None:
    cache: Cache[str, int] = Cache(100)
    cache.put("a", 1, 1)
    cache.put("heavy", 2, 26)
    assert (cache.get("a"), cache.get("heavy")) == (1, None)


def test_a_key_has_its_last_value() -> None:
    cache: Cache[str, int] = Cache(100)
    for weight in (25, 25, 25, 25, 25, 25):
        cache.put("a", weight, weight)
    cache.put("b", 1, 25)
    cache.put("c", 1, 25)
    cache.put("d", 1, 25)
    assert [cache.get(key) for key in "abcd"] == [25, 1, 1, 1]
    cache.put("a", 2, 26)
    assert cache.get("a") is None
