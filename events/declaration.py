"""How an exchange is declared: its payload, and the words of its routing keys.

Rules: ``queue-behaviour.md`` 10. Bindings, keys, the reference and the documentation follow from them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Final

from pydantic.alias_generators import to_snake

from schemas.messages import Message

MAX_KEY_BYTES: Final = 255
"""A routing key is an AMQP short string."""

ABSENT: Final = "_"
"""The word of an optional value that a message does not have."""


@dataclass(frozen=True, slots=True)
class Word:
    """One entry of a routing key.

    ``source`` is the path of the value in the payload. An optional word whose source the payload does not
    have is always absent. One that stands for ``multiple_words`` has those between the slashes of its value.
    """

    name: str
    summary: str
    max_size: int
    required: bool = True
    multiple_words: bool = False
    constant: str | None = None
    dots_as: str = "."
    """What stands for a dot of the value: a word has none."""
    source: str = ""

    @property
    def parameter(self) -> str:
        """The name in Python: ``taskId`` is ``task_id``."""
        return to_snake(self.name)


@dataclass(frozen=True)
class Exchange:
    """A durable topic exchange that carries one kind of message.

    ``routes`` is the CC rule: whether a message is also routed as ``route.<route>`` for every route of its
    task. Raises ValueError when the longest possible routing key exceeds 255 bytes, or when a required word
    has no value in the payload.
    """

    prefix: str
    name: str
    payload: type[Message]
    words: tuple[Word, ...]
    title: str
    description: str
    routes: bool = False
    getters: tuple[Callable[[Message], object], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        longest = sum(word.max_size for word in self.words) + len(self.words) - 1
        if longest > MAX_KEY_BYTES:
            raise ValueError(
                f"{self.name}: a routing key may take {longest} bytes, the limit is {MAX_KEY_BYTES}"
            )
        if len(several := [word.name for word in self.words if word.multiple_words]) > 1:
            raise ValueError(f"{self.name}: only one word may stand for several, not {' and '.join(several)}")
        object.__setattr__(self, "getters", tuple(self._getter(word) for word in self.words))

    @property
    def full_name(self) -> str:
        """The name on the broker."""
        return self.prefix + self.name

    def word(self, parameter: str) -> Word:
        """The word with this Python name. Raises ValueError, naming the words there are."""
        for word in self.words:
            if word.parameter == parameter:
                return word
        known = ", ".join(word.parameter for word in self.words)
        raise ValueError(f"{parameter}: {self.name} has no such word; expected one of {known}")

    def _getter(self, word: Word) -> Callable[[Message], object]:
        constant = word.constant
        if constant is not None:
            return lambda payload: constant
        if word.source.partition(".")[0] in self.payload.model_fields:
            return attrgetter(word.source)
        if word.required:
            raise ValueError(f"{self.name}: {self.payload.__name__} has no {word.source!r} for {word.name}")
        return lambda payload: None


KIND = Word("routingKeyKind", "Kind of the key, always `primary`.", 7, constant="primary")
RESERVED = Word(
    "reserved", "Room for later words; match it with `#`.", 1, required=False, multiple_words=True
)
