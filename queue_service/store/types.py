"""Column types that mean the same on both databases."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Dialect, Integer, Text
from sqlalchemy.types import TypeDecorator

from schemas.times import from_ms, to_ms

Identity = BigInteger().with_variant(Integer(), "sqlite")
"""An integer that the database counts up; SQLite does so only for INTEGER."""

Id = Text().with_variant(Text(collation="C"), "postgresql")
"""An identifier: compared and sorted by its bytes, whatever the language of the database."""


class Milliseconds(TypeDecorator[datetime]):
    """A UTC time as milliseconds since the epoch: exact, ordered, and equal on both databases."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else to_ms(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        return None if value is None else from_ms(value)
