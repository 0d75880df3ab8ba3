"""Routing keys: built from a message, read back, and matched by patterns as RabbitMQ matches them.

Rules: ``queue-behaviour.md`` 10. A word is what stands between two dots. In a pattern ``*`` stands for
exactly one word and ``#`` for any number of words, none included.
"""

from events.exchanges import ABSENT, Exchange, Word
from schemas.messages import Message

ANY_WORD = "*"
ANY_WORDS = "#"
_WILD = frozenset({ANY_WORD, ANY_WORDS})


def build(exchange: Exchange, payload: Message) -> str:
    """The routing key of a message.

    Raises ValueError, naming the word, when a required value is missing or a value cannot be a word.
    """
    return ".".join(
        [
            _spell(exchange, word, getter(payload))
            for word, getter in zip(exchange.words, exchange.getters, strict=True)
        ]
    )


def _spell(exchange: Exchange, word: Word, value: object) -> str:
    if value is None:
        if word.required:
            raise ValueError(f"{word.parameter}: {exchange.name} needs it for the routing key, got nothing")
        return ABSENT
    text = str(value).replace(".", word.dots_as)
    if word.multiple_words and 0 < len(text.encode()) <= word.max_size:
        return text.replace("/", ".")
    if not text or "." in text or len(text.encode()) > word.max_size:
        raise ValueError(
            f"{word.parameter}: expected 1 to {word.max_size} bytes without a dot "
            f"for the routing key of {exchange.name}, got {text!r}"
        )
    return text


def parse(exchange: Exchange, key: str) -> dict[str, str | None]:
    """The words of a routing key by their Python names; None for an absent optional word.

    Raises ValueError when the key has too few or too many words.
    """
    words = exchange.words
    values = key.split(".")
    several = next((place for place, word in enumerate(words) if word.multiple_words), None)
    if several is not None and len(values) > len(words):
        after = len(values) - (len(words) - several - 1)
        values[several:after] = [".".join(values[several:after])]
    if len(values) != len(words):
        raise ValueError(f"{exchange.name}: expected a key of {len(words)} words, got {key!r}")
    return {
        word.parameter: None if value == ABSENT and not word.required else value
        for word, value in zip(words, values, strict=True)
    }


def pattern(exchange: Exchange, **words: str | int | None) -> str:
    """The binding pattern that asks for these words, given by their Python names.

    A word that is unset (or None) matches everything; ``"*"`` says so explicitly. An optional word is asked
    to be absent with ``"_"``. Raises ValueError, naming the word, for a word the exchange does not have and
    for a value no routing key could have.
    """
    for name in words:
        exchange.word(name)
    return ".".join([_ask(exchange, word, words.get(word.parameter)) for word in exchange.words])


def _ask(exchange: Exchange, word: Word, value: str | int | None) -> str:
    if value is None:
        return ANY_WORDS if word.multiple_words else ANY_WORD
    if value in (ANY_WORD, ABSENT) or (value == ANY_WORDS and word.multiple_words):
        return str(value)
    text = str(value).replace(".", word.dots_as)
    if word.multiple_words:
        spelled = _spell(exchange, word, text)
        if any(part not in _WILD and not _WILD.isdisjoint(part) for part in spelled.split(".")):
            raise ValueError(f"{word.parameter}: * and # stand for whole words: {text!r}")
        return spelled
    if ANY_WORD in text or ANY_WORDS in text:
        raise ValueError(f"{word.parameter}: * stands for a whole word, it cannot be part of one: {text!r}")
    if word.constant is not None and text != word.constant:
        raise ValueError(f"{word.parameter}: is always {word.constant!r}, got {text!r}")
    return _spell(exchange, word, text)


def matches(pattern: str, key: str) -> bool:
    """Whether a topic exchange routes this key to a queue bound with this pattern.

    As in RabbitMQ an empty key has no words at all, so that ``#`` matches it and ``*`` does not.
    """
    asked, given = _split(pattern), _split(key)
    position = consumed = 0
    resume: tuple[int, int] | None = None  # after the last `#`, and how many words it has taken so far
    while consumed < len(given):
        if position < len(asked) and asked[position] == ANY_WORDS:
            position += 1
            resume = position, consumed
        elif position < len(asked) and asked[position] in (ANY_WORD, given[consumed]):
            position += 1
            consumed += 1
        elif resume is not None:
            position, consumed = resume[0], resume[1] + 1
            resume = position, consumed
        else:
            return False
    return all(word == ANY_WORDS for word in asked[position:])


def _split(text: str) -> list[str]:
    return text.split(".") if text else []
