"""Header tables taken apart and joined without decoding their values."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import decode, encode

from events.broker import tables

_VALUES = st.recursive(
    st.one_of(st.booleans(), st.integers(-(2**63), 2**63 - 1), st.text(max_size=5), st.none()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.text("abc", min_size=1, max_size=3), inner, max_size=3),
    ),
    max_leaves=8,
)
_TABLES = st.dictionaries(st.text(min_size=1, max_size=8), _VALUES, max_size=6)


@given(_TABLES)
def test_a_table_taken_apart_and_joined_is_the_same(table: dict[str, Any]) -> None:
    content = encode.field_table(table)[4:]
    found = tables.entries(content)
    assert {name.decode() for name in found} == set(table)
    assert decode.field_table(encode.long_uint(len(content)) + tables.join(found))[1] == table


@given(st.binary(max_size=60))
def test_bytes_that_are_no_table_are_refused_and_nothing_else(content: bytes) -> None:
    try:
        found = tables.entries(content)
    except tables.MalformedTable:
        return
    assert tables.entries(tables.join(found)) == found


def test_a_table_may_not_be_too_deep() -> None:
    value = tables.string(b"")
    for _ in range(40):
        value = tables.table({b"a": value})
    with pytest.raises(tables.MalformedTable):
        tables.entries(tables.join({b"a": value}))
