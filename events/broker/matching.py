"""Which bindings a routing key selects: direct, fanout and topic exchanges."""

from collections.abc import Hashable
from typing import Final, Generic, Protocol, TypeVar

T = TypeVar("T", bound=Hashable)
"""What is bound: a queue or an exchange."""

_WILDCARDS: Final = ("*", "#")


class Matcher(Protocol[T]):
    """The bindings of one exchange, in the shape in which its type looks them up."""

    def add(self, key: str, target: T) -> None:
        """Bind; the pair is not bound yet."""

    def remove(self, key: str, target: T) -> None:
        """Unbind; the pair is bound."""

    def match(self, key: str, found: dict[T, None]) -> None:
        """Add every target bound for this key, each once."""


class DirectMatcher(Generic[T]):
    """The key is equal."""

    def __init__(self) -> None:
        self._by_key: dict[str, dict[T, None]] = {}

    def add(self, key: str, target: T) -> None:
        self._by_key.setdefault(key, {})[target] = None

    def remove(self, key: str, target: T) -> None:
        bound = self._by_key[key]
        del bound[target]
        if not bound:
            del self._by_key[key]

    def match(self, key: str, found: dict[T, None]) -> None:
        if bound := self._by_key.get(key):
            found.update(bound)


class FanoutMatcher(Generic[T]):
    """The key does not matter."""

    def __init__(self) -> None:
        self._keys: dict[T, set[str]] = {}

    def add(self, key: str, target: T) -> None:
        self._keys.setdefault(target, set()).add(key)

    def remove(self, key: str, target: T) -> None:
        self._keys[target].discard(key)
        if not self._keys[target]:
            del self._keys[target]

    def match(self, key: str, found: dict[T, None]) -> None:
        found.update(dict.fromkeys(self._keys))


class _Node(Generic[T]):
    """A place in the trie of patterns. One reached by `#` stays reached whatever words follow."""

    __slots__ = ("children", "repeats", "targets")

    def __init__(self, repeats: bool) -> None:
        self.repeats = repeats
        self.children: dict[str, _Node[T]] = {}
        self.targets: dict[T, None] = {}


class TopicMatcher(Generic[T]):
    """Dotted patterns: `*` is exactly one word, `#` is none or more; an empty key has no words.

    The trie is walked with the set of all places the words so far can lead to, so a key costs at most its
    words times the places, whatever the patterns are.
    """

    def __init__(self) -> None:
        self._root: _Node[T] = _Node(repeats=False)

    def add(self, key: str, target: T) -> None:
        node = self._root
        for word in _words(key):
            if word not in node.children:
                node.children[word] = _Node(repeats=word == "#")
            node = node.children[word]
        node.targets[target] = None

    def remove(self, key: str, target: T) -> None:
        path = [self._root]
        words = _words(key)
        for word in words:
            path.append(path[-1].children[word])
        del path[-1].targets[target]
        for word in reversed(words):
            node = path.pop()
            if node.children or node.targets:
                return
            del path[-1].children[word]

    def match(self, key: str, found: dict[T, None]) -> None:
        places: dict[_Node[T], None] = {}
        _stand(self._root, places, found)
        for word in _words(key):
            if not places:
                return
            following: dict[_Node[T], None] = {}
            for place in places:
                if place.repeats:
                    following[place] = None
                children = place.children
                if word in children and word not in _WILDCARDS:
                    _stand(children[word], following, found)
                if "*" in children:
                    _stand(children["*"], following, found)
            places = following
        for place in places:
            found.update(place.targets)


def _words(key: str) -> list[str]:
    return key.split(".") if key else []


def _stand(node: _Node[T], places: dict[_Node[T], None], found: dict[T, None]) -> None:
    """Reach a node, and through every `#` below it that matches no word. A last `#` settles the matter at
    once.
    """
    while node not in places:
        if node.repeats and not node.children:
            found.update(node.targets)
            return
        places[node] = None
        if "#" not in node.children:
            return
        node = node.children["#"]
