"""Topic patterns as a trie, against the rule as it is documented."""

import time

from hypothesis import given
from hypothesis import strategies as st

from events.broker.matching import TopicMatcher

_WORDS = st.sampled_from(["a", "b", ""])
_KEYS = st.lists(_WORDS, max_size=6).map(".".join)
_PATTERNS = st.lists(st.sampled_from(["a", "b", "", "*", "#"]), max_size=6).map(".".join)


def naive_match(pattern: list[str], words: list[str]) -> bool:
    """The rule as the documentation says it, word by word."""
    if not pattern:
        return not words
    if pattern[0] == "#":
        return naive_match(pattern[1:], words) or (bool(words) and naive_match(pattern, words[1:]))
    return bool(words) and pattern[0] in ("*", words[0]) and naive_match(pattern[1:], words[1:])


def split(text: str) -> list[str]:
    return text.split(".") if text else []


@given(st.lists(_PATTERNS, max_size=8, unique=True), st.lists(_PATTERNS, max_size=3), _KEYS)
def test_the_trie_finds_what_the_rule_says(patterns: list[str], removed: list[str], key: str) -> None:
    matcher: TopicMatcher[str] = TopicMatcher()
    for pattern in patterns:
        matcher.add(pattern, pattern)
    for pattern in set(removed) & set(patterns):
        matcher.remove(pattern, pattern)
        patterns.remove(pattern)
    found: dict[str, None] = {}
    matcher.match(key, found)
    assert set(found) == {pattern for pattern in patterns if naive_match(split(pattern), split(key))}


def seconds_to_match(bindings: int) -> float:
    """Processor time of a match among bindings as schedulers make them, one for each task or pool; the best
    of several.
    """
    matcher: TopicMatcher[int] = TopicMatcher()
    for number in range(bindings):
        matcher.add(f"primary.task{number}.#" if number % 2 else f"*.*.*.*.*.pool.type{number}.#", number)
    found: dict[int, None] = {}
    times = []
    for _ in range(10):
        began = time.process_time()
        for _ in range(200):
            matcher.match("primary.task77.0.group.worker.pool.type88.rest", found)
        times.append(time.process_time() - began)
    assert set(found) == {77, 88}
    return min(times)


def test_a_hundred_times_more_bindings_do_not_make_it_slow() -> None:
    """Looking at each would take a hundred times as long."""
    assert seconds_to_match(10_000) < 10 * seconds_to_match(100)


def test_a_pattern_of_many_hashes_costs_no_more_than_its_places() -> None:
    matcher: TopicMatcher[str] = TopicMatcher()
    matcher.add(".".join(["#.a"] * 40), "deep")
    found: dict[str, None] = {}
    matcher.match(".".join(["a"] * 39 + ["b"]), found)
    assert not found
