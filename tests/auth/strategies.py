"""Scopes, tables of roles and scope expressions, from so few letters that they often meet."""

from typing import Any, Final

from hypothesis import strategies as st

from queue_service.auth.expressions import Expression
from tests.auth import naive

LAYERS: Final = "klm"
_WORDS: Final = st.text("ab", max_size=3)

scopes: Final = st.one_of(
    st.builds("{}{}".format, _WORDS, st.sampled_from(["", "*"])), st.text("ab*:", max_size=4)
).filter(lambda scope: not scope.endswith("**"))
role_scopes: Final = st.one_of(
    scopes,
    st.builds(
        "assume:{}{}".format, st.text("".join((LAYERS, "ab")), max_size=4), st.sampled_from(["", "*", "**"])
    ),
    st.sampled_from(
        ["*", "**", "a*", "a**", "as*", "assume*", "assume:*", "assume:", "assume", "as", "assumes*", "b*"]
    ),
)
"""Scopes that may hold roles of :data:`tables`."""


@st.composite
def tables(draw: st.DrawFn) -> dict[str, list[str]]:
    """Roles in layers; most hold roles of the next one. Without cycles."""
    table: dict[str, list[str]] = {}
    for layer, following in zip(LAYERS, LAYERS[1:] + "-", strict=True):
        granted = st.one_of(
            st.builds("{}{}{}{}".format, scopes, st.just("<..>"), _WORDS, st.sampled_from(["", "*"])),
            st.builds(
                "assume:{}{}{}{}{}".format,
                st.just(following),
                _WORDS,
                st.sampled_from(["", "<..>"]),
                _WORDS,
                st.sampled_from(["", "*"]),
            ),
            scopes,
        )
        names = st.builds("{}{}{}".format, st.just(layer), _WORDS, st.sampled_from(["", "*"]))
        table |= draw(st.dictionaries(names, st.lists(granted, max_size=3), max_size=3))
    table |= draw(
        st.dictionaries(st.sampled_from(["*", "z", "z*"]), st.lists(scopes, max_size=2), max_size=1)
    )
    return {role_id: [] if naive.has_cycle({role_id: held}) else held for role_id, held in table.items()}


any_tables: Final = st.dictionaries(
    st.builds("{}{}".format, st.text("ab", max_size=2), st.sampled_from(["", "*"])).filter(bool),
    st.lists(
        st.one_of(
            st.builds(
                "assume:{}{}{}{}".format,
                st.text("ab", max_size=2),
                st.sampled_from(["", "<..>"]),
                st.text("ab", max_size=1),
                st.sampled_from(["", "*"]),
            ),
            st.sampled_from(["*", "a*", "assume*", "x", "<..>", "<..>*"]),
        ),
        max_size=2,
    ),
    max_size=5,
)
"""Roles with and without cycles."""


def _lists(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    members = st.lists(inner, max_size=3)
    return st.one_of(
        members.map(lambda parts: {"AllOf": parts}),
        members.map(lambda parts: {"AnyOf": parts}),
    )


expressions: Final[st.SearchStrategy[Expression]] = st.recursive(scopes, _lists, max_leaves=8)
