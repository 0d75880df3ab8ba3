"""Which bindings a routing key selects: direct, fanout and topic exchanges."""

from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar

T = TypeVar("T", bound=Hashable)
"""What is bound: a queue or an exchange."""


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

    __slots__ = ("hash", "repeats", "star", "targets", "words")

    def __init__(self, repeats: bool = False) -> None:
        self.repeats = repeats
        self.words: dict[str, _Node[T]] = {}
        self.star: _Node[T] | None = None
        self.hash: _Node[T] | None = None
        self.targets: dict[T, None] = {}

    @property
    def ends(self) -> bool:
        """No pattern goes on from here."""
        return not (self.words or self.star or self.hash)

    def child(self, word: str) -> "_Node[T] | None":
        if word == "*":
            return self.star
        return self.hash if word == "#" else self.words.get(word)

    def grow(self, word: str) -> "_Node[T]":
        """The child for a word of a pattern, made if need be."""
        if word == "*":
            self.star = self.star or _Node()
            return self.star
        if word == "#":
            self.hash = self.hash or _Node(repeats=True)
            return self.hash
        return self.words.setdefault(word, _Node())

    def cut(self, word: str) -> None:
        if word == "*":
            self.star = None
        elif word == "#":
            self.hash = None
        else:
            del self.words[word]


class TopicMatcher(Generic[T]):
    """Dotted patterns: `*` is exactly one word, `#` is none or more; an empty key has no words.

    The trie is walked with the set of all places the words so far can lead to, so a key costs at most its
    words times the places, whatever the patterns are.
    """

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()

    def add(self, key: str, target: T) -> None:
        node = self._root
        for word in _words(key):
            node = node.grow(word)
        node.targets[target] = None

    def remove(self, key: str, target: T) -> None:
        words = _words(key)
        path = [self._root]
        for word in words:
            node = path[-1].child(word)
            assert node is not None, "the pair is bound"
            path.append(node)
        del path[-1].targets[target]
        for word in reversed(words):
            node = path.pop()
            if node.targets or not node.ends:
                return
            path[-1].cut(word)

    def match(self, key: str, found: dict[T, None]) -> None:
        places: dict[_Node[T], None] = {self._root: None}
        _pass_hashes(self._root, places, found)
        for word in _words(key):
            following: dict[_Node[T], None] = {}
            for place in places:
                if place.repeats:
                    following[place] = None
                for child in (place.words.get(word), place.star):
                    if child is not None:
                        following[child] = None
                        if child.hash is not None:
                            _pass_hashes(child, following, found)
            places = following
        for place in places:
            found.update(place.targets)


def _pass_hashes(node: _Node[T], places: dict[_Node[T], None], found: dict[T, None]) -> None:
    """Stand behind every `#` that may match no word, too. One that ends its pattern settles the matter."""
    while node.hash is not None:
        node = node.hash
        if node.ends:
            found.update(node.targets)
        else:
            places[node] = None


def _words(key: str) -> list[str]:
    return key.split(".") if key else []
